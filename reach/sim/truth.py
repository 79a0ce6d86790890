"""The true state of a trial, `info["truth"]`, for metrics and pictures; learners must not use it.

It is a plain dictionary of arrays, numbers and bools. In a vector environment each value is an array over the
environments with a mask, as in Gymnasium's `SyncVectorEnv`.

Arrays: joint_angles (3,) rad; joint_velocities (3,) rad/s; hand and cup (2,) m; hand_velocity (2,) m/s; seen_hand and
seen_cup (2,) m, after the visual map and before any delay; torque_n_m (3,) N m, torques of the actuators; activation
(8,), activations of the muscles, 0..1; hand_force_n (2,) N, external force.
Numbers: time_s; aperture_m; grip_n; held_s; penetration_m; channel_force_n, the force of the channel's wall on the
hand, positive to the left of the line.
Bools: hand_visible; cup_present; tipped.
"""

from __future__ import annotations

from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.jit import kernel
from reach.sim import layout as s
from reach.sim.layout import Array

L = s.LANES
# First column and width of each array, by key.
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
    "time_s": s.CLOCK,
    "aperture_m": s.APERTURE,
    "grip_n": s.GRIP_FORCE,
    "held_s": s.HELD_S,
    "penetration_m": s.PENETRATION,
    "channel_force_n": s.CHANNEL_FORCE,
}
FLAGS = {"hand_visible": s.EYE_VISIBLE, "cup_present": s.CUP_PRESENT, "tipped": s.TIPPED}
NAMES = (*ARRAYS, *NUMBERS, *FLAGS)
# Columns of a moment: those of truth in the order above, then reward terms, reward and success.
TRUTH_COLUMNS = (*(first + k for first, width in ARRAYS.values() for k in range(width)), *NUMBERS.values())
JUDGEMENT_SIZE = s.SUCCESS + 1 - s.TERM_PROGRESS
FLAG_COLUMNS = np.array(list(FLAGS.values()))
MOMENT_COLUMNS = np.array([*TRUTH_COLUMNS, *FLAG_COLUMNS, *range(s.TERM_PROGRESS, s.SUCCESS + 1)])
MOMENT_SIZE = len(MOMENT_COLUMNS)
# Indices in a moment of the reward term of a tipped cup, the reward, and success.
TIPPING, REWARD, SUCCESS = (MOMENT_SIZE - s.SUCCESS - 1 + column for column in (s.TERM_TIPPING, s.REWARD, s.SUCCESS))
_ENDS = tuple(accumulate(width for _, width in ARRAYS.values()))
_PARTS = tuple(slice(end - width, end) for end, (_, width) in zip(_ENDS, ARRAYS.values(), strict=True))
FIRST_NUMBER = _ENDS[-1]
# First column and width of each array and number of truth.
PART_STARTS = np.array([*(part.start for part in _PARTS), *range(FIRST_NUMBER, len(TRUTH_COLUMNS))])
PART_WIDTHS = np.array([*(width for _, width in ARRAYS.values()), *[1] * len(NUMBERS)])
# Returns all arrays of a moment at once, which is faster than one by one.
_arrays_of = itemgetter(*_PARTS)


@kernel
def read_moment(t, moment):  # type: ignore[no-untyped-def]
    """Write the first columns of `MOMENT_COLUMNS` of the first lane of a tile to `moment` (columns,)."""
    for c in range(moment.size):
        moment[c] = t[MOMENT_COLUMNS[c] * L]


@kernel
def is_over(moment):  # type: ignore[no-untyped-def]
    """Return whether the trial ends at a moment, by success or a tipped cup."""
    return moment[SUCCESS] > 0.0 or moment[TIPPING] < 0.0


@kernel
def read_truths(tiles, values, flags):  # type: ignore[no-untyped-def]
    """Write the truth of all worlds, one contiguous array after the other.

    Args:
        tiles: tiles of `World`.
        values: (TRUTH_COLUMNS * num_envs,), overwritten with arrays, each (num_envs, width), and numbers (num_envs,).
        flags: (FLAGS, num_envs) bool, overwritten.
    """
    num_envs = flags.shape[1]
    for k in range(tiles.shape[0]):
        t = tiles[k]
        first = k * L
        count = min(L, num_envs - first)
        for part in range(len(PART_WIDTHS)):
            width = PART_WIDTHS[part]
            begin = PART_STARTS[part] * num_envs + first * width
            for c in range(width):
                column = MOMENT_COLUMNS[PART_STARTS[part] + c] * L
                for i in range(count):
                    values[begin + i * width + c] = t[column + i]
        for c in range(flags.shape[0]):
            column = FLAG_COLUMNS[c] * L
            for i in range(count):
                flags[c, first + i] = t[column + i] > 0.0


def truth_of(moment: Array, numbers: list[float]) -> dict[str, Any]:
    """Return `info["truth"]` of one world; its arrays are views of `moment`.

    Args:
        moment: (MOMENT_SIZE,).
        numbers: entries of `moment` from FIRST_NUMBER on.
    """
    angles, velocities, hand, hand_velocity, cup, seen_hand, seen_cup, torque, activation, force = _arrays_of(moment)
    clock, aperture, grip, held, penetration, channel, visible, present, tipped = numbers[:-JUDGEMENT_SIZE]
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
    place = NAMES.index(name)
    if name in ARRAYS:
        return moments[:, _PARTS[place]]
    column: NDArray[Any] = moments[:, FIRST_NUMBER + place - len(ARRAYS)]
    return column > 0.0 if name in FLAGS else column * s.INNER_STEP_S if name == "time_s" else column


def truths_of(world: s.World, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `info["truth"]` of all worlds, each key with `mask` (num_envs,) as its mask."""
    num_envs = mask.size
    values = np.empty(len(TRUTH_COLUMNS) * num_envs)
    flags = np.empty((len(FLAGS), num_envs), dtype=np.bool_)
    read_truths(world.tiles, values, flags)
    arrays = [values[part.start * num_envs : part.stop * num_envs].reshape(num_envs, -1) for part in _PARTS]
    numbers = values[FIRST_NUMBER * num_envs :].reshape(-1, num_envs)
    numbers[0] *= s.INNER_STEP_S
    truths: dict[str, Any] = {}
    for name, value in zip(NAMES, (*arrays, *numbers, *flags), strict=True):
        truths[name], truths[f"_{name}"] = value, mask
    return truths
