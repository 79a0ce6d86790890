"""Run a learner in a protocol one control step at a time, for interactive display.

The protocol runs as in a study, but in a separate thread, which waits after each step of a shown trial and again after
the learner has learned from the trial. Only one of the two threads runs at any time. While the protocol waits, the
display can read world and learner, and change the world.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym

from reach.perturbations import CurlField, Perturbation, Prism, VelocityField
from reach.play import act_through_trial
from reach.protocols import Protocol, ScheduledTrial, schedule_of
from reach.scene import Label, Scene, copy_scene
from reach.simulation import move_cup, perturb
from reach.snapshot import Snapshot, snapshot_of
from reach.study.run import Model, ObservedRun, env_of, run_protocol

# Stages: before the first shown trial; in a step of a shown trial; at its end; after the learner has learned from it;
# after the last shown trial.
Stage = Literal["before", "step", "over", "learned", "end"]
# Perturbations that can be switched: their kinds, and the one that is added to a trial without any.
SWITCHES: dict[str, tuple[tuple[type[Perturbation], ...], Perturbation]] = {
    "prism": ((Prism,), Prism(0.06)),
    "field": ((CurlField, VelocityField), CurlField(13.0)),
}


class StoppedWatchingError(Exception):
    """The display was closed before the end of the protocol."""


@dataclass(frozen=True)
class Overrides:
    """Perturbations that are switched on or off in place of the protocol's.

    Attributes:
        prism, field: True to add that of `SWITCHES` if the trial has none, False to remove prisms or fields, None for
            the protocol's own.
    """

    prism: bool | None = None
    field: bool | None = None

    def applied_to(self, perturbations: tuple[Perturbation, ...]) -> tuple[Perturbation, ...]:
        """Return a trial's perturbations with the overrides, given the protocol's `perturbations`."""
        for switch, (kinds, added) in SWITCHES.items():
            wanted = getattr(self, switch)
            if wanted is False:
                perturbations = tuple(item for item in perturbations if not isinstance(item, kinds))
            elif wanted and not is_on(switch, perturbations):
                perturbations = (*perturbations, added)
        return perturbations


def is_on(switch: str, perturbations: tuple[Perturbation, ...]) -> bool:
    """Return whether a trial has perturbations of a switch."""
    return any(isinstance(perturbation, SWITCHES[switch][0]) for perturbation in perturbations)


class _OverriddenWorld(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper of the unwrapped environment: waits before each trial, and overrides its perturbations."""

    def __init__(self, env: gym.Env[Any, Any], stepper: ProtocolStepper) -> None:
        super().__init__(env)
        self._stepper = stepper

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._stepper._before_trial()
        changed = dict(options or {})
        if "perturbation" in changed:
            changed["perturbation"] = self._stepper.overrides.applied_to(changed["perturbation"])
        return self.env.reset(seed=seed, options=changed)


