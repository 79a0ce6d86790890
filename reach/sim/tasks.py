"""The two tasks, reaching and grabbing: when a trial is won and what each step earns, compiled.

Reaching is judged as in the laboratory, where the cursor must come to rest in the target: by where the eye sees hand
and cup by now, one visual delay late. Grabbing is physical: the fingers must hold the true cup.

The reward is computed from what is *seen* (after the visual map, one visual delay ago, without noise), never from the
true hand, so that under a visual perturbation it tells a learner no more than its eyes do.

Dense reward is a sum of named terms. `progress` and `grasp` are differences of bounded potentials (Ng, Harada and
Russell 1999), so going to and fro earns nothing. Tipping the cup sets both to zero and costs 1 more, so ending early
never pays: with P0 the weighted potential at the start, a tipped trial earns at most -P0 - 1, and an honest one,
however bad, at least -P0 - 0.24 (the most that unsteady commands can cost).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from reach.arguments import numbers_in
from reach.sim import layout as s
from reach.sim.elementary import exponential, hyperbolic_tangent, larger, smaller
from reach.sim.jit import inlined, kernel

L = s.LANES
HOLD_S = 0.2
REACH_RADIUS_M = 0.02
REACH_STILL_S = 0.1

REWARD_TERMS = ("progress", "grasp", "effort", "tipping", "success", "step")
PROGRESS_WEIGHT = 4.0
PROGRESS_SCALE_M = 0.15
APERTURE_WEIGHT = 3.0
GRASP_WEIGHT = 8.0
# A hand within about this of the cup is around it; closing then counts half of a grasp, holding the other half.
AROUND_M = 0.02
EFFORT_WEIGHT = 0.0001
TIPPING_PENALTY = 1.0
SUCCESS_BONUS = 10.0


@inlined
def _potentials(t, i, progress_before, grasp_before):  # type: ignore[no-untyped-def]
    """How far lane `i`'s reach and grasp have come, each in 0..1, by what is seen and felt; zero for a tipped cup.

    Progress is 1 with the seen hand, open as wide as the cup, at the seen cup: what the felt aperture lacks counts as
    distance, because a closed hand at the cup is as far from holding it as an open one beside it. Grasp is half the
    closing of the fingers around the cup and half the time of the hold. The values before are kept while hand or cup
    is not seen.
    """
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    squared = dx * dx + dy * dy
    width = 2.0 * t[s.CUP_RADIUS * L + i]
    room = t[s.LATE_APERTURE * L + i] - width
    lacking = APERTURE_WEIGHT * larger(-room, 0.0)
    progress = 1.0 - hyperbolic_tangent(math.sqrt(squared + lacking * lacking) / PROGRESS_SCALE_M)
    closed = 1.0 - smaller(abs(room) / (t[s.LARGEST_APERTURE * L + i] - width), 1.0)
    around = exponential(-squared / (2.0 * AROUND_M * AROUND_M))
    grasp = 0.5 * around * closed + 0.5 * smaller(t[s.HELD_S * L + i] / HOLD_S, 1.0)
    gone = (t[s.LATE_CUP_X * L + i] == 0.0) & (t[s.LATE_CUP_Y * L + i] == 0.0)
    unseen = (t[s.LATE_VISIBLE * L + i] == 0.0) | gone
    progress = progress_before if unseen else progress
    grasp = grasp_before if unseen else grasp
    standing = t[s.TIPPED * L + i] == 0.0
    return progress if standing else 0.0, grasp if standing else 0.0


@inlined
def _has_reached(t, i, ready):  # type: ignore[no-untyped-def]
    """Whether a `ready` hand, as the eye sees it by now, is around the seen cup; an unseen hand is not judged."""
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    near = dx * dx + dy * dy < REACH_RADIUS_M * REACH_RADIUS_M
    return near & ready & (t[s.LATE_VISIBLE * L + i] > 0.0)


@kernel
def begin_judging(t, i):  # type: ignore[no-untyped-def]
    """Set lane `i`'s task columns at the start of its trial."""
    w = t[i::L]
    w[s.TASK : s.SCRATCH] = 0.0
    w[s.PROGRESS_POTENTIAL], w[s.GRASP_POTENTIAL] = _potentials(t, i, 0.0, 0.0)
    for k in range(s.ACTION_SIZE):
        w[s.PREVIOUS_1 + k] = w[s.ACTION_1 + k]


