"""Compose table, network and error history of one or several learners into one picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach.render import palette
from reach.render.activations import PAPER, Box, draw_inside, paper, words_px
from reach.render.canvas import Canvas, Frame
from reach.render.labels import fitted, text
from reach.render.palette import Colour
from reach.render.table import draw
from reach.scene import Scene
from reach.snapshot import Inside

BLOCK_SHADE = 0.83
HUMAN: Colour = (168, 165, 160)


@dataclass(frozen=True)
class BlockSpan:
    """Trials `first` to `last`, from 1, of one block."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Story:
    """What has happened so far.

    Attributes:
        trials: how many there will be, 1 or more.
        blocks: of them, in order.
        errors: launch errors of each learner, (trials,) degrees, NaN where there is none or not yet; by its name.
        limit_deg: the largest error shown, degrees, above 0; larger ones stand at the edge.
        trial: the present one, from 1; None for none.
        human: what people's mean error would be, as (first trial, last trial, degrees); none where nothing is known.
        human_name: of that curve.

    Raises:
        ValueError: no trials, errors of another length, or a limit not above 0.
    """

    trials: int
    blocks: tuple[BlockSpan, ...]
    errors: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    limit_deg: float = 45.0
    trial: int | None = None
    human: tuple[tuple[float, float, float], ...] = ()
    human_name: str = "people"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.trials < 1:
            raise ValueError(f"Story trials is {self.trials}; 1 or more is allowed")
        for name, values in self.errors.items():
            if np.shape(values) != (self.trials,):
                raise ValueError(f"Story errors of {name} have shape {np.shape(values)}; ({self.trials},) is allowed")
        if not 0.0 < self.limit_deg < math.inf:
            raise ValueError(f"Story limit_deg is {self.limit_deg}; above 0 is allowed")


@dataclass(frozen=True)
class _Axes:
    """The map from trials and degrees to pixels."""

    left: float
    right: float
    top: float
    bottom: float
    trials: int
    limit: float

    def x(self, trial: float) -> float:
        return self.left + (trial - 0.5) / self.trials * (self.right - self.left)

    def y(self, degrees: float) -> float:
        share = min(1.0, max(-1.0, degrees / self.limit))
        return 0.5 * (self.top + self.bottom) - 0.5 * share * (self.bottom - self.top)


def draw_story(story: Story, width: int, height: int) -> Frame:
    """The picture of a story, (height, width, 3) uint8, an array of its own.

    Raises:
        ValueError: a picture smaller than 120 by 80 pixels.
    """
    if width < 120 or height < 80:
        raise ValueError(f"width and height are {width} and {height}; 120 and 80 pixels or more are allowed")
    told = tuple((name, np.asarray(values, dtype=np.float64).tobytes()) for name, values in story.errors.items())
    key = (story.trials, story.blocks, story.limit_deg, story.human, story.human_name)
    canvas = Canvas(_told(key, told, width, height).copy())
    if story.trial is not None:
        axes = _axes(story.trials, story.limit_deg, width, height)
        x = axes.x(story.trial)
        canvas.line((x, axes.top), (x, axes.bottom), 1.2, palette.INK)
        size = _size(width, height)
        said = text(f"launch error · trial {story.trial} of {story.trials}", size, palette.INK)
        canvas.write(said, axes.right - said.get_width(), 0.45 * size)
    canvas.lay()
    return canvas.frame


def _size(width: int, height: int) -> int:
    return max(11, min(22, round(0.045 * height), words_px(round(0.6 * width))))


def _axes(trials: int, limit: float, width: int, height: int) -> _Axes:
    size = _size(width, height)
    return _Axes(3.2 * size, width - 1.0 * size, 2.2 * size, height - 2.6 * size, trials, limit)


@lru_cache(maxsize=8)
def _told(
    key: tuple[int, tuple[BlockSpan, ...], float, tuple[tuple[float, float, float], ...], str],
    told: tuple[tuple[str, bytes], ...],
    width: int,
    height: int,
) -> Frame:
    """Ground and points; drawn anew once a trial."""
    trials, _, limit, _, _ = key
    canvas = Canvas(_ground(key, tuple(name for name, _ in told), width, height).copy())
    axes = _axes(trials, limit, width, height)
    radius = max(1.8, min(4.0, 0.35 * (axes.right - axes.left) / trials))
    for name, kept in told:
        colour = _learner(name)
        for trial, degrees in enumerate(np.frombuffer(kept).tolist(), start=1):
            if math.isfinite(degrees):
                canvas.disc((axes.x(trial), axes.y(degrees)), radius, colour)
    canvas.lay()
    return canvas.frame


