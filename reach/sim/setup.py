"""Arguments of the world (person, cup, senses), and the settings columns that are computed from them.

A physical argument is a number, a range (low, high) that is sampled for each trial, or an array with one value for each
environment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from reach.arguments import is_number, numbers_in, ranged, ranged_fields, require_fields
from reach.sim import layout as s
from reach.sim.actuators import COMMAND_TIME_CONSTANT_S, LARGEST_TORQUE_N_M, CommandMap, command_for
from reach.sim.arm import ARMS, DEFAULT_HEIGHT_M, DEFAULT_MASS_KG, HEIGHT_RANGE_M, MASS_RANGE_KG, PALM_PER_HAND, Arm
from reach.sim.layout import Array

T = TypeVar("T")
Physical = float | tuple[float, float] | np.ndarray[Any, Any]


def require_physical_fields(owner: Any) -> None:
    """Validate the physical arguments of a dataclass, that is, its fields made by `ranged`.

    Raises:
        ValueError: a value is invalid; the message names owner, field, value and range.
    """
    for name, value, low, high, _ in ranged_fields(owner):
        if isinstance(value, np.ndarray):
            is_allowed = value.ndim == 1 and value.size > 0 and value.dtype.kind in "fiu"
            is_allowed = is_allowed and bool(np.all((value >= low) & (value <= high)))
        else:  # not as an array: an integer may be too large for a float
            ends = value if is_range(value) else (value, value)
            is_allowed = len(ends) == 2 and all(map(is_number, ends)) and low <= ends[0] <= ends[1] <= high
        if not is_allowed:
            raise ValueError(
                f"{name}: expected {low:g} to {high:g}, as a number, a (low, high) range or an array with a value "
                f"for each environment, got {value!r}"
            )


def is_range(value: Any) -> bool:
    """Return whether a physical argument is a range, sampled for each trial."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def number_of(value: Any, index: int, uniform: float) -> float:
    """Return the value of a physical argument in environment `index`, for one trial.

    Args:
        value: the argument.
        index: index of the environment.
        uniform: variate in (0, 1) that selects the value in a range.
    """
    if isinstance(value, np.ndarray):
        return float(value[index])
    if is_range(value):
        return float(value[0] + uniform * (value[1] - value[0]))
    return float(value)


def numbers_of(owner: Any, index: int, uniform: Callable[[], float]) -> dict[str, float]:
    """Return the physical arguments of `owner` as numbers, in environment `index` for one trial.

    Args:
        owner: a dataclass of physical arguments.
        index: index of the environment.
        uniform: function that returns the next variate. It is called once for every physical argument, range or not, so
            that a range does not change the variates of other fields.
    """
    names = [f.name for f in fields(owner) if "range" in f.metadata]
    return {name: number_of(getattr(owner, name), index, uniform()) for name in names}


@dataclass(frozen=True)
class Cup:
    """The cup, the table under it and the grip of the fingers. Each field is a number, a range or an array.

    Attributes:
        radius_m: radius, 0.015..0.05 m.
        mass_kg: mass, above 0 kg.
        tip_speed_m_s: normal contact speed above which the cup tips over, m/s. The default is that of a cup of 0.10 m
            height that is struck at its middle: the impulse rotates the cup about the far edge of its base, and the cup
            falls if this energy lifts its centre over the edge (Housner 1963, the inverted-pendulum block).
        finger_friction, table_friction: Coulomb friction coefficients, 0..2.
        grip_n_per_m: grip force per metre by which the commanded aperture is narrower than the cup, N/m.
    """

    radius_m: Physical = ranged(0.035, 0.015, 0.05)
    mass_kg: Physical = ranged(0.25, 0.01, 5.0)
    tip_speed_m_s: Physical = ranged(0.65, 0.01, 100.0)
    finger_friction: Physical = ranged(0.6, 0.0, 2.0)
    table_friction: Physical = ranged(0.3, 0.0, 2.0)
    grip_n_per_m: Physical = ranged(100.0, 1.0, 10_000.0)

    def __post_init__(self) -> None:
        require_physical_fields(self)