@kernel
def judge(t, lanes, grab, dense):  # type: ignore[no-untyped-def]
    """Write reward terms, reward and success of a tile's trials after one control step.

    Conditions are joined by & and |, which evaluate both sides, and stores stand behind all loads: branches, and loads
    that might wait for a store, would keep the loop from becoming vectors.
    """
    for i in range(len(lanes)):
        tipped = t[s.TIPPED * L + i] > 0.0
        held = t[s.HELD_S * L + i] >= HOLD_S - 1e-9
        still = t[s.STILL_S * L + i] >= REACH_STILL_S - 1e-9
        wide = t[s.APERTURE * L + i] > 2.0 * t[s.CUP_RADIUS * L + i]
        ready = (held if grab else still & wide) & (not tipped)
        won = ready if grab else _has_reached(t, i, ready)
        action1 = t[s.ACTION_1 * L + i]
        action2 = t[s.ACTION_2 * L + i]
        action3 = t[s.ACTION_3 * L + i]
        action4 = t[s.ACTION_4 * L + i]
        change1 = action1 - t[s.PREVIOUS_1 * L + i]
        change2 = action2 - t[s.PREVIOUS_2 * L + i]
        change3 = action3 - t[s.PREVIOUS_3 * L + i]
        change4 = action4 - t[s.PREVIOUS_4 * L + i]
        effort = change1 * change1 + change2 * change2 + change3 * change3 + change4 * change4
        progress_before = t[s.PROGRESS_POTENTIAL * L + i]
        grasp_before = t[s.GRASP_POTENTIAL * L + i]
        left = s.TRIAL_STEPS - t[s.CLOCK * L + i] * (1.0 / s.INNER_STEPS)
        progress, grasp = _potentials(t, i, progress_before, grasp_before)
        toll = 0.0 if dense | won else -1.0
        fine = TIPPING_PENALTY if dense else TIPPING_PENALTY + larger(left, 0.0)
        of_progress = PROGRESS_WEIGHT * (progress - progress_before) if dense else 0.0
        of_grasp = GRASP_WEIGHT * (grasp - grasp_before) if dense & grab else 0.0
        of_effort = -EFFORT_WEIGHT * effort if dense else 0.0
        of_tipping = -fine if tipped else 0.0
        of_success = SUCCESS_BONUS if dense & won else 0.0
        t[s.READY * L + i] = 1.0 if ready else 0.0
        t[s.PREVIOUS_1 * L + i] = action1
        t[s.PREVIOUS_2 * L + i] = action2
        t[s.PREVIOUS_3 * L + i] = action3
        t[s.PREVIOUS_4 * L + i] = action4
        t[s.TERM_PROGRESS * L + i] = of_progress
        t[s.TERM_GRASP * L + i] = of_grasp
        t[s.TERM_EFFORT * L + i] = of_effort
        t[s.TERM_TIPPING * L + i] = of_tipping
        t[s.TERM_SUCCESS * L + i] = of_success
        t[s.TERM_STEP * L + i] = toll
        t[s.REWARD * L + i] = of_progress + of_grasp + of_effort + of_tipping + of_success + toll
        t[s.SUCCESS * L + i] = 1.0 if won else 0.0
        t[s.PROGRESS_POTENTIAL * L + i] = progress
        t[s.GRASP_POTENTIAL * L + i] = grasp


# Goals for learning from hindsight (Andrychowicz et al. 2017, HER): a place, and what a place does not tell.
FARTHEST_M = 1.5
GOAL_SIZE = 4
GOAL_X, GOAL_Y, GOAL_READY, GOAL_TIP_PENALTY = range(GOAL_SIZE)


def goals_of(column: Callable[[int], s.Array], grab: bool) -> tuple[s.Array, s.Array]:
    """Achieved and desired goals, each (num_envs, 4).

    Args:
        column: gives a column (num_envs,) of the worlds' rows.
        grab: whether the cup is to be held.
    """
    visible, won = column(s.LATE_VISIBLE) > 0.0, column(s.SUCCESS) > 0.0
    goal = column(s.LATE_CUP_X), column(s.LATE_CUP_Y)
    hand = column(s.LATE_HAND_X), column(s.LATE_HAND_Y)
    places = [np.where(won & grab, goal[k], np.where(visible, hand[k], 0.0)) for k in range(2)]
    fine = -column(s.TERM_TIPPING)
    achieved = np.stack([*(_held(place) for place in places), column(s.READY), fine], axis=-1)
    desired = np.stack([*(_held(place) for place in goal), np.ones(len(won)), np.zeros(len(won))], axis=-1)
    return achieved, desired


def _held(place: s.Array) -> s.Array:
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
    right, forward = achieved[..., GOAL_X] - desired[..., GOAL_X], achieved[..., GOAL_Y] - desired[..., GOAL_Y]
    near = right * right + forward * forward < REACH_RADIUS_M**2
    return np.where(near & (achieved[..., GOAL_READY] > 0.0), 0.0, -1.0) - achieved[..., GOAL_TIP_PENALTY]


def _goal(name: str, value: Any) -> s.Array:
    found = numbers_in(value)
    if found is None:
        raise ValueError(f"{name} is {value!r}; numbers of shape (..., {GOAL_SIZE}) are allowed")
    if found.ndim == 0 or found.shape[-1] != GOAL_SIZE:
        raise ValueError(f"{name} has shape {found.shape}; (..., {GOAL_SIZE}) is allowed")
    return found