@lru_cache(maxsize=8)
def _ground(
    key: tuple[int, tuple[BlockSpan, ...], float, tuple[tuple[float, float, float], ...], str],
    names: tuple[str, ...],
    width: int,
    height: int,
) -> Frame:
    """Blocks, axes, people's curve and names; not to be written on."""
    trials, blocks, limit, human, human_name = key
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = PAPER
    canvas = Canvas(frame)
    axes, size = _axes(trials, limit, width, height), _size(width, height)
    top, bottom = round(axes.top), round(axes.bottom)
    free_from = 0.0
    for block in blocks:
        left, right = axes.x(block.first - 0.5), axes.x(block.last + 0.5)
        shade = palette.blend(palette.block_colour(block.name), palette.WHITE, BLOCK_SHADE)
        frame[top:bottom, round(left) : round(right)] = shade
        said = text(fitted(block.name, size, max(1, round(right - left))), size, palette.FAINT_INK)
        if len(block.name) * 0.3 * size < right - left and left >= free_from:
            canvas.write(said, left, bottom + 1.4 * size)
            free_from = left + said.get_width()
    _draw_axes(canvas, axes, size, limit)
    points = [(axes.x(0.5 * (first + last)), axes.y(degrees)) for first, last, degrees in human]
    for start, end in itertools.pairwise(points):
        canvas.line(start, end, 2.2, HUMAN)
    for point in points:
        canvas.disc(point, 3.4, PAPER, HUMAN)
    canvas.lay()
    x = axes.left
    entries: list[tuple[str, Colour]] = [(name, _learner(name)) for name in names]
    for named, colour in entries + ([(human_name, HUMAN)] if human else []):
        room = round(axes.right - 14 * size - x)
        if room < 3 * size:
            break
        canvas.disc((x + 0.4 * size, 1.0 * size), 0.32 * size, colour)
        written = text(fitted(named, size, room), size, palette.INK if colour != HUMAN else palette.FAINT_INK)
        canvas.write(written, x + 1.0 * size, 0.45 * size)
        x += written.get_width() + 2.2 * size
    return frame