@dataclass(frozen=True)
class Senses:
    """Delays and noise of the senses, and noise of the torque. Each field is a number, a range or an array.

    Attributes:
        vision_delay_s: delay of vision, 0..0.63 s in steps of 5 ms (people: 0.09-0.12 s; Cross et al. 2019).
        proprioception_delay_s: delay of joints, aperture and touch, in the same range (people: 0.02-0.06 s).
        hand_noise_m, cup_noise_m: SD of each seen coordinate in each control step, m.
        angle_noise_rad, velocity_noise_rad_s, aperture_noise_m: SD of proprioception.
        torque_noise: SD of the active torque as a share of this torque (signal-dependent; Harris and Wolpert 1998).
    """

    vision_delay_s: Physical = ranged(0.10, 0.0, s.LONGEST_DELAY_S)
    proprioception_delay_s: Physical = ranged(0.05, 0.0, s.LONGEST_DELAY_S)
    hand_noise_m: Physical = ranged(0.003, 0.0, 1.0)
    cup_noise_m: Physical = ranged(0.003, 0.0, 1.0)
    angle_noise_rad: Physical = ranged(0.01, 0.0, 1.0)
    velocity_noise_rad_s: Physical = ranged(0.05, 0.0, 1.0)
    aperture_noise_m: Physical = ranged(0.001, 0.0, 1.0)
    torque_noise: Physical = ranged(0.10, 0.0, 0.25)

    def __post_init__(self) -> None:
        require_physical_fields(self)
        for name in ("vision_delay_s", "proprioception_delay_s"):
            value = getattr(self, name)
            rows = np.asarray(value) / s.INNER_STEP_S
            if np.any(np.abs(rows - np.round(rows)) > 1e-6):
                raise ValueError(f"Senses {name}: expected multiples of {s.INNER_STEP_S} s, got {value!r}")

    @classmethod
    def noiseless(cls) -> Senses:
        """Return the default delays without noise."""
        return cls(**{f.name: 0.0 for f in fields(cls) if "noise" in f.name})


# Smallest and largest distance from the shoulder at which a user may place a cup.
NEAREST_CUP_M, TABLE_REACH_M = 0.10, 0.70

# Largest aperture of the fingers, its speed (Paulignan et al. 1991: 0.3-0.5 m/s in grasping), and radii of the hand.
LARGEST_APERTURE_M = 0.11
APERTURE_SPEED_M_S = 0.40
FINGER_RADIUS_M = 0.008
PALM_RADIUS_M = 0.010
HAND_RADIUS_M = 0.025


@dataclass(frozen=True)
class Person:
    """The person with the arm. Each field except the arm is a number, a range or an array.

    Attributes:
        arm: a name in `sim.arm.ARMS`, an `Arm`, or a mapping of its fields (as read from JSON).
        height_m, mass_kg: body height and mass, for the arm "winter" only: 0.94..2.41 m, 5..300 kg.
        strength: factor on the largest torques and muscle forces, 0.2..5.
    """

    arm: str | Arm | Mapping[str, Any] = "winter"
    height_m: Physical = ranged(DEFAULT_HEIGHT_M, *HEIGHT_RANGE_M)
    mass_kg: Physical = ranged(DEFAULT_MASS_KG, *MASS_RANGE_KG)
    strength: Physical = ranged(1.0, 0.2, 5.0)

    def __post_init__(self) -> None:
        if isinstance(self.arm, Mapping):
            require_fields("arm", Arm, self.arm)
            object.__setattr__(self, "arm", Arm(**self.arm))
        if not isinstance(self.arm, Arm) and not (isinstance(self.arm, str) and self.arm in ARMS):
            raise ValueError(
                f"arm: expected one of {sorted(ARMS)}, an Arm or a mapping of its fields, got {self.arm!r}"
            )
        require_physical_fields(self)
        defaults = ((self.height_m, DEFAULT_HEIGHT_M), (self.mass_kg, DEFAULT_MASS_KG))
        if self.arm != "winter" and not all(is_number(value) and value == default for value, default in defaults):
            raise ValueError(
                f"height_m and mass_kg: expected the defaults with the arm {self.arm!r}, whose lengths and masses are "
                f"fixed, got {self.height_m!r} and {self.mass_kg!r}"
            )


@lru_cache(maxsize=64)
def arm_of(arm: str | Arm, height_m: float, mass_kg: float) -> Arm:
    """Return an arm or the arm with a name in `ARMS`; cached, because every trial with a sampled value calls this."""
    if isinstance(arm, Arm):
        return arm
    return Arm.winter(height_m, mass_kg) if arm == "winter" else ARMS[arm]()


