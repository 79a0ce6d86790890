"""From a body, a cup and senses, as a user gives them, to the settings row and the starting state that kernels read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reach.sim import state as s
from reach.sim.actuators import COMMAND_TIME_CONSTANT_S
from reach.sim.arm import PALM_PER_HAND, Arm, Array
from reach.sim.dynamics import inertia_constants
from reach.sim.grasp import smallest_clearance
from reach.sim.step import place_hand


@dataclass(frozen=True)
class Cup:
    """The cup, the table under it and the fingers' hold on it.

    Attributes:
        radius_m: 0.015..0.05 m.
        mass_kg: above 0.
        tip_speed_m_s: normal contact speed above which it tips over. The default is that of a cup 0.10 m high struck
            at its middle: the impulse turns it about the far edge of its foot, and it falls when the energy of that
            turn lifts the centre over the edge (Housner 1963, the inverted-pendulum block).
        finger_friction, table_friction: Coulomb coefficients, 0..2.
        grip_n_per_m: force of the fingers for each metre that the commanded aperture is narrower than the cup.
    """

    radius_m: float = 0.035
    mass_kg: float = 0.25
    tip_speed_m_s: float = 0.65
    finger_friction: float = 0.6
    table_friction: float = 0.3
    grip_n_per_m: float = 100.0

    def __post_init__(self) -> None:
        allowed = {
            "radius_m": (0.015, 0.05),
            "mass_kg": (0.01, 5.0),
            "tip_speed_m_s": (0.01, 100.0),
            "finger_friction": (0.0, 2.0),
            "table_friction": (0.0, 2.0),
            "grip_n_per_m": (1.0, 10_000.0),
        }
        for name, (low, high) in allowed.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"Cup {name} is {value}; {low} to {high} is allowed")


@dataclass(frozen=True)
class Senses:
    """Delays and noise of what is sensed, and of the torque.

    Attributes:
        vision_delay_s: 0..0.63 s in steps of 5 ms (people: 0.09-0.12 s; Cross et al. 2019).
        proprioception_delay_s: the same for joints, aperture and touch (people: 0.02-0.06 s).
        hand_noise_m, cup_noise_m: SD of each seen coordinate in each control step, m.
        angle_noise_rad, velocity_noise_rad_s, aperture_noise_m: SD of what is felt.
        torque_noise: SD of the active torque as a share of it (signal-dependent; Harris and Wolpert 1998).
    """

    vision_delay_s: float = 0.10
    proprioception_delay_s: float = 0.05
    hand_noise_m: float = 0.003
    cup_noise_m: float = 0.003
    angle_noise_rad: float = 0.01
    velocity_noise_rad_s: float = 0.05
    aperture_noise_m: float = 0.001
    torque_noise: float = 0.10

    def __post_init__(self) -> None:
        for name in ("vision_delay_s", "proprioception_delay_s"):
            value = getattr(self, name)
            rows = value / s.INNER_STEP_S if math.isfinite(value) else math.nan
            if not (0.0 <= value <= s.LONGEST_DELAY_S) or abs(rows - round(rows)) > 1e-6:
                raise ValueError(
                    f"{name} is {value}; 0 to {s.LONGEST_DELAY_S} s in steps of {s.INNER_STEP_S} s is allowed"
                )
        for name in (
            "hand_noise_m",
            "cup_noise_m",
            "angle_noise_rad",
            "velocity_noise_rad_s",
            "aperture_noise_m",
        ):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 to 1 is allowed")
        if not 0.0 <= self.torque_noise <= 0.25:
            raise ValueError(f"torque_noise is {self.torque_noise}; 0 to 0.25 is allowed")

    @classmethod
    def noiseless(cls) -> Senses:
        """The default delays without any noise."""
        return cls(
            hand_noise_m=0.0,
            cup_noise_m=0.0,
            angle_noise_rad=0.0,
            velocity_noise_rad_s=0.0,
            aperture_noise_m=0.0,
            torque_noise=0.0,
        )


# The fingers: width of one, how fast and how far they open (Paulignan et al. 1991: 0.3-0.5 m/s in grasping).
LARGEST_APERTURE_M = 0.11
APERTURE_SPEED_M_S = 0.40
FINGER_RADIUS_M = 0.008
PALM_RADIUS_M = 0.010
HAND_RADIUS_M = 0.025


def settings_row(arm: Arm, cup: Cup, senses: Senses) -> Array:
    """The (SETTING_SIZE,) row that kernels read."""
    p = np.zeros(s.SETTING_SIZE)
    p[s.LENGTH_1], p[s.LENGTH_2], p[s.HAND_LENGTH] = arm.length
    p[s.GRASP] = arm.grasp_m
    p[s.INERTIA_11 : s.INERTIA_23 + 1] = inertia_constants(arm)
    p[s.LOWER_1 : s.LOWER_3 + 1] = arm.lower
    p[s.UPPER_1 : s.UPPER_3 + 1] = arm.upper
    for first, matrix in ((s.STIFFNESS_11, arm.stiffness), (s.VISCOSITY_11, arm.viscosity)):
        p[first : first + 4] = matrix[0][0], matrix[0][1], matrix[1][1], matrix[2][2]
    p[s.COMMAND_RATE] = 1.0 - math.exp(-s.INNER_STEP_S / COMMAND_TIME_CONSTANT_S)
    p[s.APERTURE_SPEED] = APERTURE_SPEED_M_S
    p[s.LARGEST_APERTURE] = LARGEST_APERTURE_M
    p[s.PALM_OFFSET] = PALM_PER_HAND * arm.length[2] - arm.grasp_m
    p[s.TIP_OFFSET] = arm.length[2] - arm.grasp_m
    p[s.WRIST_OFFSET] = -arm.grasp_m
    p[s.FINGER_RADIUS] = FINGER_RADIUS_M
    p[s.PALM_RADIUS] = PALM_RADIUS_M
    p[s.HAND_RADIUS] = HAND_RADIUS_M
    p[s.CUP_RADIUS] = cup.radius_m
    p[s.CUP_MASS] = cup.mass_kg
    p[s.TIP_SPEED] = cup.tip_speed_m_s
    p[s.FINGER_FRICTION] = cup.finger_friction
    p[s.TABLE_FRICTION] = cup.table_friction
    p[s.GRIP_STIFFNESS] = cup.grip_n_per_m
    p[s.VISION_ROWS] = round(senses.vision_delay_s / s.INNER_STEP_S)
    p[s.TOUCH_ROWS] = round(senses.proprioception_delay_s / s.INNER_STEP_S)
    p[s.HAND_NOISE_M] = senses.hand_noise_m
    p[s.CUP_NOISE_M] = senses.cup_noise_m
    p[s.ANGLE_NOISE] = senses.angle_noise_rad
    p[s.VELOCITY_NOISE] = senses.velocity_noise_rad_s
    p[s.APERTURE_NOISE] = senses.aperture_noise_m
    p[s.TORQUE_NOISE] = senses.torque_noise
    return p


def start_posture(arm: Arm) -> Array:
    """Joint angles (3,) rad at the start of a trial.

    Raises:
        ValueError: the arm cannot hold its hand at the start.
    """
    posture = arm.posture_for(s.START_HAND_M, math.radians(s.START_AXIS_DEGREES))
    if posture is None:
        raise ValueError(f"arm of lengths {arm.length} m cannot hold the hand at the start, {s.START_HAND_M} m")
    return posture


def command_for(arm: Arm, posture: Array, aperture_m: float) -> Array:
    """The action (4,) in [-1, 1] that commands `posture` (3,) rad and `aperture_m`."""
    lower, upper = np.asarray(arm.lower), np.asarray(arm.upper)
    joints = 2.0 * (posture - lower) / (upper - lower) - 1.0
    command: Array = np.clip(np.append(joints, 2.0 * aperture_m / LARGEST_APERTURE_M - 1.0), -1.0, 1.0)
    return command


def place(body: Array, setting: Array, posture: Array, cup: Array) -> None:
    """Set one row of `body` to the start of a trial: the arm at rest in `posture`, the cup at `cup` (2,) m.

    Raises:
        ValueError: the cup stands on the hand.
    """
    body[:] = 0.0
    body[s.ANGLE_1 : s.ANGLE_3 + 1] = posture
    body[s.COMMAND_1 : s.COMMAND_3 + 1] = posture
    body[s.APERTURE] = s.START_APERTURE_M
    body[s.CUP_X : s.CUP_Y + 1] = cup
    place_hand(body, setting)
    if smallest_clearance(body, setting, cup[0], cup[1]) < 0.0:
        raise ValueError(f"cup is at {cup.tolist()} m, on the hand; a free place on the table is allowed")
