"""The layout of the simulation's arrays: what each column of a world's state, senses, truth and settings holds.

One world is one row; a batch of worlds is (num_envs, columns), float64, so that a kernel is a pure function over plain
arrays, a copy of the arrays is a copy of the world, and nothing is allocated while it runs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONTROL_STEP_S = 0.02
INNER_STEP_S = 0.005
INNER_STEPS = 4
# The hand counts as still below this speed.
STILL_SPEED_M_S = 0.05
TRIAL_S = 3.0
TRIAL_STEPS = 150
# The hand at the start of every trial: grasp point, m, the direction in which it points, and the fingers' opening, m.
START_HAND_M = (0.12, 0.36)
START_AXIS_DEGREES = 105.0
START_APERTURE_M = 0.10

# Columns of `body`: angles rad, velocities rad/s, positions m, forces N, times s. EYE_* is what the visual map shows
# at this moment, before any delay.
(
    ANGLE_1, ANGLE_2, ANGLE_3,
    VELOCITY_1, VELOCITY_2, VELOCITY_3,
    COMMAND_1, COMMAND_2, COMMAND_3,
    APERTURE,
    CUP_X, CUP_Y, CUP_VELOCITY_X, CUP_VELOCITY_Y,
    TOUCH_LEFT, TOUCH_RIGHT, TOUCH_PALM,
    GRIP_FORCE, GRIP_U, HELD_S, TIPPED, JUMPED, PENETRATION,
    HAND_X, HAND_Y, HAND_VELOCITY_X, HAND_VELOCITY_Y,
    EYE_HAND_X, EYE_HAND_Y, EYE_CUP_X, EYE_CUP_Y, EYE_VISIBLE,
    CLOCK, STILL_S,
    BODY_SIZE,
) = range(35)  # fmt: skip

# Columns of one row of `history`, one row an inner step: what the senses would report without delay and noise.
(
    SEEN_HAND_X, SEEN_HAND_Y, SEEN_VISIBLE, SEEN_CUP_X, SEEN_CUP_Y,
    FELT_ANGLE_1, FELT_ANGLE_2, FELT_ANGLE_3,
    FELT_VELOCITY_1, FELT_VELOCITY_2, FELT_VELOCITY_3,
    FELT_APERTURE, FELT_LEFT, FELT_RIGHT, FELT_PALM,
    HISTORY_SIZE,
) = range(16)  # fmt: skip
# Rows of the ring; a delay is at most one row less: 127 x 5 ms.
HISTORY_ROWS = 128
LONGEST_DELAY_S = (HISTORY_ROWS - 1) * INNER_STEP_S

# Columns of `noise`, the standard normal draws of one control step. An even number: they are drawn in pairs.
(
    NOISE_HAND_X, NOISE_HAND_Y, NOISE_CUP_X, NOISE_CUP_Y,
    NOISE_ANGLE_1, NOISE_ANGLE_2, NOISE_ANGLE_3,
    NOISE_VELOCITY_1, NOISE_VELOCITY_2, NOISE_VELOCITY_3,
    NOISE_APERTURE, NOISE_TORQUE_1, NOISE_TORQUE_2, NOISE_TORQUE_3,
    NOISE_SIZE,
) = range(15)  # fmt: skip

# Columns of `setting`: body, cup and senses, constant within a trial.
(
    LENGTH_1, LENGTH_2, GRASP, HAND_LENGTH,
    INERTIA_11, INERTIA_22, INERTIA_33, INERTIA_12, INERTIA_13, INERTIA_23,
    LOWER_1, LOWER_2, LOWER_3, UPPER_1, UPPER_2, UPPER_3,
    STIFFNESS_11, STIFFNESS_12, STIFFNESS_22, STIFFNESS_33,
    VISCOSITY_11, VISCOSITY_12, VISCOSITY_22, VISCOSITY_33,
    COMMAND_RATE, APERTURE_SPEED, LARGEST_APERTURE,
    PALM_OFFSET, TIP_OFFSET, FINGER_RADIUS, PALM_RADIUS, WRIST_OFFSET, HAND_RADIUS,
    CUP_RADIUS, CUP_MASS, TIP_SPEED, FINGER_FRICTION, TABLE_FRICTION, GRIP_STIFFNESS,
    VISION_ROWS, TOUCH_ROWS,
    HAND_NOISE_M, CUP_NOISE_M, ANGLE_NOISE, VELOCITY_NOISE, APERTURE_NOISE, TORQUE_NOISE,
    SETTING_SIZE,
) = range(48)  # fmt: skip

# Columns of `disturbance`: the perturbation of one trial, times in inner steps.
(
    MAP_11, MAP_12, MAP_21, MAP_22, MAP_X, MAP_Y, CUP_SHIFT_X, CUP_SHIFT_Y, ORIGIN_X, ORIGIN_Y, MAP_ONSET,
    HIDDEN_FROM, HIDDEN_UNTIL,
    FIELD_11, FIELD_12, FIELD_21, FIELD_22, FIELD_ONSET,
    JUMP_X, JUMP_Y, JUMP_ONSET,
    DISTURBANCE_SIZE,
) = range(22)  # fmt: skip

# Columns of the observation: (name, width, unit, low, high), in order.
OBSERVATION = (
    ("seen hand", 2, "m", -1.5, 1.5),
    ("hand visible", 1, "0 or 1", 0.0, 1.0),
    ("seen cup", 2, "m", -1.5, 1.5),
    ("joint angles", 3, "rad", -np.pi, np.pi),
    ("joint velocities", 3, "rad/s", -60.0, 60.0),
    ("aperture", 1, "m", -0.02, 0.13),
    ("touch: left finger, right finger, palm", 3, "0 or 1", 0.0, 1.0),
    ("last command", 4, "1", -1.0, 1.0),
)
OBSERVATION_SIZE = sum(row[1] for row in OBSERVATION)


@dataclass
class World:
    """Everything that changes while trials run, for `num_envs` worlds; saving it is copying it.

    Attributes:
        body: (num_envs, BODY_SIZE), see the columns above.
        history: (num_envs, HISTORY_ROWS, HISTORY_SIZE), a ring indexed by the clock in inner steps.
        key: (num_envs,) uint64, from which all noise of the trial follows.
        noise: (num_envs, NOISE_SIZE), the draws of the present control step.
        setting: (num_envs, SETTING_SIZE).
        disturbance: (num_envs, DISTURBANCE_SIZE).
        action: (num_envs, 4), the last command.
    """

    body: Array
    history: Array
    key: NDArray[np.uint64]
    noise: Array
    setting: Array
    disturbance: Array
    action: Array

    @classmethod
    def empty(cls, num_envs: int) -> World:
        """A world of zeros for `num_envs` trials."""
        return cls(
            body=np.zeros((num_envs, BODY_SIZE)),
            history=np.zeros((num_envs, HISTORY_ROWS, HISTORY_SIZE)),
            key=np.zeros(num_envs, dtype=np.uint64),
            noise=np.zeros((num_envs, NOISE_SIZE)),
            setting=np.zeros((num_envs, SETTING_SIZE)),
            disturbance=np.zeros((num_envs, DISTURBANCE_SIZE)),
            action=np.zeros((num_envs, 4)),
        )

    def copy(self) -> World:
        """A copy that shares nothing with this world."""
        return World(**{f.name: copy.copy(getattr(self, f.name)) for f in fields(self)})
