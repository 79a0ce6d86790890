"""The two tasks, reaching and grabbing: potentials, rewards, success, goals, and the truth after each step.

Success in reaching is defined as in experiments, where the cursor must come to rest in the target: by the seen hand and
the seen cup, delayed by one visual delay. Grabbing is physical: the fingers must hold the true cup.

The reward is computed from *seen* positions (after the visual map, one visual delay ago, without noise), never from the
true hand. Under a visual perturbation it therefore contains no more information than the learner's vision.

Dense reward is a sum of named terms. `progress` and `grasp` are differences of bounded potentials (Ng, Harada and
Russell 1999), so moving back and forth earns nothing. Tipping the cup sets both potentials to zero and costs 1 more, so
tipping the cup early never pays: with P0 the weighted potential at the start, a tipped trial earns at most -P0 - 1, and
any other trial at least -P0 - 0.24 (the largest cost of unsteady commands).

Goals are for hindsight experience replay (Andrychowicz et al. 2017, HER). `desired_goal` is (cup x, cup y, 1, 0), with
the seen cup. `achieved_goal` is (hand x, hand y, ready, tip penalty): the seen hand; ready is 1 when the hand rests and
is open (reaching) or has held the cup long enough (grabbing), else 0; and the cost of a tipped cup, in steps. The
reward for goals is the sparse reward: 0 for a ready hand within 2 cm of the goal, else -1, minus the tip penalty. A
hidden hand is at (0, 0). A held cup counts as at the goal, for any seen positions of hand and cup.

`info["truth"]` is the true state of a trial, for metrics and pictures; learners must not use it. It is a plain
dictionary of arrays, numbers and bools. In a vector environment each value is an array over the environments with a
mask, as in Gymnasium's `SyncVectorEnv`.

Arrays: joint_angles (3,) rad; joint_velocities (3,) rad/s; hand and cup (2,) m; hand_velocity (2,) m/s; seen_hand and
seen_cup (2,) m, after the visual map and before any delay; torque_n_m (3,) N m, torques of the actuators; activation
(8,), activations of the muscles, 0..1; hand_force_n (2,) N, external force.
Numbers: time_s; aperture_m; grip_n; held_s; penetration_m; channel_force_n, the force of the channel's wall on the
hand, positive to the left of the line.
Bools: hand_visible; cup_present; tipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import numbers_in
from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import exponential, hyperbolic_tangent, larger, smaller, square_root
from reach.sim.layout import Array

L = s.LANES
HOLD_S = 0.2
REACH_RADIUS_M = 0.02
REACH_STILL_S = 0.1

REWARD_TERMS = (
    "reward_progress", "reward_grasp", "reward_effort", "reward_tipping", "reward_success", "reward_step"
)  # fmt: skip
PROGRESS_WEIGHT = 4.0
PROGRESS_SCALE_M = 0.15
APERTURE_WEIGHT = 3.0
GRASP_WEIGHT = 8.0
# Width of the bell-shaped factor around the cup for closing the fingers, which is half of the grasp potential; holding
# is the other half.
AROUND_M = 0.02
EFFORT_WEIGHT = 0.0001
TIPPING_PENALTY = 1.0
SUCCESS_BONUS = 10.0


@inlined
def _potentials(t, i, progress_before, grasp_before):  # type: ignore[no-untyped-def]
    """Return the potentials of lane `i`'s reach and grasp, each in 0..1, from its senses; 0 for a tipped cup.

    Progress is 1 if the seen hand is at the seen cup and open at least as wide as the cup. Missing aperture counts as
    distance, because a closed hand at the cup is as far from a grasp as an open hand beside it. Half of grasp is the
    closing of the fingers around the cup, half the duration of the hold. While hand or cup is not seen, the potentials
    keep their previous values.
    """
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    squared = dx * dx + dy * dy
    width = 2.0 * t[s.CUP_RADIUS * L + i]
    room = t[s.LATE_APERTURE * L + i] - width
    missing = APERTURE_WEIGHT * larger(-room, 0.0)
    progress = 1.0 - hyperbolic_tangent(square_root(squared + missing * missing) / PROGRESS_SCALE_M)
    closed = 1.0 - smaller(abs(room) / (t[s.LARGEST_APERTURE * L + i] - width), 1.0)
    around = exponential(-squared / (2.0 * AROUND_M * AROUND_M))
    grasp = 0.5 * around * closed + 0.5 * smaller(t[s.HELD_S * L + i] / HOLD_S, 1.0)
    removed = (t[s.LATE_CUP_X * L + i] == 0.0) & (t[s.LATE_CUP_Y * L + i] == 0.0)
    unseen = (t[s.LATE_VISIBLE * L + i] == 0.0) | removed
    progress = progress_before if unseen else progress
    grasp = grasp_before if unseen else grasp
    standing = t[s.TIPPED * L + i] == 0.0
    return progress if standing else 0.0, grasp if standing else 0.0


@inlined
def _has_reached(t, i, ready):  # type: ignore[no-untyped-def]
    """Return whether a `ready` hand is seen around the seen cup."""
    dx = t[s.LATE_HAND_X * L + i] - t[s.LATE_CUP_X * L + i]
    dy = t[s.LATE_HAND_Y * L + i] - t[s.LATE_CUP_Y * L + i]
    near = dx * dx + dy * dy < REACH_RADIUS_M * REACH_RADIUS_M
    return near & ready & (t[s.LATE_VISIBLE * L + i] > 0.0)


@kernel
def begin_judging(t, i):  # type: ignore[no-untyped-def]
    """Write lane `i`'s task columns at the start of its trial."""
    w = t[i::L]
    w[s.TASK : s.SCRATCH] = 0.0
    w[s.PROGRESS_POTENTIAL], w[s.GRASP_POTENTIAL] = _potentials(t, i, 0.0, 0.0)
    for k in range(s.ACTION_SIZE):
        w[s.PREVIOUS_1 + k] = w[s.COMMANDED_1 + k]


