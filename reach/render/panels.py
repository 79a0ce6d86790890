"""Compose one picture of table, network and error history of one or several learners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach.render import palette
from reach.render.activations import PANEL_BACKGROUND, Box, blank_panel, draw_network, panel_text_px
from reach.render.canvas import Canvas, Frame
from reach.render.labels import fit_text, render_text
from reach.render.palette import Colour
from reach.render.table import draw
from reach.scene import Scene
from reach.snapshot import Snapshot

GAP_PX = 4
# Smallest size of a picture, and smallest width of each world in it, pixels.
SMALLEST_WIDTH, SMALLEST_HEIGHT, SMALLEST_PART = 480, 400, 150
# Share of white in the shaded background of a block.
BLOCK_SHADE = 0.83
HUMAN: Colour = (168, 165, 160)
# Steps between the ticks of the axes; the first one that gives few enough ticks is used.
DEGREE_STEPS = (5, 10, 15, 20, 30, 45, 60, 90, 180)
TRIAL_STEPS = (5, 10, 20, 50, 100, 200, 500, 1000, 10000)
# Help texts, in characters that pygame's own font has.
KEY_HELP = (
    ("space", "pause"), ("right", "one control step"), ("up, down", "faster, slower"), ("R", "next trial"),
    ("P", "prism"), ("F", "force field"), ("L", "learning"), ("drag", "move the cup"),
    ("S", "save a PNG"), ("V", "record an MP4"), ("H", "this help"), ("Q", "leave"),
)  # fmt: skip


@dataclass(frozen=True)
class Panels:
    """The panels to show, at least one.

    Attributes:
        table: the table with arm and cup.
        network: activity of the learner's network.
        errors: launch errors of all trials so far.

    Raises:
        ValueError: all panels are off.
    """

    table: bool = True
    network: bool = True
    errors: bool = True

    def __post_init__(self) -> None:
        """Check that at least one panel is on."""
        if not (self.table or self.network or self.errors):
            raise ValueError("table, network, errors: expected one or more to be True, got none")


@dataclass(frozen=True, eq=False)
class LearnerView:
    """The view of one learner at one moment.

    Attributes:
        name: name of the learner, or title of another world.
        scene: scene of the world; None before the first trial.
        snapshot: snapshot of the network; None if the learner provides none.
        progress: share of its path that the last error has covered, 0..1; None while no error is moving.
        is_learner: False for a world without its own colour and network.
    """

    name: str
    scene: Scene | None
    snapshot: Snapshot | None = None
    progress: float | None = None
    is_learner: bool = True


@dataclass(frozen=True)
class BlockSpan:
    """The trials `first` to `last` of a block, counted from 1."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class ErrorHistory:
    """Launch errors of one or several learners so far.

    Attributes:
        trials: number of trials of the protocol, 1 or more.
        blocks: the blocks, in order.
        errors: launch errors (trials,) by learner, degrees; NaN for missing and future trials.
        limit_deg: largest error on the axis, degrees, above 0; larger errors are drawn at the edge.
        trial: current trial, from 1; None for none.
        human: mean error of people, as (first trial, last trial, degrees); empty if unknown.
        human_name: label of the curve of people.

    Raises:
        ValueError: there are no trials, errors have another length, or the limit is not above 0.
    """

    trials: int
    blocks: tuple[BlockSpan, ...]
    errors: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    limit_deg: float = 45.0
    trial: int | None = None
    human: tuple[tuple[float, float, float], ...] = ()
    human_name: str = "people"

    def __post_init__(self) -> None:
        """Validate trials, errors and limit."""
        if self.trials < 1:
            raise ValueError(f"ErrorHistory trials: expected 1 or more, got {self.trials}")
        for name, values in self.errors.items():
            if np.shape(values) != (self.trials,):
                raise ValueError(
                    f"ErrorHistory errors of {name}: expected shape ({self.trials},), got {np.shape(values)}"
                )
        if not 0.0 < self.limit_deg < math.inf:
            raise ValueError(f"ErrorHistory limit_deg: expected a finite number above 0, got {self.limit_deg}")