class ProtocolStepper:
    """Run one learner through a protocol, step by step.

    Attributes:
        schedule: schedule of the protocol.
        stage: stage of the run; at "before" there is nothing to show.
        index: index of the current trial in the schedule.
        step: number of the current control step.
        overrides: perturbations switched on or off.
        learning: whether the learner learns in trials with learning; a change takes effect in the next trial.
    """

    def __init__(self, model: Model, protocol: Protocol, seed: int, chosen: set[int], name: str = "") -> None:
        """Prepare the run.

        Args:
            model: the learner.
            protocol: the protocol.
            seed: seed of cups and noise.
            chosen: indices in the schedule of the trials to show; the run ends after the last of them.
            name: name of the learner.

        Raises:
            ValueError: `chosen` is empty.
        """
        if not chosen:
            raise ValueError("chosen: expected one trial or more, got none")
        self.model = model
        self.protocol = protocol
        self.name = name
        self.schedule: list[ScheduledTrial] = schedule_of(protocol, seed)
        self.chosen = chosen
        self.stage: Stage = "before"
        self.index = 0
        self.step = 0
        self.overrides = Overrides()
        self._seed = seed
        self.learning = True
        self._is_skipping = False
        self._is_left = False
        self._env: ObservedRun | None = None
        self._error: BaseException | None = None
        self._resume, self._halted = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._last_scene: Scene | None = None
        # Take a first snapshot, because learners record spikes only after it.
        snapshot_of(model)

    # --- called by the display ----------------------------------------------------------------------------

    def advance(self) -> bool:
        """Run until there is something new to show; return False at the end. Errors of the run are raised here."""
        if self.is_over:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._resume.release()
        self._halted.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self.is_over

    @property
    def is_over(self) -> bool:
        """Return whether all trials have been shown."""
        return self.stage == "end"

    def leave(self) -> None:
        """End the run at its present step."""
        self._is_left = True
        if self._thread is not None and self.stage != "end":
            self._resume.release()
            self._thread.join()
        self.stage = "end"

    @property
    def trial(self) -> ScheduledTrial:
        """Return the current trial."""
        return self.schedule[self.index]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the measures of the finished trials."""
        return [] if self._env is None else self._env.protocol.rows

    def scene(self) -> Scene:
        """Return the current scene; after a reach, the scene of its end."""
        assert self._env is not None
        if self.stage != "step":
            assert self._last_scene is not None
            return self._last_scene
        return copy_scene(self._env)

    def snapshot(self) -> Snapshot | None:
        """Return the current snapshot of the learner's network; None if the learner provides none."""
        return snapshot_of(self.model)

    def skip(self) -> None:
        """Run the rest of this trial without showing it; the learner still learns from it."""
        self._is_skipping = self.stage == "step"

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """Return the perturbations of the current trial, with the overrides."""
        return self.overrides.applied_to(self.trial.perturbation)

    def set_overrides(self, overrides: Overrides) -> None:
        """Replace the overrides from now on.

        Raises:
            ValueError: the perturbations cannot be combined; nothing is changed in this case.
        """
        if self.stage == "step":
            perturb(self._env, overrides.applied_to(self.trial.perturbation))
        self.overrides = overrides

    def move_cup(self, place: tuple[float, float]) -> bool:
        """Move the cup to (x, y) m; return whether it was moved."""
        try:
            return self.stage == "step" and move_cup(self._env, place)
        except ValueError:
            return False

    def twin_scenes(self) -> list[Scene]:
        """Return the scenes, step by step, of the current trial without its perturbation.

        Call this before the learner learns from the trial. If a perturbation sets in within the reach, only this one is
        left out, and perturbations that act from the start stay.
        """
        trial = self.trial
        env = env_of(self.model, self.protocol, "rgb_array")
        perturbation = trial.from_start if trial.onset_s is not None else ()
        options = {"cup": trial.cup, "perturbation": perturbation, "context": trial.context}
        env.unwrapped.label = Label("", trial.trial)  # type: ignore[attr-defined]
        try:
            return [copy_scene(env) for _ in act_through_trial(self.model, env, options, trial.seed)]
        finally:
            env.close()

    # --- called by the protocol, in its own thread --------------------------------------------------------

    def wrap_world(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Wrap the unwrapped environment of the protocol."""
        return _OverriddenWorld(env, self)

    def attach(self, env: ObservedRun) -> None:
        """Store the environment of the protocol, before its first trial."""
        self._env = env
        env.silenced = not self.learning

    def watches(self, index: int) -> bool:
        """Return True, because `silenced` is set at the end of each trial."""
        return True

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Wait for the display after a step of a shown trial.

        Raises:
            StoppedWatchingError: the display was closed.
        """
        if index in self.chosen and (over or not self._is_skipping):
            self.index, self.step = index, step
            self.stage = "over" if over else "step"
            if over:
                self._last_scene = copy_scene(self._env)
            self._halt()
        if over:
            assert self._env is not None
            self._is_skipping = False
            self._env.silenced = not self.learning

    def _before_trial(self) -> None:
        if self.stage == "over":
            self.stage = "learned"
            self._halt()
            if self.index == max(self.chosen):
                raise StoppedWatchingError

    def _halt(self) -> None:
        self._halted.release()
        self._resume.acquire()
        if self._is_left:
            raise StoppedWatchingError

    def _run(self) -> None:
        try:
            run_protocol(self.model, self.protocol, self._seed, intervener=self)
            if self.stage == "over":
                self.stage = "learned"
                self._halt()
        except StoppedWatchingError:
            pass
        except BaseException as error:
            self._error = error
        self.stage = "end"
        self._halted.release()
