"""Watching learners go through a protocol, in step with each other on the same cups and noise: what there is to see.

A `Watching` goes on by control steps and gives the picture of each moment; when it goes on, and where the pictures go,
is the affair of whoever has it: a window (`reach.study.watch.live`) or a film (`frames_of`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import picture_size, require_number
from reach.perturbations import Rotation
from reach.protocols import PERTURBED, Protocol, ScheduledTrial, schedule_of
from reach.render.panels import BlockSpan, Layout, Moment, Panels, Story, compose, layout_of
from reach.snapshot import Inside
from reach.study.people.human_data import curve
from reach.study.run import Model
from reach.study.watch.stepper import Stepped, Wish

Frame = NDArray[np.uint8]

# How long the end of a reach stands, and an error is seen to travel, control steps.
HOLD_STEPS, TRAVEL_STEPS = 12, 44
PEOPLE = "people, whole reach"
# The largest error shown: as a share of the rotation, and where nothing is rotated.
LIMIT_SHARE, LIMIT_DEG = 1.5, 45.0
UNPERTURBED = "the same trial, unperturbed"


@dataclass
class Twin:
    """A trial without its perturbation, seen beside it."""

    scenes: list[Any] = field(default_factory=list)
    index: int = -1


class Watching:
    """One or several learners in step.

    Attributes:
        courses: of the learners.
        panels: what is shown.
        help_shown: whether the keys are.
        notice: a line for the watcher; "" for none.
    """

    def __init__(
        self,
        learners: Sequence[tuple[str, Model]],
        protocol: Protocol,
        seed: int,
        chosen: set[int],
        *,
        size: tuple[int, int] = (1280, 720),
        panels: Panels | None = None,
        twin: bool = False,
        wish: Wish | None = None,
        learning: bool = True,
        cup: tuple[float, float] | None = None,
    ) -> None:
        """Make ready.

        Args:
            learners: name and model of each.
            protocol: that they go through.
            seed: of cups and noise, the same for all.
            chosen: trials of the schedule that are shown; see `indices_of`.
            size: width and height of the picture, pixels.
            panels: what is shown; everything without a word.
            twin: show each trial without its perturbation beside it; for one learner.
            wish: what is to act beside, or not to act of, what the protocol says.
            learning: whether they learn where the protocol lets them.
            cup: (x, y) m, where the cup is put as each shown trial begins; None leaves it where it is.

        Raises:
            ValueError: no learners, a twin for several, or a picture too small.
        """
        if twin and len(learners) != 1:
            raise ValueError(f"twin is asked for with {len(learners)} learners; one is allowed")
        self.panels = panels or Panels()
        if np.shape(size) != (2,):
            raise ValueError(f"size is {size!r}; (width, height) in pixels is allowed")
        self.size = picture_size(*size)
        self.layout: Layout = layout_of(self.panels, len(learners) + twin, *self.size, len(learners))
        self.courses = [Stepped(model, protocol, seed, chosen, name) for name, model in learners]
        self.help_shown = False
        self.notice = ""
        self._cup = cup
        self._twin = Twin() if twin else None
        self._travelled = [0] * len(learners)
        self._travels = [False] * len(learners)
        self._left, self._shown_for = 0, HOLD_STEPS
        self._schedule = schedule_of(protocol, seed)
        self._spans = spans_of(self._schedule)
        self._limit = limit_of(protocol)
        self._people = people_under(protocol)
        self._errors: dict[str, NDArray[np.float64]] = {}
        self._rows = -1
        for course in self.courses:
            course.wish = wish or Wish()
            course.set_learning(learning)

    @property
    def first(self) -> Stepped:
        """The first learner's course."""
        return self.courses[0]

    @property
    def trials_seen(self) -> int:
        """How many of the chosen trials are over."""
        done = self.first.stage in ("learned", "end")
        return sum(index < self.first.index + done for index in self.first.chosen)

    def step(self) -> bool:
        """Go on by one control step; False when all is over.

        A learner whose reach is over waits for the others; then the errors are seen to travel.
        """
        if self._left > 0:
            self._left -= 1
            return True
        under_way = [one for one in self.courses if one.stage not in ("over", "learned", "end")]
        if under_way:
            for one in under_way:
                one.advance()
                if one.stage == "step" and one.step == 0:
                    self._begin(one)
            return any(one.stage != "end" for one in self.courses)
        # Every reach is over: now all learn from it, and then go on together.
        if any(one.stage == "over" for one in self.courses):
            for one in self.courses:
                if one.stage == "over":
                    one.advance()
            self._travels = [self._is_new(k) for k in range(len(self.courses))]
            self._shown_for = self._left = TRAVEL_STEPS if any(self._travels) else HOLD_STEPS
            return any(one.stage != "end" for one in self.courses)
        going = [one.advance() for one in self.courses]
        self._travels = [False] * len(self.courses)
        for one in self.courses:
            if one.stage == "step" and one.step == 0:
                self._begin(one)
        return any(going)

    def skip(self) -> None:
        """On to the next trial."""
        self._left = 0
        for one in self.courses:
            one.skip()

    def frame(self, status: str = "") -> Frame:
        """The picture of this moment, (height, width, 3) uint8."""
        moments = [self._moment(k) for k in range(len(self.courses))]
        if self._twin is not None:
            scenes = self._twin.scenes
            scene = scenes[min(self.first.step + 1, len(scenes) - 1)] if scenes else None
            moments.append(Moment(UNPERTURBED, scene, is_learner=False))
        said = " · ".join(part for part in (status, *self._asked(), self.notice) if part)
        return compose(moments, self.story(), *self.size, self.panels, status=said, help_shown=self.help_shown)

    def story(self) -> Story:
        """Of all trials so far."""
        rows = sum(len(one.rows) for one in self.courses)
        if rows != self._rows:
            self._rows = rows
            self._errors = {one.name: errors_of(one.rows, self._spans[-1].last) for one in self.courses}
        human, name = self._people
        return Story(self._spans[-1].last, self._spans, self._errors, self._limit, self.first.trial.trial, human, name)

    def set_wish(self, *, prism: bool | None = None, field: bool | None = None) -> None:
        """Put prism or field on or off, from now on."""
        for one in self.courses:
            wish = Wish(one.wish.prism if prism is None else prism, one.wish.field if field is None else field)
            try:
                one.set_wish(wish)
            except ValueError as error:
                self.notice = str(error)

    def set_learning(self, wanted: bool) -> None:
        """Let all learn, or none, from the next trial on."""
        for one in self.courses:
            one.set_learning(wanted)

    def move_cup(self, place: tuple[float, float]) -> None:
        """Put every learner's cup elsewhere, (x, y) m, where its hand is not."""
        for one in self.courses:
            one.move_cup(place)

    def leave(self) -> None:
        """End where all are."""
        for one in self.courses:
            one.leave()

    def _begin(self, course: Stepped) -> None:
        if self._cup is not None:
            course.move_cup(self._cup)
        if self._twin is not None and self._twin.index != course.index:
            self._twin = Twin(course.twin_scenes(), course.index)

    def _is_new(self, number: int) -> bool:
        """Whether a learner has learned from an error that has not been seen to travel yet."""
        inside = self.courses[number].inside()
        travel = None if inside is None else inside.travel
        seen, self._travelled[number] = self._travelled[number], 0 if travel is None else travel.number
        return self._travelled[number] != seen

    def _moment(self, number: int) -> Moment:
        course = self.courses[number]
        if course.stage in ("before", "end"):
            return Moment(course.name, None)
        inside: Inside | None = course.inside() if self.panels.inside else None
        progress = None
        if course.stage == "learned" and self._travels[number]:
            # The error has arrived before the picture changes.
            progress = min(1.0, 1.15 * (1.0 - self._left / self._shown_for))
        return Moment(course.name, course.scene() if self.panels.table else None, inside, progress)

    def _asked(self) -> list[str]:
        """What differs from the protocol."""
        wish = self.first.wish
        said = [f"{name} {'on' if on else 'off'}" for name, on in (("prism", wish.prism), ("field", wish.field))
                if on is not None]  # fmt: skip
        return said if self.first.learning else [*said, "learning off"]