def _draw_axes(canvas: Canvas, axes: _Axes, size: int, limit: float) -> None:
    """Degrees at the left, trials below."""
    step = next(one for one in (5, 10, 15, 20, 30, 45, 60, 90, 180) if one * 3.2 >= limit)
    for degrees in range(-step * int(limit // step), int(limit) + 1, step):
        y = axes.y(degrees)
        canvas.line((axes.left, y), (axes.right, y), 1.0, palette.GONE if degrees == 0 else palette.GRID)
        said = text(f"{degrees}°", size, palette.FAINT_INK)
        canvas.write(said, axes.left - said.get_width() - 0.4 * size, y - 0.5 * said.get_height())
    every = next(one for one in (5, 10, 20, 50, 100, 200, 500, 1000, 10000) if one * 10 >= axes.trials)
    for trial in range(every, axes.trials + 1, every):
        said = text(str(trial), size, palette.FAINT_INK)
        canvas.write(said, axes.x(trial) - 0.5 * said.get_width(), axes.bottom + 0.3 * size)


def _learner(name: str) -> Colour:
    return rgb(palette.learner_colour(name))


def rgb(code: str) -> Colour:
    """The colour of a code "#rrggbb"."""
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


# --- composition ----------------------------------------------------------------------------------------------

GAP_PX = 4
# Of the picture, and of the part of it that a learner has.
SMALLEST_WIDTH, SMALLEST_HEIGHT, SMALLEST_PART = 480, 400, 150
# In letters that pygame's own font has.
HELP = (
    ("space", "pause"), ("right", "one control step"), ("up, down", "faster, slower"), ("R", "next trial"),
    ("P", "prism"), ("F", "force field"), ("L", "learning"), ("drag", "move the cup"),
    ("S", "save a PNG"), ("V", "record an MP4"), ("H", "this help"), ("Q", "leave"),
)  # fmt: skip


@dataclass(frozen=True)
class Panels:
    """Which parts are shown; one at least.

    Raises:
        ValueError: all are off.
    """

    table: bool = True
    inside: bool = True
    story: bool = True

    def __post_init__(self) -> None:
        """Refuse an empty picture."""
        if not (self.table or self.inside or self.story):
            raise ValueError("table, inside and story are all off; one at least is to be shown")


@dataclass(frozen=True, eq=False)
class Moment:
    """What is shown of one learner.

    Attributes:
        name: of the learner, or of what else is shown.
        scene: of its world; None before its first trial.
        inside: of its network; None where it shows none.
        progress: how far the last error has come on its way, 0..1; None while none travels.
        is_learner: it has a colour and an inside of its own.
    """

    name: str
    scene: Scene | None
    inside: Inside | None = None
    progress: float | None = None
    is_learner: bool = True


@dataclass(frozen=True)
class Layout:
    """Where the parts go, in pixels.

    Attributes:
        heads: of each learner, its name; none where there is only one.
        tables, insides: of each learner; none where they are off.
        story: None where it is off.
    """

    heads: tuple[Box, ...]
    tables: tuple[Box, ...]
    insides: tuple[Box, ...]
    story: Box | None


@lru_cache(maxsize=8)
def layout_of(panels: Panels, tables: int, width: int, height: int, insides: int | None = None) -> Layout:
    """Where everything goes: one learner has its table at the left, several stand side by side above one story.

    Args:
        panels: what is shown.
        tables: worlds that are shown, 1 or more.
        width, height: of the picture, pixels.
        insides: learners that are shown the inside of, where those are fewer.

    Raises:
        ValueError: no world, or a picture smaller than 480 by 400 pixels or 150 pixels a world.
    """
    if tables < 1:
        raise ValueError(f"tables is {tables}; 1 or more is allowed")
    least = max(SMALLEST_WIDTH, SMALLEST_PART * tables)
    if width < least or height < SMALLEST_HEIGHT:
        raise ValueError(
            f"width and height are {width} and {height} for {tables} worlds; {least} and {SMALLEST_HEIGHT} or more "
            "are allowed"
        )
    if tables == 1:
        return _alone(panels, width, height)
    return _side_by_side(panels, tables, width, height, tables if insides is None else insides)


def _alone(panels: Panels, width: int, height: int) -> Layout:
    left = min(height, round(0.6 * width)) if panels.table else 0
    if not (panels.inside or panels.story):
        left = width
    right = left + (GAP_PX if panels.table else 0)
    middle = height if not panels.story else (0 if not panels.inside else round(0.56 * height))
    below = middle + (GAP_PX if panels.inside and panels.story else 0)
    return Layout(
        (),
        ((0, 0, left, height),) if panels.table else (),
        ((right, 0, width - right, middle),) if panels.inside else (),
        (right, below, width - right, height - below) if panels.story else None,
    )


def _side_by_side(panels: Panels, tables: int, width: int, height: int, insides: int) -> Layout:
    if not (panels.table or panels.inside):
        return Layout((), (), (), (0, 0, width, height))
    head = 2 * words_px(height // 2)
    story = round(0.22 * height) if panels.story else 0
    room = height - story - head - (GAP_PX if story else 0)
    table = 0 if not panels.table else room if not panels.inside else round(0.5 * room)
    below = head + table + (GAP_PX if table else 0)
    return Layout(
        tuple((left, 0, wide, head) for left, wide in _columns(width, tables)),
        tuple((left, head, wide, table) for left, wide in _columns(width, tables)) if panels.table else (),
        tuple((left, below, wide, head + room - below) for left, wide in _columns(width, insides))
        if panels.inside
        else (),
        (0, height - story, width, story) if story else None,
    )


def _columns(width: int, number: int) -> list[tuple[int, int]]:
    """Left edge and width of columns side by side."""
    each = (width - GAP_PX * (number - 1)) // number
    return [(k * (each + GAP_PX), each) for k in range(number)]


def compose(
    moments: Sequence[Moment],
    story: Story | None,
    width: int,
    height: int,
    panels: Panels | None = None,
    *,
    status: str = "",
    help_shown: bool = False,
) -> Frame:
    """The picture of one moment of one or several learners, (height, width, 3) uint8, an array of its own.

    Args:
        moments: one for each learner.
        story: of them all; None leaves its place empty.
        width, height: pixels, at least 480 by 400, and 150 across for each learner.
        panels: what is shown; everything without a word.
        status: a line at the lower left, such as the speed.
        help_shown: show what the keys do.

    Raises:
        ValueError: no moments, or a smaller picture.
    """
    learners = [one for one in moments if one.is_learner]
    layout = layout_of(panels or Panels(), len(moments), width, height, len(learners))
    frame = _empty_ground(width, height).copy()
    for box, moment in zip(layout.tables, moments, strict=False):
        if moment.scene is not None:
            _put(frame, box, draw(moment.scene, box[2], box[3]))
    for box, moment in zip(layout.insides, learners, strict=False):
        _put(frame, box, draw_inside(moment.inside, box[2], box[3], moment.progress))
    if layout.story is not None and story is not None:
        _put(frame, layout.story, draw_story(story, *layout.story[2:]))
    canvas = Canvas(frame)
    if len(moments) > 1:
        for box, moment in zip(layout.heads, moments, strict=False):
            _name(canvas, box, moment)
    if status:
        _write_status(canvas, status, layout.heads[-1] if len(moments) > 1 and layout.heads else None)
    if help_shown:
        _write_help(canvas)
    canvas.lay()
    return frame


def table_at(layout: Layout, x: float, y: float) -> tuple[int, Box] | None:
    """The number of the learner on whose table a pixel lies, and that table's place; None where it is on none."""
    for number, (left, top, width, height) in enumerate(layout.tables):
        if left <= x < left + width and top <= y < top + height:
            return number, (left, top, width, height)
    return None


@lru_cache(maxsize=4)
def _empty_ground(width: int, height: int) -> Frame:
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = palette.TABLE_EDGE
    return frame


def _put(frame: Frame, box: Box, picture: Frame) -> None:
    left, top, width, height = box
    frame[top : top + height, left : left + width] = picture


def _name(canvas: Canvas, box: Box, moment: Moment) -> None:
    left, top, width, height = box
    canvas.frame[top : top + height, left : left + width] = paper(width, height)
    size = words_px(canvas.height // 2)
    colour = rgb(palette.learner_colour(moment.name)) if moment.is_learner else palette.WHITE
    canvas.disc((left + 1.2 * size, top + 0.5 * height), 0.42 * size, colour, palette.FAINT_INK)
    written = text(fitted(moment.name, size, width - 3 * size), size, palette.INK)
    canvas.write(written, left + 2.2 * size, top + 0.5 * (height - written.get_height()))


def _write_status(canvas: Canvas, status: str, head: Box | None) -> None:
    """A line at the right end of a head, or on a plate at the lower left."""
    size = words_px(canvas.height // 2)
    written = text(fitted(status, size, canvas.width // 3 if head else canvas.width - 4 * size), size, palette.INK)
    if head is not None:
        left, top, width, height = head
        canvas.write(written, left + width - written.get_width() - size, top + 0.5 * (height - written.get_height()))
        return
    y = canvas.height - 1.4 * size
    x = 1.2 * size
    canvas.line((x, y), (x + written.get_width(), y), 1.8 * size, palette.WHITE)
    canvas.write(written, x, y - 0.5 * written.get_height())


def _write_help(canvas: Canvas) -> None:
    """What the keys do, on a plate in the middle."""
    size = max(13, words_px(canvas.height // 2))
    row, wide = 1.7 * size, 18 * size
    tall = row * len(HELP) + 2 * size
    left, top = round(0.5 * (canvas.width - wide)), round(0.5 * (canvas.height - tall))
    beside = left + wide
    canvas.frame[top : top + round(tall), left : left + wide] = palette.WHITE
    for a, b in (((left, top), (beside, top)), ((left, top + tall), (beside, top + tall))):
        canvas.line(a, b, 1.5, palette.INK)
    for number, (key, does) in enumerate(HELP):
        y = top + size + number * row
        canvas.write(text(key, size, palette.SEEN), left + 1.5 * size, y)
        canvas.write(text(does, size, palette.INK), left + 7 * size, y)
