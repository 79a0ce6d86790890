"""Pictures of one or several learners in a protocol, step by step with the same cups and noise.

A `WatchSession` advances by control steps and returns the picture of each moment. A window (`reach.study.watch.live`)
or a film (`film_frames`) advances the session and uses the pictures.

`trained_learner` and `recorded_row` find a learner and a trial in the folder of a study, to replay the trial.
`differences` compares the replayed trial with the recorded one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import picture_size, require_number
from reach.perturbations import Rotation
from reach.protocols import PERTURBED, Protocol, ScheduledTrial, schedule_of
from reach.render.canvas import Frame
from reach.render.panels import BlockSpan, ErrorHistory, Layout, LearnerView, Panels, compose, layout_of
from reach.scene import Scene
from reach.study.engine.jobs import Job, plan
from reach.study.engine.store import Store, read_whole
from reach.study.people.human_data import WHOLE_REACH
from reach.study.run import Model
from reach.study.watch.stepper import SWITCHES, Overrides, ProtocolStepper, is_on

SLOWEST, FASTEST = 0.125, 32.0
# Control steps for which the end of a reach is shown, and in which an error moves along its path.
HOLD_STEPS, TRAVEL_STEPS = 12, 44
# Speed factor, so that the error arrives before the picture changes.
TRAVEL_SPEED = 1.15
# Largest displayed error: as a share of the rotation, or in degrees without a rotation.
LIMIT_SHARE, LIMIT_DEG = 1.5, 45.0
UNPERTURBED = "the same trial, unperturbed"


class WatchSession:
    """One or several learners that advance together.

    Attributes:
        steppers: a stepper for each learner.
        panels: the panels to show.
        help_shown: whether the help for the keys is shown.
        message: one line of text; "" for none.
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
        overrides: Overrides | None = None,
        learning: bool = True,
        cup: tuple[float, float] | None = None,
    ) -> None:
        """Prepare the session.

        Args:
            learners: name and model of each learner.
            protocol: the protocol.
            seed: seed of cups and noise, the same for all learners.
            chosen: indices in the schedule of the trials to show; see `trial_indices`.
            size: width and height of the picture, pixels.
            panels: the panels to show; all by default.
            twin: whether to show each trial also without its perturbation; for one learner only.
            overrides: perturbations to switch on or off.
            learning: whether the learners learn in trials with learning.
            cup: (x, y) m, position of the cup at the start of each shown trial; None for the protocol's cups.

        Raises:
            ValueError: there are no learners, a twin for several learners, or the picture is too small.
        """
        if twin and len(learners) != 1:
            raise ValueError(f"learners: expected one with twin, got {len(learners)}")
        self.panels = panels or Panels()
        if np.shape(size) != (2,):
            raise ValueError(f"size: expected (width, height) in pixels, got {size!r}")
        self.size = picture_size(*size)
        self.layout: Layout = layout_of(self.panels, len(learners) + twin, *self.size, len(learners))
        self.steppers = [ProtocolStepper(model, protocol, seed, chosen, name) for name, model in learners]
        self.help_shown = False
        self.message = ""
        self._cup = cup
        # Scenes of the present trial without its perturbation, and its index in the schedule.
        self._has_twin, self._twin_scenes, self._twin_index = twin, list[Scene](), -1
        # Number of the last error of each learner, and whether its path is shown now.
        self._error_numbers = [0] * len(learners)
        self._shows_error_path = [False] * len(learners)
        self._hold_left = 0
        self._spans = block_spans(schedule_of(protocol, seed))
        self._limit = error_limit(protocol)
        self._human = human_curve(protocol)
        self._errors: dict[str, NDArray[np.float64]] = {}
        self._row_count = -1
        for stepper in self.steppers:
            stepper.overrides = overrides or Overrides()
            stepper.learning = learning

    @property
    def first(self) -> ProtocolStepper:
        """Return the first learner."""
        return self.steppers[0]

    @property
    def trials_done(self) -> int:
        """Return the number of chosen trials that are over."""
        done = self.first.stage in ("learned", "end")
        return sum(index < self.first.index + done for index in self.first.chosen)

    def step(self) -> bool:
        """Advance by one control step; return False at the end of the session.

        A learner whose reach is over waits for the others. Then all learn, and the errors move along their paths.
        """
        if self._hold_left > 0:
            self._hold_left -= 1
            return True
        moving = [stepper for stepper in self.steppers if stepper.stage not in ("over", "learned", "end")]
        if moving:
            for stepper in moving:
                stepper.advance()
                self._begin_trial(stepper)
            return not self._is_over
        if any(stepper.stage == "over" for stepper in self.steppers):
            for stepper in self.steppers:
                if stepper.stage == "over":
                    stepper.advance()
            self._shows_error_path = [self._has_new_error(k) for k in range(len(self.steppers))]
            self._hold_left = TRAVEL_STEPS if any(self._shows_error_path) else HOLD_STEPS
            return not self._is_over
        going = [stepper.advance() for stepper in self.steppers]
        self._shows_error_path = [False] * len(self.steppers)
        for stepper in self.steppers:
            self._begin_trial(stepper)
        return any(going)

    @property
    def _is_over(self) -> bool:
        return all(stepper.is_over for stepper in self.steppers)

    def skip(self) -> None:
        """Go to the next trial."""
        self._hold_left = 0
        for stepper in self.steppers:
            stepper.skip()

    def frame(self, status: str = "") -> Frame:
        """Return the picture of this moment, (height, width, 3) uint8."""
        views = [self.view(k) for k in range(len(self.steppers))]
        if self._has_twin:
            scenes = self._twin_scenes
            scene = scenes[min(self.first.step + 1, len(scenes) - 1)] if scenes else None
            views.append(LearnerView(UNPERTURBED, scene, is_learner=False))
        line = " · ".join(part for part in (status, *self._changes(), self.message) if part)
        return compose(views, self.error_history(), *self.size, self.panels, status=line, help_shown=self.help_shown)

    def error_history(self) -> ErrorHistory:
        """Return the errors of all trials so far."""
        row_count = sum(len(stepper.rows) for stepper in self.steppers)
        trials = self._spans[-1].last
        if row_count != self._row_count:
            self._row_count = row_count
            self._errors = {stepper.name: launch_errors(stepper.rows, trials) for stepper in self.steppers}
        return ErrorHistory(trials, self._spans, self._errors, self._limit, self.first.trial.trial, *self._human)

    def toggle(self, switch: str) -> None:
        """Switch the "prism" or the "field" on or off from now on."""
        on = not is_on(switch, self.first.perturbations)
        for stepper in self.steppers:
            try:
                stepper.set_overrides(replace(stepper.overrides, **{switch: on}))
            except ValueError as error:
                self.message = str(error)

    def set_learning(self, wanted: bool) -> None:
        """Switch learning on or off for all learners, from the next trial on."""
        for stepper in self.steppers:
            stepper.learning = wanted

    def move_cup(self, place: tuple[float, float]) -> None:
        """Move every learner's cup to (x, y) m, unless the hand is there."""
        for stepper in self.steppers:
            stepper.move_cup(place)

    def leave(self) -> None:
        """End all runs at their present step."""
        for stepper in self.steppers:
            stepper.leave()

    def _begin_trial(self, stepper: ProtocolStepper) -> None:
        """Move the cup and run the twin in the first step of a trial."""
        if stepper.stage != "step" or stepper.step != 0:
            return
        if self._cup is not None:
            stepper.move_cup(self._cup)
        if self._has_twin and self._twin_index != stepper.index:
            self._twin_scenes, self._twin_index = stepper.twin_scenes(), stepper.index

    def _has_new_error(self, number: int) -> bool:
        """Return whether a learner has learned from an error that has not moved along its path yet."""
        snapshot = self.steppers[number].snapshot()
        path = None if snapshot is None else snapshot.error_path
        previous, self._error_numbers[number] = self._error_numbers[number], 0 if path is None else path.number
        return self._error_numbers[number] != previous

    def view(self, number: int) -> LearnerView:
        """Return the present view of a learner."""
        stepper = self.steppers[number]
        if stepper.stage in ("before", "end"):
            return LearnerView(stepper.name, None)
        snapshot = stepper.snapshot() if self.panels.network else None
        progress = None
        if stepper.stage == "learned" and self._shows_error_path[number]:
            progress = min(1.0, TRAVEL_SPEED * (1.0 - self._hold_left / TRAVEL_STEPS))
        return LearnerView(stepper.name, stepper.scene() if self.panels.table else None, snapshot, progress)

    def _changes(self) -> list[str]:
        """Return the differences from the protocol, in words."""
        switches = ((switch, getattr(self.first.overrides, switch)) for switch in SWITCHES)
        changes = [f"{switch} {'on' if on else 'off'}" for switch, on in switches if on is not None]
        return changes if self.first.learning else [*changes, "learning off"]


