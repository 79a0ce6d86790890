"""The story of a protocol so far: the error of every trial as a point over the blocks, people's curve faint behind."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach.render import palette
from reach.render.activations import PAPER, words_px
from reach.render.canvas import Canvas, Frame
from reach.render.labels import fitted, text
from reach.render.palette import Colour

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