@kernel
def judge(t, lanes, grab, dense):  # type: ignore[no-untyped-def]
    """Write reward terms, reward and success of a tile's trials after a control step.

    Conditions are combined by & and |, which evaluate both sides, and all loads precede the stores, because branches
    and loads that may alias a store would prevent vectorisation of the loop.

    Args:
        t, lanes: as for `loop.advance`.
        grab: whether the cup must be held instead of reached.
        dense: whether the reward is dense instead of sparse.
    """
    for i in range(len(lanes)):
        tipped = t[s.TIPPED * L + i] > 0.0
        held = t[s.HELD_S * L + i] >= HOLD_S - 1e-9
        still = t[s.STILL_S * L + i] >= REACH_STILL_S - 1e-9
        wide = t[s.APERTURE * L + i] > 2.0 * t[s.CUP_RADIUS * L + i]
        ready = (held if grab else still & wide) & (not tipped)
        won = ready if grab else _has_reached(t, i, ready)
        effort = 0.0
        for k in range(s.ACTION_SIZE):
            change = t[(s.COMMANDED_1 + k) * L + i] - t[(s.PREVIOUS_1 + k) * L + i]
            effort += change * change
        progress_before = t[s.PROGRESS_POTENTIAL * L + i]
        grasp_before = t[s.GRASP_POTENTIAL * L + i]
        left = s.TRIAL_STEPS - t[s.CLOCK * L + i] * (1.0 / s.INNER_STEPS)
        progress, grasp = _potentials(t, i, progress_before, grasp_before)
        time_penalty = 0.0 if dense | won else -1.0
        tip_penalty = TIPPING_PENALTY if dense else TIPPING_PENALTY + larger(left, 0.0)
        progress_term = PROGRESS_WEIGHT * (progress - progress_before) if dense else 0.0
        grasp_term = GRASP_WEIGHT * (grasp - grasp_before) if dense & grab else 0.0
        effort_term = -EFFORT_WEIGHT * effort if dense else 0.0
        tipping_term = -tip_penalty if tipped else 0.0
        success_term = SUCCESS_BONUS if dense & won else 0.0
        t[s.READY * L + i] = 1.0 if ready else 0.0
        t[s.TERM_PROGRESS * L + i] = progress_term
        t[s.TERM_GRASP * L + i] = grasp_term
        t[s.TERM_EFFORT * L + i] = effort_term
        t[s.TERM_TIPPING * L + i] = tipping_term
        t[s.TERM_SUCCESS * L + i] = success_term
        t[s.TERM_STEP * L + i] = time_penalty
        t[s.REWARD * L + i] = progress_term + grasp_term + effort_term + tipping_term + success_term + time_penalty
        t[s.SUCCESS * L + i] = 1.0 if won else 0.0
        t[s.PROGRESS_POTENTIAL * L + i] = progress
        t[s.GRASP_POTENTIAL * L + i] = grasp
    for k in range(s.ACTION_SIZE):
        for i in range(len(lanes)):
            t[(s.PREVIOUS_1 + k) * L + i] = t[(s.COMMANDED_1 + k) * L + i]


# Bound of positions, and number of elements of a goal.
FARTHEST_M = 1.5
GOAL_SIZE = 4
GOAL_X, GOAL_Y, GOAL_READY, GOAL_TIP_PENALTY = range(GOAL_SIZE)