def film_frames(
    session: WatchSession, speed: float = 1.0, on_trial: Callable[[int], object] | None = None
) -> Iterator[Frame]:
    """Yield the frames of a film with 50 frames per second.

    Args:
        session: a session that has not begun.
        speed: speed of the film; 2 shows every second control step, 0.5 shows each step twice.
        on_trial: called with the number of chosen trials that are over.

    Raises:
        ValueError: the speed is outside 1/8 to 32.
    """
    require_speed(speed)
    due, done = 1.0, 0
    try:
        while session.step():
            if session.first.stage == "before":
                continue
            due += 1.0 / speed
            while due >= 1.0:
                yield session.frame(speed_text(speed))
                due -= 1.0
            if on_trial is not None and session.trials_done != done:
                done = session.trials_done
                on_trial(done)
    finally:
        session.leave()


def require_speed(speed: float) -> None:
    """Raise ValueError if a speed is outside 1/8 to 32."""
    require_number("speed", speed, SLOWEST, FASTEST)


def speed_text(speed: float) -> str:
    """Return a speed as text for a picture; "" for real time."""
    if speed == 1.0:
        return ""
    return f"speed {speed:g}" if speed > 1.0 else f"speed 1/{1.0 / speed:g}"


def trial_indices(protocol: Protocol, seed: int, first: int, last: int) -> set[int]:
    """Return the indices in the schedule of reaches `first` to `last`, counted from 1 without probes, inclusive.

    Raises:
        ValueError: the protocol has no such reaches.
    """
    if not 1 <= first <= last <= protocol.reaches:
        expected = f"1 <= first <= last <= {protocol.reaches}, the reaches of {protocol.name}"
        raise ValueError(f"expected {expected}, got first={first}, last={last}")
    schedule = schedule_of(protocol, seed)
    return {k for k, trial in enumerate(schedule) if first <= trial.trial <= last and not trial.probe}