@dataclass(frozen=True)
class Layout:
    """Positions of the panels, pixels.

    Attributes:
        headers: box of each learner's name; empty if there is only one learner.
        tables, networks: boxes of each learner; empty if the panels are off.
        errors: box of the error history; None if the panel is off.
    """

    headers: tuple[Box, ...]
    tables: tuple[Box, ...]
    networks: tuple[Box, ...]
    errors: Box | None


@lru_cache(maxsize=8)
def layout_of(panels: Panels, tables: int, width: int, height: int, networks: int | None = None) -> Layout:
    """Return the positions of all panels: one table at the left, or several side by side above one error history.

    Args:
        panels: the panels to show.
        tables: number of worlds, 1 or more.
        width, height: size of the picture, pixels.
        networks: number of learners; None for one per world.

    Raises:
        ValueError: there is no world, or the picture is smaller than 480 by 400 pixels or 150 pixels per world.
    """
    if tables < 1:
        raise ValueError(f"tables: expected 1 or more, got {tables}")
    smallest_width = max(SMALLEST_WIDTH, SMALLEST_PART * tables)
    if width < smallest_width or height < SMALLEST_HEIGHT:
        smallest = f"{smallest_width} and {SMALLEST_HEIGHT}"
        raise ValueError(f"width and height: expected at least {smallest} pixels, got {width} and {height}")
    if tables == 1:
        return _single_layout(panels, width, height)
    return _multi_layout(panels, tables, width, height, tables if networks is None else networks)


def _single_layout(panels: Panels, width: int, height: int) -> Layout:
    left = min(height, round(0.6 * width)) if panels.table else 0
    if not (panels.network or panels.errors):
        left = width
    right = left + (GAP_PX if panels.table else 0)
    middle = height if not panels.errors else (0 if not panels.network else round(0.56 * height))
    below = middle + (GAP_PX if panels.network and panels.errors else 0)
    return Layout(
        (),
        ((0, 0, left, height),) if panels.table else (),
        ((right, 0, width - right, middle),) if panels.network else (),
        (right, below, width - right, height - below) if panels.errors else None,
    )