def goals_of(column: Callable[[int], s.Array], grab: bool) -> tuple[s.Array, s.Array]:
    """Return achieved and desired goals, each (num_envs, 4).

    Args:
        column: function that returns a column (num_envs,) of the worlds' rows.
        grab: whether the cup must be held.
    """
    visible, won = column(s.LATE_VISIBLE) > 0.0, column(s.SUCCESS) > 0.0
    goal = column(s.LATE_CUP_X), column(s.LATE_CUP_Y)
    hand = column(s.LATE_HAND_X), column(s.LATE_HAND_Y)
    places = [np.where(won & grab, goal[k], np.where(visible, hand[k], 0.0)) for k in range(2)]
    achieved = np.stack([*_clipped(places), column(s.READY), -column(s.TERM_TIPPING)], axis=-1)
    desired = np.stack([*_clipped(goal), np.ones(len(won)), np.zeros(len(won))], axis=-1)
    return achieved, desired


def _clipped(places: Iterable[s.Array]) -> list[s.Array]:
    return [np.clip(place, -FARTHEST_M, FARTHEST_M) for place in places]


def compute_reward(achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
    """Return the reward (...) of achieved and desired goals.

    Args:
        achieved_goal, desired_goal: (..., 4), for one step or many.
        info: not used; part of the interface of Gymnasium's goal environments.

    Raises:
        ValueError: the goals have another shape.
    """
    achieved, desired = _goal("achieved_goal", achieved_goal), _goal("desired_goal", desired_goal)
    right, forward = achieved[..., GOAL_X] - desired[..., GOAL_X], achieved[..., GOAL_Y] - desired[..., GOAL_Y]
    near = right * right + forward * forward < REACH_RADIUS_M**2
    return np.where(near & (achieved[..., GOAL_READY] > 0.0), 0.0, -1.0) - achieved[..., GOAL_TIP_PENALTY]


def compute_terminated(achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
    """Return whether trials with these goals end, (...) bool: the goal is achieved, or the cup has tipped over.

    Args and errors are those of `compute_reward`.
    """
    tipped = _goal("achieved_goal", achieved_goal)[..., GOAL_TIP_PENALTY] > 0.0
    return (compute_reward(achieved_goal, desired_goal, info) == 0.0) | tipped


def compute_truncated(achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
    """Return whether trials with these goals are truncated, (...) bool: always False, since only time limits truncate.

    Args and errors are those of `compute_reward`.
    """
    return np.zeros_like(compute_reward(achieved_goal, desired_goal, info), dtype=np.bool_)


def _goal(name: str, value: Any) -> s.Array:
    goal = numbers_in(value)
    if goal is None:
        raise ValueError(f"{name}: expected numbers of shape (..., {GOAL_SIZE}), got {value!r}")
    if goal.ndim == 0 or goal.shape[-1] != GOAL_SIZE:
        raise ValueError(f"{name}: expected shape (..., {GOAL_SIZE}), got {goal.shape}")
    return goal


# First column and width in `World` of each array of `info["truth"]`, by key.
ARRAYS = {
    "joint_angles": (s.ANGLE_1, 3),
    "joint_velocities": (s.VELOCITY_1, 3),
    "hand": (s.HAND_X, 2),
    "hand_velocity": (s.HAND_VELOCITY_X, 2),
    "cup": (s.CUP_X, 2),
    "seen_hand": (s.EYE_HAND_X, 2),
    "seen_cup": (s.EYE_CUP_X, 2),
    "torque_n_m": (s.TORQUE_1, 3),
    "activation": (s.ACTIVATION_1, s.MUSCLES),
    "hand_force_n": (s.HAND_FORCE_X, 2),
}
# Column of each number, by key. The clock counts inner steps.
NUMBERS = {
    "aperture_m": s.APERTURE,
    "grip_n": s.GRIP_FORCE,
    "held_s": s.HELD_S,
    "penetration_m": s.PENETRATION,
    "channel_force_n": s.CHANNEL_FORCE,
    "time_s": s.CLOCK,
}
FLAGS = {"hand_visible": s.EYE_VISIBLE, "cup_present": s.CUP_PRESENT, "tipped": s.TIPPED}
TRUTH_MASKS = [f"_{name}" for name in (*ARRAYS, *NUMBERS, *FLAGS)]
# Columns of a moment: arrays and numbers of truth in the order above, reward terms, reward; flags of truth, success.
_ARRAY_COLUMNS = [first + k for first, width in ARRAYS.values() for k in range(width)]
_FLAG_COLUMNS = [*FLAGS.values(), s.SUCCESS]
MOMENT_COLUMNS = np.array([*_ARRAY_COLUMNS, *NUMBERS.values(), *range(s.TERM_PROGRESS, s.REWARD + 1), *_FLAG_COLUMNS])
MOMENT_SIZE = len(MOMENT_COLUMNS)
# Indices in a moment.
FIRST_NUMBER = len(_ARRAY_COLUMNS)
FIRST_TERM = FIRST_NUMBER + len(NUMBERS)
CLOCK, REWARD = FIRST_TERM - 1, FIRST_TERM + len(REWARD_TERMS)
FIRST_FLAG, TIPPED, SUCCESS = REWARD + 1, MOMENT_SIZE - 2, MOMENT_SIZE - 1
_ENDS = tuple(accumulate(width for _, width in ARRAYS.values()))
_PARTS = tuple(slice(end - width, end) for end, (_, width) in zip(_ENDS, ARRAYS.values(), strict=True))
# Returns all arrays of a moment at once, which is faster than one by one.
_arrays_of = itemgetter(*_PARTS)


@kernel
def read_moment(t, moment):  # type: ignore[no-untyped-def]
    """Write the first columns of `MOMENT_COLUMNS` of the first lane of a tile to `moment` (columns,)."""
    for c in range(moment.size):
        moment[c] = t[MOMENT_COLUMNS[c] * L]


@kernel
def read_moments(first, end, tiles, numbers, flags):  # type: ignore[no-untyped-def]
    """Write the moments of the worlds in some tiles.

    Args:
        first, end: range of tiles.
        tiles: tiles of `World`.
        numbers: (n, num_envs), overwritten with the last n entries of a moment before the flags.
        flags: (FLAGS + 1, num_envs) bool, overwritten with the flags and success.
    """
    for k in range(first, end):
        t = tiles[k]
        world = k * L
        count = min(L, flags.shape[1] - world)
        for c in range(numbers.shape[0]):
            column = MOMENT_COLUMNS[FIRST_FLAG - numbers.shape[0] + c] * L
            for i in range(count):
                numbers[c, world + i] = t[column + i]
        for c in range(flags.shape[0]):
            column = MOMENT_COLUMNS[FIRST_FLAG + c] * L
            for i in range(count):
                flags[c, world + i] = t[column + i] > 0.0


@kernel
def is_over(moment):  # type: ignore[no-untyped-def]
    """Return whether the trial ends at a moment, by success or a tipped cup."""
    return moment[SUCCESS] > 0.0 or moment[TIPPED] > 0.0


def truth_of(moment: Array, numbers: list[float]) -> dict[str, Any]:
    """Return `info["truth"]` of one world; its arrays are views of `moment`.

    Args:
        moment: (MOMENT_SIZE,).
        numbers: entries of `moment` from FIRST_NUMBER on.
    """
    angles, velocities, hand, hand_velocity, cup, seen_hand, seen_cup, torque, activation, force = _arrays_of(moment)
    aperture, grip, held, penetration, channel, clock = numbers[: len(NUMBERS)]
    visible, present, tipped, _ = numbers[-len(FLAGS) - 1 :]
    # Written out for speed.
    return {
        "joint_angles": angles, "joint_velocities": velocities, "hand": hand, "hand_velocity": hand_velocity,
        "cup": cup, "seen_hand": seen_hand, "seen_cup": seen_cup, "torque_n_m": torque, "activation": activation,
        "hand_force_n": force, "time_s": clock * s.INNER_STEP_S, "aperture_m": aperture, "grip_n": grip,
        "held_s": held, "penetration_m": penetration, "channel_force_n": channel, "hand_visible": visible > 0.0,
        "cup_present": present > 0.0, "tipped": tipped > 0.0,
    }  # fmt: skip


def column_of(moments: Array, name: str) -> NDArray[Any]:
    """Return one key of `info["truth"]` at several moments (T, MOMENT_SIZE), as an array (T, ...)."""
    if name in ARRAYS:
        return moments[:, _PARTS[list(ARRAYS).index(name)]]
    if name in FLAGS:
        return moments[:, FIRST_FLAG + list(FLAGS).index(name)] > 0.0
    column: NDArray[Any] = moments[:, FIRST_NUMBER + list(NUMBERS).index(name)]
    return column * s.INNER_STEP_S if name == "time_s" else column


def truths_of(numbers: Array, flags: NDArray[np.bool_], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `info["truth"]` of all worlds, each key with a mask; its arrays are views.

    Args:
        numbers, flags: as `read_moments` writes them, with all entries of a moment.
        mask: (num_envs,) bool, the mask of each key.
    """
    arrays = [numbers[part].T for part in _PARTS]
    *others, clock = numbers[FIRST_NUMBER:FIRST_TERM]
    values = (*arrays, *others, clock * s.INNER_STEP_S, *flags[:-1])
    truths = dict(zip((*ARRAYS, *NUMBERS, *FLAGS), values, strict=True))
    return truths | dict.fromkeys(TRUTH_MASKS, mask)