def block_spans(schedule: Sequence[ScheduledTrial]) -> tuple[BlockSpan, ...]:
    """Return the first and last reach of each block of a schedule."""
    spans: dict[int, BlockSpan] = {}
    for trial in schedule:
        first = spans[trial.block_number].first if trial.block_number in spans else trial.trial
        spans[trial.block_number] = BlockSpan(trial.block, first, trial.trial)
    return tuple(spans.values())


def launch_errors(rows: Sequence[dict[str, Any]], reaches: int) -> NDArray[np.float64]:
    """Return the launch errors (reaches,) degrees of finished reaches, without probes; NaN elsewhere."""
    errors = np.full(reaches, math.nan)
    for row in rows:
        if not row["probe"]:
            errors[row["trial"] - 1] = row["launch_error_deg"]
    return errors


def error_limit(protocol: Protocol) -> float:
    """Return the largest launch error to show, degrees."""
    perturbations = [perturbation for block in protocol.blocks for perturbation in block.perturbation]
    degrees = [abs(rotation.degrees) for rotation in perturbations if isinstance(rotation, Rotation)]
    return LIMIT_SHARE * max(degrees) if degrees else LIMIT_DEG


def human_curve(protocol: Protocol) -> tuple[tuple[tuple[float, float, float], ...], str]:
    """Return the mean error of people in the first block of a lasting rotation, and the label of this curve.

    The curve is a tuple of (first trial, last trial, degrees), empty for other protocols. People were measured under 45
    degrees; for other rotations the same share of the rotation is assumed.
    """
    before = 0
    for block in protocol.blocks:
        rotations = [r for r in block.perturbation if isinstance(r, Rotation) and r.onset_s is None]
        lasting = block.possible_scales == {1.0}
        if block.name == PERTURBED and len(rotations) == len(block.perturbation) == 1 and lasting:
            degrees = rotations[0].degrees
            points = tuple(
                (float(before + first), float(before + last), degrees * (1.0 - index))
                for (first, last), index in zip(WHOLE_REACH.blocks, WHOLE_REACH.index, strict=True)
                if last <= block.trials
            )
            return points, f"people ({WHOLE_REACH.perturbation}{'' if degrees == 45.0 else ', same share'})"
        before += block.trials
    return (), ""


