"""Play whole trials: by a learner's `predict`, or by a compiled loop instead of calls of `step`.

A learner whose control steps are compiled passes a loop that acts and advances the world. The results are bit-identical
to those of `step`. Wrappers must not change actions or observations; a wrapper that records must have its own `play`.

Compiled code of learners imports the world's kernels in `__all__` from this module, not lazily from `reach`, because
the cache of compiled code follows the imports of a module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from reach.sim.actuators import write_action
from reach.sim.elementary import exponential, fma, hyperbolic_tangent
from reach.sim.layout import Array
from reach.sim.loop import advance_and_judge
from reach.sim.tasks import REWARD, SUCCESS, column_of, is_over

__all__ = [
    "UNLIMITED", "Loop", "Played", "act_through_trial", "advance_and_judge", "can_play", "exponential", "fma",
    "hyperbolic_tangent", "is_over", "play", "playable_steps", "replay", "write_action",
]  # fmt: skip

# A function of the last arguments of `advance_and_judge`, of actions (steps, 4) and of moments
# (steps, columns), see `reach.sim.tasks`. It fills actions and moments, and returns the number of steps and the index
# of the world with an invalid action, -1 for none.
Loop = Callable[[tuple[Any, ...], Array, Array], tuple[int, int]]
# Largest number of steps of a trial without a time limit.
UNLIMITED = 2**31
# Wrappers that do not change steps.
TRANSPARENT = (OrderEnforcing, PassiveEnvChecker, TimeLimit)


@dataclass(frozen=True)
class Played:
    """A trial that was played, to its end or in part.

    Attributes:
        actions: (steps, 4).
        moments: (steps, columns), state after each control step, see `reach.sim.tasks`.
        is_over: whether the trial has ended.
    """

    actions: Array
    moments: Array
    is_over: bool

    def column(self, name: str) -> NDArray[Any]:
        """Return one key of `info["truth"]` after each step, (steps, ...)."""
        return column_of(self.moments, name)

    @property
    def reward(self) -> float:
        """Return the sum of the rewards, added one by one as in a loop of `step`."""
        return float(np.cumsum(self.moments[:, REWARD])[-1])

    @property
    def is_success(self) -> bool:
        """Return whether the trial ended in success."""
        return bool(self.moments[-1, SUCCESS] > 0.0)


def playable_steps(env: Any) -> int:
    """Return the largest number of control steps that can be played; 0 if a wrapper needs or changes single steps."""
    if type(env) is TimeLimit:  # a subclass may change steps
        return min(playable_steps(env.env), env._max_episode_steps)
    return playable_steps(env.env) if type(env) in TRANSPARENT else int(getattr(env, "playable_steps", 0))


def can_play(env: Any) -> bool:
    """Return whether trials of an environment can be played, which needs a time limit."""
    return 0 < playable_steps(env) < UNLIMITED


def act_through_trial(
    model: Any, env: Any, options: dict[str, Any] | None = None, seed: int | None = None
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Run one trial by `predict`; yield (None, info) of the reset, then (action, info) of each step."""
    observation, info = env.reset(seed=seed, options=options)
    yield None, info
    state, start, over = None, np.ones(1, dtype=bool), False
    while not over:
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        observation, _, terminated, truncated, info = env.step(action)
        start, over = np.zeros(1, dtype=bool), bool(terminated or truncated)
        yield action, info


def play(env: Any, loop: Loop, longest: int = UNLIMITED) -> Played:
    """Play the trial that `reset` has begun.

    Args:
        env: an environment that `can_play`.
        loop: function that acts and advances the world.
        longest: largest number of control steps.

    Raises:
        ValueError: an action is invalid, as in `step`.
    """
    if type(env) is TimeLimit:
        played = play(env.env, loop, min(longest, env._max_episode_steps))
        return replace(played, is_over=played.is_over or len(played.moments) == env._max_episode_steps)
    return play(env.env, loop, longest) if type(env) in TRANSPARENT else env.play(loop, longest)


def replay(recorded: Array) -> Loop:
    """Return a loop that repeats recorded actions (steps, 4), then holds the last action until the trial ends."""

    def loop(world: tuple[Any, ...], actions: Array, moments: Array) -> tuple[int, int]:
        for step in range(len(actions)):
            actions[step] = recorded[min(step, len(recorded) - 1)]
            wrong = advance_and_judge(actions[step : step + 1], moments[step], *world)
            if wrong >= 0:
                return step, wrong
            if is_over(moments[step]):
                return step + 1, -1
        return len(actions), -1

    return loop
