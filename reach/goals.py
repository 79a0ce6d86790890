"""Goals for learning from hindsight (Andrychowicz et al. 2017, HER): what was reached, what was to be, and the reward.

A goal is a place with what a place does not tell. `desired_goal` is (cup x, cup y, 1, 0), the cup as the eye sees it by
now; `achieved_goal` is (hand x, hand y, ready, fine): the hand as the eye sees it by now, 1 when it rests and is open
(reaching) or has held the cup long enough (grabbing), and what a tipped cup costs, in steps. The reward is 0 for a hand
that is ready within 2 cm of the goal, else -1 less the fine: that of every step with sparse reward.

An unseen hand is at (0, 0). A held cup is at the goal, wherever hand and cup are seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from reach import tasks
from reach.arguments import numbers_in
from reach.sim import state as s

Array = NDArray[np.float64]

FARTHEST_M = 1.5
GOAL_SIZE = 4
X, Y, READY, FINE = range(GOAL_SIZE)
LARGEST_FINE = s.TRIAL_STEPS + tasks.TIPPING_PENALTY


def goal_space() -> Any:
    """The space of one goal, (4,) float64: m, m, 0 or 1, steps. Doubles, so that the reward is that of the step."""
    return spaces.Box(
        np.array([-FARTHEST_M, -FARTHEST_M, 0.0, 0.0]),
        np.array([FARTHEST_M, FARTHEST_M, 1.0, LARGEST_FINE]),
        dtype=np.float64,
    )


def goals_of(column: Callable[[int], Array], grab: bool) -> tuple[Array, Array]:
    """Achieved and desired goals, each (num_envs, 4).

    Args:
        column: gives a column (num_envs,) of the worlds' rows.
        grab: whether the cup is to be held.
    """
    visible, won = column(s.LATE_VISIBLE) > 0.0, column(tasks.SUCCESS) > 0.0
    goal = column(s.LATE_CUP_X), column(s.LATE_CUP_Y)
    hand = column(s.LATE_HAND_X), column(s.LATE_HAND_Y)
    places = [np.where(won & grab, goal[k], np.where(visible, hand[k], 0.0)) for k in range(2)]
    fine = -column(tasks.TERMS + tasks.REWARD_TERMS.index("tipping"))
    achieved = np.stack([*(_held(place) for place in places), column(tasks.READY), fine], axis=-1)
    desired = np.stack([*(_held(place) for place in goal), np.ones(len(won)), np.zeros(len(won))], axis=-1)
    return achieved, desired


def _held(place: Array) -> Array:
    return np.clip(place, -FARTHEST_M, FARTHEST_M)


def compute_reward(achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
    """The reward (...) of goals achieved and desired, each (..., 4).

    Args:
        achieved_goal, desired_goal: of one step or of many.
        info: not read; Gymnasium's goal environments have it.

    Raises:
        ValueError: goals of another size.
    """
    achieved, desired = _goal("achieved_goal", achieved_goal), _goal("desired_goal", desired_goal)
    right, forward = achieved[..., X] - desired[..., X], achieved[..., Y] - desired[..., Y]
    near = right * right + forward * forward < tasks.REACH_RADIUS_M**2
    return np.where(near & (achieved[..., READY] > 0.0), 0.0, -1.0) - achieved[..., FINE]


def _goal(name: str, value: Any) -> Array:
    found = numbers_in(value)
    if found is None:
        raise ValueError(f"{name} is {value!r}; numbers of shape (..., {GOAL_SIZE}) are allowed")
    if found.ndim == 0 or found.shape[-1] != GOAL_SIZE:
        raise ValueError(f"{name} has shape {found.shape}; (..., {GOAL_SIZE}) is allowed")
    return found