def write_settings(
    row: Array, arm: Arm, strength: float, cup: Mapping[str, float], senses: Mapping[str, float], control: int,
    command: str = "increment",
) -> None:  # fmt: skip
    """Write the settings columns of a world's row.

    Args:
        row: (COLUMNS,) row of the world.
        arm, strength: arm and its strength.
        cup, senses: the fields of `Cup` and `Senses`, as numbers.
        control: POSTURE, TORQUE or MUSCLE.
        command: "increment" or "absolute".

    Raises:
        ValueError: the arm cannot reach the start of the hand.
    """
    row[s.SETTING : s.PERTURBATION] = 0.0
    row[s.LENGTH_1], row[s.LENGTH_2] = arm.length[:2]
    row[s.WRIST_TO_GRASP] = arm.grasp_m
    row[s.INERTIA_11 : s.INERTIA_23 + 1] = arm.inertia_constants
    row[s.WRIST_FREE] = 0.0 if arm.wrist_locked else 1.0
    row[s.LOWER_1 : s.LOWER_3 + 1] = arm.lower
    row[s.UPPER_1 : s.UPPER_3 + 1] = arm.upper
    # The viscosity of the posture springs includes that of the joints.
    viscosity = arm.viscosity if control == s.POSTURE else arm.joint_viscosity
    for first, matrix in ((s.STIFFNESS_11, arm.stiffness), (s.VISCOSITY_11, viscosity)):
        row[first : first + 4] = matrix[0][0], matrix[0][1], matrix[1][1], matrix[2][2]
    row[s.LARGEST_TORQUE_1 : s.LARGEST_TORQUE_3 + 1] = strength * np.array(LARGEST_TORQUE_N_M)
    row[s.STRENGTH] = strength
    row[s.COMMAND_RATE] = 1.0 - math.exp(-0.5 * s.INNER_STEP_S / COMMAND_TIME_CONSTANT_S)
    row[s.APERTURE_SPEED] = APERTURE_SPEED_M_S
    row[s.LARGEST_APERTURE] = LARGEST_APERTURE_M
    place_hand_shape(row, arm)
    # The columns are in the order of the fields of `Cup` and `Senses`.
    row[s.CUP_RADIUS : s.GRIP_STIFFNESS + 1] = list(cup.values())
    row[s.VISION_DELAY : s.TORQUE_NOISE + 1] = list(senses.values())
    delays = slice(s.VISION_DELAY, s.PROPRIOCEPTION_DELAY + 1)
    row[delays] = np.round(row[delays] / s.INNER_STEP_S)
    posture = start_posture(arm)
    row[s.START_X : s.START_Y + 1] = arm.hand(posture)
    row[s.START_ANGLE_1 : s.START_ANGLE_3 + 1] = posture
    rest = rest_command(arm, posture, strength, control)
    actions = CommandMap.of(command, s.CONTROLS[control], arm, rest)
    row[s.REST_1 : s.REST_4 + 1] = rest
    row[s.KEEP] = actions.keep
    row[s.OFFSET_1 : s.OFFSET_4 + 1] = actions.offset
    row[s.SCALE_1 : s.SCALE_4 + 1] = actions.scale


def start_posture(arm: Arm) -> Array:
    """Return the joint angles (3,) rad at the start of a trial.

    Raises:
        ValueError: the arm cannot reach the start of the hand.
    """
    posture = arm.posture_for(s.START_HAND_M, math.radians(s.START_AXIS_DEGREES))
    if posture is None:
        raise ValueError(f"arm: expected lengths with which the hand reaches {s.START_HAND_M} m, got {arm.length}")
    return posture


def rest_command(arm: Arm, posture: Array, strength: float, control: int) -> Array:
    """Return the command (4,) in [-1, 1] that holds `posture` (3,) rad and the aperture at the start of a trial."""
    joints = command_for(arm, control, np.zeros(3), posture, np.zeros(3), strength)
    aperture = s.LOCKED_START_APERTURE_M if arm.wrist_locked else s.START_APERTURE_M
    return np.append(joints, 2.0 * aperture / LARGEST_APERTURE_M - 1.0)


def place_hand_shape(row: Array, arm: Arm) -> None:
    """Write the shape of the hand, in its own frame, to a row (COLUMNS,)."""
    row[s.PALM_OFFSET] = PALM_PER_HAND * arm.length[2] - arm.grasp_m
    row[s.TIP_OFFSET] = arm.length[2] - arm.grasp_m
    row[s.WRIST_OFFSET] = -arm.grasp_m
    row[s.FINGER_RADIUS] = FINGER_RADIUS_M
    row[s.PALM_RADIUS] = PALM_RADIUS_M
    row[s.HAND_RADIUS] = HAND_RADIUS_M


def cup_place(value: Any, name: str = "option cup") -> Array:
    """Return the position (2,) m of a cup from a user's value; `name` is for the message.

    Raises:
        ValueError: the value is not a position on the table in front of the body.
    """
    place = numbers_in(value)
    if (
        place is None
        or place.shape != (2,)
        or not NEAREST_CUP_M <= np.hypot(*place) <= TABLE_REACH_M
        or not place[1] >= 0.0
    ):
        raise ValueError(
            f"{name}: expected a place (x, y) on the table, {NEAREST_CUP_M} to {TABLE_REACH_M} m from the shoulder and "
            f"not behind it (y of 0 or more), got {value!r}"
        )
    return place


def made_of(kind: type[T], value: T | Mapping[str, Any] | None) -> T:
    """Return a dataclass from an instance, a mapping of its fields, or None for the defaults.

    Raises:
        ValueError: the value is something else, or a field is unknown.
    """
    if isinstance(value, kind):
        return value
    if value is None or isinstance(value, Mapping):
        given = dict(value or {})
        require_fields(kind.__name__, kind, given)
        return kind(**given)
    raise ValueError(f"{kind.__name__}: expected a {kind.__name__} or a mapping of its fields, got {value!r}")
