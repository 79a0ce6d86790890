"""A protocol under way, between the learner's own `learn` and whoever looks on or lays a hand on the world.

It knows whether learning is on, and lets trials without it pass in the midst of `learn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, SupportsFloat

import gymnasium as gym

from reach.protocols import PERTURBED, WASHOUT, ProtocolWrapper, ScheduledTrial


class Onlooker(Protocol):
    """Whoever looks at a protocol under way."""

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Called after each step of trial `index` of the schedule."""


class Companion(Onlooker, Protocol):
    """An onlooker that may lay a hand on the world."""

    def take(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """The bare world of the protocol, wrapped or as it is."""

    def meet(self, env: Watched) -> None:
        """Called once with the protocol, before its first trial."""


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """A protocol under way: knows whether learning is on, films chosen trials and tells how far it is."""

    def __init__(
        self,
        env: ProtocolWrapper,
        camera: Onlooker | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(env)
        self.protocol = env
        self.camera = camera
        self.on_progress = on_progress
        self.steps = 0  # taken in the trial that runs; 0 between trials
        self.total_steps = 0
        # Learning is off, whatever the protocol says. To be changed between trials only.
        self.silenced = False
        # Goes through the upcoming trial without learning, in the midst of `learn`.
        self.act_alone: Callable[[], None] | None = None
        # Called once, before the first reach of the first washout after a perturbation.
        self.on_washout: Callable[[], None] | None = None

    @property
    def index(self) -> int:
        """In the schedule, of the trial that runs, or of the next one between trials."""
        return len(self.protocol.rows)

    @property
    def finished(self) -> bool:
        return self.protocol.finished

    @property
    def upcoming(self) -> ScheduledTrial:
        """The trial that runs, or the next one between trials."""
        return self.protocol.schedule[self.index]

    @property
    def learning(self) -> bool:
        """Whether learning is on in the trial that runs, or in the next one between trials."""
        return not self.finished and self.upcoming.learning and not self.silenced

    @property
    def _is_at_washout(self) -> bool:
        """Whether a reach without the perturbation comes next, after one with it."""
        before = self.protocol.schedule[: self.index]
        return not self.finished and self.upcoming.block == WASHOUT and any(one.block == PERTURBED for one in before)

    def keep_learning(self, *_: Any) -> bool:
        """Callback for `learn`: False ends it, also before a reach whose twin is to be run first."""
        return self.learning and (self.steps > 0 or self.upcoming.onset_s is None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next trial, after those before it in which learning is off.

        Stable-Baselines3 begins a trial before it asks whether to go on. Were it stopped there for a probe, it would
        lose the last step of the trial, its reward, and the rollout that it has not yet learned from.
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
        index = self.index
        observation, reward, terminated, truncated, info = self.env.step(action)
        over = bool(terminated or truncated)
        if self.camera is not None:
            self.camera.look(index, self.steps, over, self.env.render)
        self.steps = 0 if over else self.steps + 1
        self.total_steps += 1
        if over and self.on_progress is not None:
            self.on_progress(self.index / len(self.protocol.schedule))
        return observation, reward, terminated, truncated, info
