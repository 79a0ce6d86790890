"""A protocol between a learner's own `learn` and whoever observes the run or intervenes in it.

The wrapper switches learning on and off: trials without learning pass by `predict`, also in the middle of `learn`. A
`Camera` films a few reaches in small pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from reach.protocols import BASELINE, PERTURBED, WASHOUT, ProtocolWrapper, ScheduledTrial

Frame = NDArray[np.uint8]  # (height, width, 3)

FILM_SIDE_PX = 300  # frames are shrunk by a whole factor to about this side
FILM_EVERY = 2  # every second control step is a frame
FILM_HOLD_FRAMES = 8  # repetitions of the last frame of a reach
# Reaches in a film: the last ones before the perturbation, the first ones with it, and the last ones with it.
FILMED_REACHES = {"before": 3, "during": 4, "after": 3}


class Observer(Protocol):
    """Observes a run."""

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Observe a control step that has just ended; `index` is that of the trial in the schedule."""


class Intervener(Observer, Protocol):
    """An observer that may also change the world."""

    def wrap_world(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """Return the bare world of the protocol, wrapped or as it is."""

    def attach(self, env: ObservedRun) -> None:
        """Take the environment of the run. Called once, before the first trial."""


class ObservedRun(gym.Wrapper[Any, Any, Any, Any]):
    """The environment of a run: knows whether learning is on, and calls an observer after each step.

    Attributes:
        steps: number of steps in the current trial; 0 between trials.
        total_steps: number of steps so far.
        silenced: True switches learning off, whatever the protocol says; to be changed between trials only.
        act_alone: runs the upcoming trial without learning, in the middle of `learn`.
        on_washout: called once, before the first reach of the first washout after a perturbation.
    """

    def __init__(
        self,
        env: ProtocolWrapper,
        observer: Observer | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(env)
        self.protocol = env
        self.observer = observer
        self.on_progress = on_progress
        self.steps = 0
        self.total_steps = 0
        self.silenced = False
        self.act_alone: Callable[[], None] | None = None
        self.on_washout: Callable[[], None] | None = None

    @property
    def index(self) -> int:
        """Return the index in the schedule of the current trial, or of the next one between trials."""
        return len(self.protocol.rows)

    @property
    def finished(self) -> bool:
        """Return whether all trials are over."""
        return self.protocol.finished

    @property
    def upcoming(self) -> ScheduledTrial:
        """Return the current trial, or the next one between trials."""
        return self.protocol.schedule[self.index]

    @property
    def learning(self) -> bool:
        """Return whether learning is on in the current trial, or in the next one between trials."""
        return not self.finished and self.upcoming.learning and not self.silenced

    @property
    def _is_at_washout(self) -> bool:
        """Return whether the next reach has no perturbation, after one that had."""
        before = self.protocol.schedule[: self.index]
        return (
            not self.finished and self.upcoming.block == WASHOUT and any(trial.block == PERTURBED for trial in before)
        )

    def keep_learning(self, *_: Any) -> bool:
        """Return False to end `learn`, whose callback this is; also before a reach whose twin has to run first."""
        return self.learning and (self.steps > 0 or self.upcoming.onset_s is None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial with learning, after running those before it without learning.

        Stable-Baselines3 begins a trial before it asks whether to go on. If it were stopped there for a probe, it would
        lose the last step of the trial, its reward, and the rollout that it has not learned from yet.
        """
        act_alone, self.act_alone = self.act_alone, None
        if act_alone is not None:
            while not self.finished and not self.upcoming.learning and self.upcoming.onset_s is None:
                act_alone()
        self.act_alone = act_alone
        if self.on_washout is not None and self._is_at_washout:
            on_washout, self.on_washout = self.on_washout, None
            on_washout()
        self.steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Advance by one control step, then call the observer."""
        index = self.index
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = bool(terminated or truncated)
        if self.observer is not None:
            self.observer.on_step(index, self.steps, over, self.env.render)
        self.steps = 0 if over else self.steps + 1
        self.total_steps += 1
        if over and self.on_progress is not None:
            self.on_progress(self.index / len(self.protocol.schedule))
        return observation, reward, terminated, truncated, info


class Camera:
    """An observer that films chosen trials; it changes no result.

    Attributes:
        chosen: index in the schedule -> phase.
        frames: phase -> frames.
    """

    def __init__(self, chosen: dict[int, str]) -> None:
        self.chosen = chosen
        self.frames: dict[str, list[Frame]] = {phase: [] for phase in FILMED_REACHES}

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Store every `FILM_EVERY`-th frame of a chosen trial, and its last one."""
        phase = self.chosen.get(index)
        if phase is None or (step % FILM_EVERY and not over):
            return
        frame = shrink(np.asarray(render(), dtype=np.uint8))
        self.frames[phase].extend([frame] * (FILM_HOLD_FRAMES if over else 1))

    def films(self, render_fps: float) -> dict[str, bytes]:
        """Return phase -> bytes of an MP4 film, for an environment with `render_fps` control steps a second."""
        # A process that films nothing does without pygame.
        from reach.render.film import film_bytes

        fps = round(render_fps / FILM_EVERY)
        return {phase: film_bytes(frames, fps) for phase, frames in self.frames.items() if frames}


def shrink(frame: Frame) -> Frame:
    """Return a frame whose shorter side is about FILM_SIDE_PX, as the mean of whole blocks of pixels."""
    factor = max(1, min(frame.shape[:2]) // FILM_SIDE_PX)
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    blocks = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    mean: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return mean.round().astype(np.uint8)


def filmed_trials(schedule: Sequence[ScheduledTrial]) -> dict[int, str]:
    """Return the trials of a schedule to film, without probes: index -> "before", "during" or "after".

    A protocol without a perturbation is filmed at its end.
    """
    reaches = [(index, trial.block) for index, trial in enumerate(schedule) if not trial.probe]
    before = [index for index, block in reaches if block == BASELINE]
    perturbed = [index for index, block in reaches if block == PERTURBED] or [index for index, _ in reaches]
    return {
        **dict.fromkeys(perturbed[-FILMED_REACHES["after"] :], "after"),
        **dict.fromkeys(perturbed[: FILMED_REACHES["during"]], "during"),
        **dict.fromkeys((before or perturbed)[-FILMED_REACHES["before"] :], "before"),
    }