# Measures that must be bit-identical in a replay.
COMPARED = ("launch_error_deg", "endpoint_error_cm", "duration_s", "reward", "success", "tipped")


def trained_learner(study: Path, learner: str, seed: int, factories: Iterable[str]) -> tuple[Path, bool]:
    """Return the folder of a learner trained in a study, and whether it was trained by the current code.

    Args:
        study: folder of the study.
        learner: name of the learner.
        seed: seed of its training.
        factories: "module:function" of each factory that may have made the learner.

    Raises:
        DamagedError: a file of the learner has changed since it was written.
        ValueError: the study has no such learner, or several of other versions and none of the current version.
    """
    for factory in factories:
        (job,) = plan([learner], {}, [seed], factory=factory, out=study)
        if Path(job.folder).is_dir():
            Store(study).check(job)
            return Path(job.folder), True
    folders = sorted((study / "baseline").glob(f"{learner}-{seed}-{'[0-9a-f]' * 12}"))
    if len(folders) > 1:
        raise ValueError(f"{study}: expected {learner!r} with seed {seed} of this version of the code, got others only")
    if not folders:
        known = sorted({folder.name.rsplit("-", 1)[0] for folder in (study / "baseline").glob("*-*-*")})
        raise ValueError(f"{study}: expected one of its learners {known}, got {learner!r} with seed {seed}")
    fingerprint = folders[0].name.rpartition("-")[2]
    Store(study).check(Job("train", learner, seed, "", str(folders[0]), fingerprint))
    return folders[0], False


def recorded_row(study: Path, learner: str, protocol: Protocol, seed: int, trial: int) -> dict[str, Any] | None:
    """Return the recorded row of reach `trial`; None if there is none.

    Raises:
        DamagedError: the file of trials has changed since it was written.
        ValueError: the study has no trials.
    """
    path = study / "trials.parquet"
    if not path.is_file():
        raise ValueError(f"study: expected a folder written by compare.py, got {study} without trials.parquet")
    trials = read_whole(path)
    wanted = {"learner": learner, "protocol": protocol.name, "seed": seed, "trial": trial, "probe": False}
    for column, value in wanted.items():
        trials = trials[trials[column] == value]
    return None if trials.empty else {str(name): value for name, value in trials.iloc[0].items()}


def differences(recorded: dict[str, Any], replayed: dict[str, Any]) -> list[str]:
    """Return the differences between a replayed and a recorded trial, in words; [] if there are none."""
    pairs = [(name, recorded[name], replayed[name]) for name in COMPARED if name in recorded]
    # Two NaN count as equal.
    return [f"{name} {b} instead of {a}" for name, a, b in pairs if a != b and not (a != a and b != b)]