def frames_of(watching: Watching, speed: float = 1.0, on_trial: Callable[[int], None] | None = None) -> Iterator[Frame]:
    """The pictures of a film at 50 frames a second, as they come.

    Args:
        watching: not yet begun.
        speed: of the film; 2 shows every second control step, 0.5 each of them twice.
        on_trial: told how many of the chosen trials are over.

    Raises:
        ValueError: a speed outside 1/8 to 32.
    """
    require_speed(speed)
    due, seen = 1.0, 0
    try:
        while watching.step():
            if watching.first.stage == "before":
                continue
            due += 1.0 / speed
            while due >= 1.0:
                yield watching.frame(speed_said(speed))
                due -= 1.0
            if on_trial is not None and watching.trials_seen != seen:
                seen = watching.trials_seen
                on_trial(seen)
    finally:
        watching.leave()


SLOWEST, FASTEST = 0.125, 32.0


def require_speed(speed: float) -> None:
    """Refuse a speed outside 1/8 to 32.

    Raises:
        ValueError: the message holds it.
    """
    require_number("speed", speed, SLOWEST, FASTEST)


def speed_said(speed: float) -> str:
    """A speed as it is written into a picture; "" for real time."""
    if speed == 1.0:
        return ""
    return f"speed {speed:g}" if speed > 1.0 else f"speed 1/{1.0 / speed:g}"


