"""The memory layout of the simulation: a table of columns, and the arrays that hold them.

Worlds are stored in tiles of LANES worlds. A tile is one block of memory in which column c of lane i is at
c * LANES + i. A loop over the lanes of a column therefore reads neighbours at distances known at compile time, so that
the compiler can vectorise it. One world is one lane, `World.row`. A kernel is a pure function of these arrays and
allocates nothing. A copy of the arrays is a copy of the worlds. Other modules import this module as `s`:
`row[s.HAND_X]`, `tile[s.HAND_X * LANES + lane]`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Number of worlds in a tile: the number of doubles in the widest vector register (AVX-512).
LANES = 8
# Lanes on which kernels work: all lanes of a tile, or the first one if there is a single world. The length of a tuple
# is part of its type, so the compiler knows the length of a loop over lanes.
ALL_LANES = tuple(range(LANES))
FIRST_LANE = (0,)

CONTROL_STEP_S = 0.02
INNER_STEP_S = 0.005
INNER_STEPS = 4
# Limit to which simulated and sensed joint velocities are clipped; a fast reach stays below 10 rad/s.
FASTEST_RAD_S = 60.0
# Speed below which the hand counts as still.
STILL_SPEED_M_S = 0.05
TRIAL_S = 3.0
TRIAL_STEPS = 150
# The hand at the start of every trial: grasp point, direction, and aperture of the fingers.
START_HAND_M = (0.12, 0.36)
START_AXIS_DEGREES = 105.0
START_APERTURE_M = 0.10
# With a locked wrist the hand points farther to the left; at 0.10 m the right finger would overlap cups on the right.
LOCKED_START_APERTURE_M = 0.06
# Ranges of random cups: distance from the start of the hand and bearing.
CUP_DISTANCE_M = (0.16, 0.24)
CUP_BEARING_DEGREES = (65.0, 125.0)

# Square of the table that pictures show: side and centre.
SHOWN_M = 0.90
SHOWN_CENTRE_M = (0.0, 0.33)

# Effects of an action on the command, and of the command on the joints, see `actuators`.
COMMANDS = ("increment", "absolute")
CONTROLS = ("posture", "torque", "muscle")
POSTURE, TORQUE, MUSCLE = range(3)
MUSCLES = 8

_free = itertools.count()


def _columns(width: int) -> tuple[int, ...]:
    """Return the next `width` columns of the table."""
    return tuple(itertools.islice(_free, width))


# The table of columns: names, width, unit and meaning, in order. `_columns` computes the offsets.

# Present state of body, cup and eye.
ANGLE_1, ANGLE_2, ANGLE_3 = _columns(3)  # rad, of shoulder, elbow and wrist
VELOCITY_1, VELOCITY_2, VELOCITY_3 = _columns(3)  # rad/s
COMMAND_1, COMMAND_2, COMMAND_3 = _columns(3)  # filtered: equilibrium posture, rad, or torque, N m
ACTIVATION_1, ACTIVATION_2, ACTIVATION_3, ACTIVATION_4 = _columns(4)  # of the muscles, 0..1
ACTIVATION_5, ACTIVATION_6, ACTIVATION_7, ACTIVATION_8 = _columns(4)
(APERTURE,) = _columns(1)  # m, distance between the pads of the fingers
CUP_X, CUP_Y, CUP_VELOCITY_X, CUP_VELOCITY_Y = _columns(4)  # m, m/s
TOUCH_LEFT, TOUCH_RIGHT, TOUCH_PALM = _columns(3)  # 0 or 1: left finger, right finger, palm
GRIP_FORCE, GRIP_U, HELD_S = _columns(3)  # N; position of the cup along the hand, m; time held, s
TIPPED, JUMPED, PENETRATION = _columns(3)  # 0 or 1; 0 or 1; overlap of hand and cup, m
HAND_X, HAND_Y, AXIS_X, AXIS_Y = _columns(4)  # grasp point, m; unit vector along the hand
HAND_VELOCITY_X, HAND_VELOCITY_Y, TURNING = _columns(3)  # m/s; rate at which the hand turns, rad/s
# Seen positions at this moment, after the visual map and before any delay.
EYE_HAND_X, EYE_HAND_Y, EYE_VISIBLE, EYE_CUP_X, EYE_CUP_Y = _columns(5)
EYE_AXIS_X, EYE_AXIS_Y, EYE_APERTURE = _columns(3)
(CUP_PRESENT,) = _columns(1)  # 0 or 1
CLOCK, STILL_S = _columns(2)  # inner steps since the trial began; time for which the hand has been still, s
TORQUE_1, TORQUE_2, TORQUE_3 = _columns(3)  # N m, of the actuators
HAND_FORCE_X, HAND_FORCE_Y, CHANNEL_FORCE = _columns(3)  # external force, N; force of the channel's wall, N
TARGET_X, TARGET_Y = _columns(2)  # unit vector from the start to the cup as the trial begins

# Settings of body, cup and senses, constant within a trial.
LENGTH_1, LENGTH_2, WRIST_TO_GRASP = _columns(3)  # m: upper arm, forearm, wrist to grasp point
INERTIA_11, INERTIA_22, INERTIA_33, INERTIA_12, INERTIA_13, INERTIA_23 = _columns(6)  # kg m2, see `dynamics`
(WRIST_FREE,) = _columns(1)  # 0 where the wrist is locked
LOWER_1, LOWER_2, LOWER_3, UPPER_1, UPPER_2, UPPER_3 = _columns(6)  # joint limits, rad
STIFFNESS_11, STIFFNESS_12, STIFFNESS_22, STIFFNESS_33 = _columns(4)  # N m/rad
VISCOSITY_11, VISCOSITY_12, VISCOSITY_22, VISCOSITY_33 = _columns(4)  # N m s/rad
LARGEST_TORQUE_1, LARGEST_TORQUE_2, LARGEST_TORQUE_3, STRENGTH = _columns(4)  # N m; factor on muscle forces
COMMAND_RATE, APERTURE_SPEED, LARGEST_APERTURE = _columns(3)  # share of the gap per half inner step; m/s; m
PALM_OFFSET, TIP_OFFSET, FINGER_RADIUS, PALM_RADIUS, WRIST_OFFSET, HAND_RADIUS = _columns(6)  # m, in the hand's frame
CUP_RADIUS, CUP_MASS, TIP_SPEED = _columns(3)  # m, kg, m/s
FINGER_FRICTION, TABLE_FRICTION, GRIP_STIFFNESS = _columns(3)  # coefficients; N/m
VISION_DELAY, PROPRIOCEPTION_DELAY = _columns(2)  # delays, inner steps
HAND_NOISE_M, CUP_NOISE_M, ANGLE_NOISE, VELOCITY_NOISE, APERTURE_NOISE, TORQUE_NOISE = _columns(6)  # SD
START_X, START_Y = _columns(2)  # m, grasp point
START_ANGLE_1, START_ANGLE_2, START_ANGLE_3 = _columns(3)  # rad
REST_1, REST_2, REST_3, REST_4 = _columns(4)  # command that holds the posture at the start
(KEEP,) = _columns(1)  # from action to command, see `actuators.CommandMap`
OFFSET_1, OFFSET_2, OFFSET_3, OFFSET_4 = _columns(4)
SCALE_1, SCALE_2, SCALE_3, SCALE_4 = _columns(4)

# Perturbations of one trial; onsets in inner steps.
MAP_11, MAP_12, MAP_21, MAP_22, MAP_X, MAP_Y = _columns(6)  # visual map about the start: matrix, shift in m
CUP_SHIFT_X, CUP_SHIFT_Y, MAP_ONSET = _columns(3)  # m
CLAMP_COSINE, CLAMP_SINE, CLAMP_ONSET = _columns(3)  # angle of the ray from the direction of the cup
HIDDEN_FROM, HIDDEN_UNTIL, END_ONLY = _columns(3)  # END_ONLY: 1 shows the hand only at the end of a reach
FIELD_11, FIELD_12, FIELD_21, FIELD_22, FIELD_ONSET = _columns(5)  # N s/m
POSITION_FIELD, POSITION_FIELD_ONSET = _columns(2)  # N/m
FORCE_X, FORCE_Y, FORCE_ONSET = _columns(3)  # N
NUDGE_X, NUDGE_Y, NUDGE_ONSET, NUDGE_UNTIL = _columns(4)  # N
CHANNEL_COSINE, CHANNEL_SINE, CHANNEL_ONSET = _columns(3)  # angle of the line from the direction of the cup
JUMP_X, JUMP_Y, JUMP_ONSET = _columns(3)  # m
REMOVED_ONSET, SLIP_FRICTION, SLIP_ONSET = _columns(3)
(CUP_IS_MARK,) = _columns(1)  # 1 if the cup is only drawn on the table

# Standard normal variates of one control step. Their number is even, because they are drawn in pairs.
NOISE_HAND_X, NOISE_HAND_Y, NOISE_CUP_X, NOISE_CUP_Y = _columns(4)
NOISE_ANGLE_1, NOISE_ANGLE_2, NOISE_ANGLE_3 = _columns(3)
NOISE_VELOCITY_1, NOISE_VELOCITY_2, NOISE_VELOCITY_3 = _columns(3)
NOISE_APERTURE, NOISE_TORQUE_1, NOISE_TORQUE_2, NOISE_TORQUE_3 = _columns(4)

# The command, in [-1, 1], and the key of the trial: 64 bits that seed all its noise, stored as a double.
COMMANDED_1, COMMANDED_2, COMMANDED_3, COMMANDED_4 = _columns(4)
(KEY,) = _columns(1)

# Delayed samples at the senses, without noise, in the order of `World.history`: vision first.
LATE_HAND_X, LATE_HAND_Y, LATE_VISIBLE, LATE_CUP_X, LATE_CUP_Y = _columns(5)
LATE_AXIS_X, LATE_AXIS_Y, LATE_OPENING = _columns(3)
LATE_ANGLE_1, LATE_ANGLE_2, LATE_ANGLE_3 = _columns(3)
LATE_VELOCITY_1, LATE_VELOCITY_2, LATE_VELOCITY_3 = _columns(3)
LATE_APERTURE, LATE_LEFT, LATE_RIGHT, LATE_PALM = _columns(4)

# The task, see `tasks`: potentials, previous command, reward terms, their sum, success, and whether the hand is ready.
PROGRESS_POTENTIAL, GRASP_POTENTIAL = _columns(2)
PREVIOUS_1, PREVIOUS_2, PREVIOUS_3, PREVIOUS_4 = _columns(4)
TERM_PROGRESS, TERM_GRASP, TERM_EFFORT, TERM_TIPPING, TERM_SUCCESS, TERM_STEP = _columns(6)
REWARD, SUCCESS, READY = _columns(3)

# Intermediate values of a step.
GOAL_1, GOAL_2, GOAL_3, GOAL_APERTURE = _columns(4)  # decoded command: posture, rad, or torque, N m; aperture, m
(NOISE_KEY,) = _columns(1)  # key of this control step's noise, stored as KEY
GAIN_1, GAIN_2, GAIN_3 = _columns(3)  # signal-dependent noise: factor on the active torques
EXCITATION_1, EXCITATION_2, EXCITATION_3, EXCITATION_4 = _columns(4)  # 0..1
EXCITATION_5, EXCITATION_6, EXCITATION_7, EXCITATION_8 = _columns(4)
# Filtered command of a joint at the start and in the middle of an inner step; mean activation of a muscle over it.
BEFORE_1, BEFORE_2, BEFORE_3 = _columns(3)
MIDDLE_1, MIDDLE_2, MIDDLE_3 = _columns(3)
MEAN_1, MEAN_2, MEAN_3, MEAN_4 = _columns(4)
MEAN_5, MEAN_6, MEAN_7, MEAN_8 = _columns(4)
STAGE_ANGLE_1, STAGE_ANGLE_2, STAGE_ANGLE_3 = _columns(3)  # state in a Runge-Kutta stage
STAGE_VELOCITY_1, STAGE_VELOCITY_2, STAGE_VELOCITY_3 = _columns(3)
SUM_VELOCITY_1, SUM_VELOCITY_2, SUM_VELOCITY_3 = _columns(3)  # sums over stages; then the mean velocity of the step
SUM_ACCELERATION_1, SUM_ACCELERATION_2, SUM_ACCELERATION_3 = _columns(3)
OUTSIDE_1, OUTSIDE_2, OUTSIDE_3 = _columns(3)  # joint torques of external forces, N m
OVERSHOOT, NEAR = _columns(2)  # rad beyond the joint stops; 1 if hand and cup may touch

(COLUMNS,) = _columns(1)
TILE_SIZE = COLUMNS * LANES

# First columns of the sections of a row.
SETTING = LENGTH_1
PERTURBATION = MAP_11
NOISE = NOISE_HAND_X
LATE = LATE_HAND_X
TASK = PROGRESS_POTENTIAL
SCRATCH = GOAL_1
NOISE_SIZE = COMMANDED_1 - NOISE
SEEN_SIZE = LATE_ANGLE_1 - LATE
HISTORY_SIZE = TASK - LATE
ACTION_SIZE = COMMANDED_4 + 1 - COMMANDED_1

ONSETS = (
    MAP_ONSET, CLAMP_ONSET, HIDDEN_FROM, HIDDEN_UNTIL, FIELD_ONSET, POSITION_FIELD_ONSET, FORCE_ONSET, NUDGE_ONSET,
    NUDGE_UNTIL, CHANNEL_ONSET, JUMP_ONSET, REMOVED_ONSET, SLIP_ONSET,
)  # fmt: skip
FROM_THE_START = -1e9
NEVER = 1e9

# Number of rows of `World.history`, a ring buffer with one row per control step. The longest delay is one inner step
# shorter than the buffer.
HISTORY_ROWS = 32
LONGEST_DELAY_S = (HISTORY_ROWS * INNER_STEPS - 1) * INNER_STEP_S

# Columns of the observation, in order: name, width, unit, low, high, delay.
OBSERVATION = (
    ("seen hand (x right, y forward of the shoulder; 0 when not visible)", 2, "m", -1.5, 1.5, "vision"),
    ("hand visible", 1, "0 or 1", 0.0, 1.0, "vision"),
    ("seen cup (0 when it is gone)", 2, "m", -1.5, 1.5, "vision"),
    ("joint angles", 3, "rad", -np.pi, np.pi, "proprioception"),
    ("joint velocities", 3, "rad/s", -FASTEST_RAD_S, FASTEST_RAD_S, "proprioception"),
    ("aperture", 1, "m", -0.02, 0.13, "proprioception"),
    ("touch: left finger, right finger, palm", 3, "0 or 1", 0.0, 1.0, "proprioception"),
    ("command (efference copy): joints and aperture, -1..1 of the range", 4, "1", -1.0, 1.0, "none"),
)
OBSERVATION_SIZE = sum(row[1] for row in OBSERVATION)


@dataclass
class World:
    """The complete state of a number of worlds; to save it, use `copy.deepcopy`.

    Attributes:
        tiles: (num_tiles, TILE_SIZE), see the table of columns.
        history: (num_tiles, HISTORY_ROWS, HISTORY_SIZE * LANES), ring buffer indexed by `tick`, one row per control
            step.
        streams: (num_tiles, LANES) uint64, seed of each world, which determines the keys of its trials.
        episodes: (num_tiles, LANES) uint64, number of trials begun.
        tick: (1,) int64, number of control steps done.
    """

    tiles: Array
    history: Array
    streams: NDArray[np.uint64]
    episodes: NDArray[np.uint64]
    tick: NDArray[np.int64]

    @classmethod
    def empty(cls, num_envs: int) -> World:
        """Return `num_envs` worlds of zeros; the remaining lanes of the last tile are idle."""
        tiles = -(-num_envs // LANES)
        return cls(
            tiles=np.zeros((tiles, TILE_SIZE)),
            history=np.zeros((tiles, HISTORY_ROWS, HISTORY_SIZE * LANES)),
            streams=np.zeros((tiles, LANES), dtype=np.uint64),
            episodes=np.zeros((tiles, LANES), dtype=np.uint64),
            tick=np.zeros(1, dtype=np.int64),
        )

    def row(self, index: int) -> Array:
        """Return world `index` as a view (COLUMNS,)."""
        return self.tiles[index // LANES, index % LANES :: LANES]