def _multi_layout(panels: Panels, tables: int, width: int, height: int, networks: int) -> Layout:
    if not (panels.table or panels.network):
        return Layout((), (), (), (0, 0, width, height))
    header = 2 * panel_text_px(height // 2)
    errors = round(0.22 * height) if panels.errors else 0
    free = height - errors - header - (GAP_PX if errors else 0)
    table = 0 if not panels.table else free if not panels.network else round(0.5 * free)
    below = header + table + (GAP_PX if table else 0)
    return Layout(
        _boxes(width, tables, 0, header),
        _boxes(width, tables, header, table) if panels.table else (),
        _boxes(width, networks, below, header + free - below) if panels.network else (),
        (0, height - errors, width, errors) if errors else None,
    )


def _boxes(width: int, number: int, top: int, height: int) -> tuple[Box, ...]:
    """Return boxes side by side."""
    box_width = (width - GAP_PX * (number - 1)) // number
    return tuple((k * (box_width + GAP_PX), top, box_width, height) for k in range(number))


def compose(
    views: Sequence[LearnerView],
    history: ErrorHistory | None,
    width: int,
    height: int,
    panels: Panels | None = None,
    *,
    status: str = "",
    help_shown: bool = False,
) -> Frame:
    """Return the picture of one moment of one or several learners, (height, width, 3) uint8, a new array.

    Args:
        views: one view for each learner.
        history: error history of all learners; None leaves its panel empty.
        width, height: size in pixels, at least 480 by 400, and 150 in width for each learner.
        panels: the panels to show; all by default.
        status: one line of text at the lower left, such as the speed.
        help_shown: whether to show the help for the keys.

    Raises:
        ValueError: there are no views, or the picture is too small.
    """
    learners = [view for view in views if view.is_learner]
    layout = layout_of(panels or Panels(), len(views), width, height, len(learners))
    frame = blank_panel(width, height, palette.TABLE_EDGE).copy()
    for box, view in zip(layout.tables, views, strict=False):
        if view.scene is not None:
            _paste(frame, box, draw(view.scene, box[2], box[3]))
    for box, view in zip(layout.networks, learners, strict=False):
        _paste(frame, box, draw_network(view.snapshot, box[2], box[3], view.progress))
    if layout.errors is not None and history is not None:
        _paste(frame, layout.errors, draw_history(history, *layout.errors[2:]))
    canvas = Canvas(frame)
    if len(views) > 1:
        for box, view in zip(layout.headers, views, strict=False):
            _draw_header(canvas, box, view)
    if status:
        _draw_status(canvas, status, layout.headers[-1] if len(views) > 1 and layout.headers else None)
    if help_shown:
        _draw_help(canvas)
    canvas.flush()
    return frame


def table_at(layout: Layout, x: float, y: float) -> tuple[int, Box] | None:
    """Return the number and box of the table that contains a pixel; None if there is none."""
    for number, (left, top, width, height) in enumerate(layout.tables):
        if left <= x < left + width and top <= y < top + height:
            return number, (left, top, width, height)
    return None


def _paste(frame: Frame, box: Box, picture: Frame) -> None:
    left, top, width, height = box
    frame[top : top + height, left : left + width] = picture


def _draw_header(canvas: Canvas, box: Box, view: LearnerView) -> None:
    left, top, width, height = box
    canvas.frame[top : top + height, left : left + width] = blank_panel(width, height)
    size = panel_text_px(canvas.height // 2)
    colour = palette.learner_rgb(view.name) if view.is_learner else palette.WHITE
    canvas.disc((left + 1.2 * size, top + 0.5 * height), 0.42 * size, colour, palette.FAINT_INK)
    name = render_text(fit_text(view.name, size, width - 3 * size), size, palette.INK)
    canvas.write(name, left + 2.2 * size, top + 0.5 * (height - name.get_height()))


def _draw_status(canvas: Canvas, status: str, header: Box | None) -> None:
    """Draw a line of text at the right end of a header, or on a plate at the lower left."""
    size = panel_text_px(canvas.height // 2)
    available = canvas.width // 3 if header else canvas.width - 4 * size
    line = render_text(fit_text(status, size, available), size, palette.INK)
    if header is not None:
        left, top, width, height = header
        canvas.write(line, left + width - line.get_width() - size, top + 0.5 * (height - line.get_height()))
        return
    y = canvas.height - 1.4 * size
    x = 1.2 * size
    canvas.line((x, y), (x + line.get_width(), y), 1.8 * size, palette.WHITE)
    canvas.write(line, x, y - 0.5 * line.get_height())


def _draw_help(canvas: Canvas) -> None:
    """Draw the help for the keys on a plate in the middle."""
    size = max(13, panel_text_px(canvas.height // 2))
    row, width = 1.7 * size, 18 * size
    height = row * len(KEY_HELP) + 2 * size
    left, top = round(0.5 * (canvas.width - width)), round(0.5 * (canvas.height - height))
    right = left + width
    canvas.frame[top : top + round(height), left : left + width] = palette.WHITE
    for start, end in (((left, top), (right, top)), ((left, top + height), (right, top + height))):
        canvas.line(start, end, 1.5, palette.INK)
    for number, (key, effect) in enumerate(KEY_HELP):
        y = top + size + number * row
        canvas.write(render_text(key, size, palette.SEEN), left + 1.5 * size, y)
        canvas.write(render_text(effect, size, palette.INK), left + 7 * size, y)


# --- error history -----------------------------------------------------------------------------------------

# Cache key of the background of a history: trials, blocks, limit_deg, human, human_name.
_HistoryKey = tuple[int, tuple[BlockSpan, ...], float, tuple[tuple[float, float, float], ...], str]


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


def draw_history(history: ErrorHistory, width: int, height: int) -> Frame:
    """Return the picture of an error history, (height, width, 3) uint8, a new array, of at least 120 by 80 pixels."""
    errors = tuple((name, np.asarray(values, dtype=np.float64).tobytes()) for name, values in history.errors.items())
    key = (history.trials, history.blocks, history.limit_deg, history.human, history.human_name)
    canvas = Canvas(_history_of_trials(key, errors, width, height).copy())
    if history.trial is not None:
        axes = _axes(history.trials, history.limit_deg, width, height)
        x = axes.x(history.trial)
        canvas.line((x, axes.top), (x, axes.bottom), 1.2, palette.INK)
        size = _history_text_px(width, height)
        title = render_text(f"launch error · trial {history.trial} of {history.trials}", size, palette.INK)
        canvas.write(title, axes.right - title.get_width(), 0.45 * size)
    canvas.flush()
    return canvas.frame


def _history_text_px(width: int, height: int) -> int:
    return max(11, min(22, round(0.045 * height), panel_text_px(round(0.6 * width))))


def _axes(trials: int, limit: float, width: int, height: int) -> _Axes:
    size = _history_text_px(width, height)
    return _Axes(3.2 * size, width - 1.0 * size, 2.2 * size, height - 2.6 * size, trials, limit)


@lru_cache(maxsize=8)
def _history_of_trials(key: _HistoryKey, errors: tuple[tuple[str, bytes], ...], width: int, height: int) -> Frame:
    """Draw blocks, axes, the curve of people, and the names and errors (as bytes) of the learners.

    The picture is cached and drawn again once per trial.
    """
    trials, blocks, limit, human, human_name = key
    frame = blank_panel(width, height).copy()
    canvas = Canvas(frame)
    axes, size = _axes(trials, limit, width, height), _history_text_px(width, height)
    top, bottom = round(axes.top), round(axes.bottom)
    free_from = 0.0
    for block in blocks:
        left, right = axes.x(block.first - 0.5), axes.x(block.last + 0.5)
        shade = palette.blend(palette.block_colour(block.name), palette.WHITE, BLOCK_SHADE)
        frame[top:bottom, round(left) : round(right)] = shade
        name = render_text(fit_text(block.name, size, max(1, round(right - left))), size, palette.FAINT_INK)
        if len(block.name) * 0.3 * size < right - left and left >= free_from:
            canvas.write(name, left, bottom + 1.4 * size)
            free_from = left + name.get_width()
    _draw_axes(canvas, axes, size, limit)
    points = [(axes.x(0.5 * (first + last)), axes.y(degrees)) for first, last, degrees in human]
    for start, end in itertools.pairwise(points):
        canvas.line(start, end, 2.2, HUMAN)
    for point in points:
        canvas.disc(point, 3.4, PANEL_BACKGROUND, HUMAN)
    canvas.flush()
    x = axes.left
    entries: list[tuple[str, Colour]] = [(name, palette.learner_rgb(name)) for name, _ in errors]
    for entry, colour in entries + ([(human_name, HUMAN)] if human else []):
        available = round(axes.right - 14 * size - x)
        if available < 3 * size:
            break
        canvas.disc((x + 0.4 * size, 1.0 * size), 0.32 * size, colour)
        ink = palette.INK if colour != HUMAN else palette.FAINT_INK
        text = render_text(fit_text(entry, size, available), size, ink)
        canvas.write(text, x + 1.0 * size, 0.45 * size)
        x += text.get_width() + 2.2 * size
    radius = max(1.8, min(4.0, 0.35 * (axes.right - axes.left) / trials))
    for learner, values in errors:
        colour = palette.learner_rgb(learner)
        for trial, degrees in enumerate(np.frombuffer(values).tolist(), start=1):
            if math.isfinite(degrees):
                canvas.disc((axes.x(trial), axes.y(degrees)), radius, colour)
    canvas.flush()
    return frame


def _draw_axes(canvas: Canvas, axes: _Axes, size: int, limit: float) -> None:
    """Draw the axes: degrees at the left, trials below."""
    step = next(step for step in DEGREE_STEPS if step * 3.2 >= limit)
    for degrees in range(-step * int(limit // step), int(limit) + 1, step):
        y = axes.y(degrees)
        canvas.line((axes.left, y), (axes.right, y), 1.0, palette.REMOVED if degrees == 0 else palette.GRID)
        mark = render_text(f"{degrees}°", size, palette.FAINT_INK)
        canvas.write(mark, axes.left - mark.get_width() - 0.4 * size, y - 0.5 * mark.get_height())
    every = next(step for step in TRIAL_STEPS if step * 10 >= axes.trials)
    for trial in range(every, axes.trials + 1, every):
        mark = render_text(str(trial), size, palette.FAINT_INK)
        canvas.write(mark, axes.x(trial) - 0.5 * mark.get_width(), axes.bottom + 0.3 * size)