def indices_of(protocol: Protocol, seed: int, first: int, last: int) -> set[int]:
    """Where the reaches numbered `first` to `last` (from 1, both included) stand in the schedule, probes left out.

    Raises:
        ValueError: no such reaches.
    """
    if not 1 <= first <= last <= protocol.reaches:
        raise ValueError(f"reaches {first} to {last} are asked for; 1 to {protocol.reaches} are in {protocol.name}")
    schedule = schedule_of(protocol, seed)
    return {k for k, trial in enumerate(schedule) if first <= trial.trial <= last and not trial.probe}


def spans_of(schedule: Sequence[ScheduledTrial]) -> tuple[BlockSpan, ...]:
    """The blocks of a schedule by numbers of reaches."""
    spans: dict[int, BlockSpan] = {}
    for one in schedule:
        first = spans[one.block_number].first if one.block_number in spans else one.trial
        spans[one.block_number] = BlockSpan(one.block, first, one.trial)
    return tuple(spans.values())


def errors_of(rows: Sequence[dict[str, Any]], reaches: int) -> NDArray[np.float64]:
    """Launch errors (reaches,) degrees of those that are over, probes left out; NaN elsewhere."""
    found = np.full(reaches, math.nan)
    for row in rows:
        if not row["probe"]:
            found[row["trial"] - 1] = row["launch_error_deg"]
    return found


def limit_of(protocol: Protocol) -> float:
    """The largest launch error to show, degrees."""
    degrees = [abs(one.degrees) for block in protocol.blocks for one in block.perturbation if isinstance(one, Rotation)]
    return LIMIT_SHARE * max(degrees) if degrees else LIMIT_DEG


def people_under(protocol: Protocol) -> tuple[tuple[tuple[float, float, float], ...], str]:
    """What people's mean error would be in the first block of a lasting rotation, and what the curve is called.

    People were measured under 45 degrees; under another rotation the same share of it is taken to be left.
    """
    before = 0
    for block in protocol.blocks:
        turned = [one for one in block.perturbation if isinstance(one, Rotation) and one.onset_s is None]
        lasting = set(block.course.scales(block.trials, np.random.default_rng(0))) == {1.0}
        if block.name == PERTURBED and len(turned) == len(block.perturbation) == 1 and lasting:
            known, degrees = curve(PEOPLE), turned[0].degrees
            course = tuple(
                (float(before + first), float(before + last), degrees * (1.0 - index))
                for (first, last), index in zip(known.blocks, known.index, strict=True)
                if last <= block.trials
            )
            return course, f"people ({known.perturbation}{'' if degrees == 45.0 else ', same share'})"
        before += block.trials
    return (), ""
