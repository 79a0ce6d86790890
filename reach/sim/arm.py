"""The arm: three segments in a horizontal plane, with inertias, joint limits, posture springs and kinematics.

The shoulder is the origin, x points right, y away from the body. Angles are counter-clockwise; joint angles are
relative (elbow to upper arm, wrist to forearm), so flexion is positive. `ARMS` contains an arm with a free wrist after
Winter's tables, and the two-link arms of two papers, whose wrist is locked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reach.arguments import require_bool, require_number, require_numbers
from reach.sim import layout as s
from reach.sim.layout import Array

# Winter 2009, Biomechanics and Motor Control of Human Movement, 4th ed., table 4.1: upper arm, forearm, hand; lengths
# as fractions of body height, masses of body mass.
WINTER_LENGTH_PER_HEIGHT = (0.186, 0.146, 0.108)
WINTER_MASS_PER_BODY_MASS = (0.028, 0.016, 0.006)
WINTER_CENTRE_PER_LENGTH = (0.436, 0.430, 0.506)
WINTER_GYRATION_PER_LENGTH = (0.322, 0.303, 0.297)

# Shadmehr and Mussa-Ivaldi 1994, J Neurosci 14:3208: upper arm, and forearm with hand; m, kg, m, kg m2 about the
# centres of mass; stiffness N m/rad and viscosity N m s/rad of shoulder and elbow.
SHADMEHR_LENGTH = (0.33, 0.34)
SHADMEHR_MASS = (1.93, 1.52)
SHADMEHR_CENTRE = (0.165, 0.19)
SHADMEHR_INERTIA = (0.0141, 0.0188)
SHADMEHR_STIFFNESS = ((15.0, 6.0), (6.0, 16.0))
SHADMEHR_VISCOSITY = ((2.3, 0.9), (0.9, 2.4))
# The wrist, by scaling: stiff enough to move a hand of 0.005 kg m2 with a natural frequency of 20 rad/s. The ratio of
# viscosity to stiffness is that of shoulder and elbow (0.15 s), so that the three joints follow a command together.
WRIST_STIFFNESS = 2.0
WRIST_VISCOSITY = 0.30

# Li and Todorov 2004, Proc ICINCO 1:222: upper arm, and forearm with hand. The diagonal of their inertia matrix is
# I1 + I2 + m2 l1^2 and I2, without terms m s^2, so their moments of inertia are about the proximal joints.
LI_TODOROV_LENGTH = (0.30, 0.33)
LI_TODOROV_MASS = (1.4, 1.0)
LI_TODOROV_CENTRE = (0.11, 0.16)
LI_TODOROV_INERTIA_ABOUT_JOINT = (0.025, 0.045)
# Viscosity of their shoulder and elbow without muscles, N m s/rad. It is used for every arm, because the other sources
# give no value. The ratio of wrist to elbow is that of the posture springs.
LI_TODOROV_JOINT_VISCOSITY = ((0.05, 0.025), (0.025, 0.05))
WRIST_JOINT_VISCOSITY = LI_TODOROV_JOINT_VISCOSITY[1][1] * WRIST_VISCOSITY / SHADMEHR_VISCOSITY[1][1]

JOINT_LIMITS_DEGREES = {"shoulder": (-30.0, 140.0), "elbow": (0.0, 150.0), "wrist": (-60.0, 60.0)}
# Shoulder and elbow of the arm of Li and Todorov, as in MotorNet (Codol et al. 2024, eLife 12:RP88591).
LI_TODOROV_LIMITS_DEGREES = JOINT_LIMITS_DEGREES | {"shoulder": (0.0, 135.0), "elbow": (0.0, 155.0)}

# Distances of the grasp point, which lies between the fingers, and of the end of the palm from the wrist, as fractions
# of the length from wrist to fingertips.
GRASP_POINT_PER_HAND = 0.87
PALM_PER_HAND = 0.60

DEFAULT_HEIGHT_M = 1.75
DEFAULT_MASS_KG = 70.0
# Body height and mass of a person. Outside this range of heights the arm cannot reach the start of a trial.
HEIGHT_RANGE_M = (0.94, 2.41)
MASS_RANGE_KG = (5.0, 300.0)

# Smallest value, largest value and unit of the fields of an `Arm`, wide enough for any person.
RANGES = {
    "length": (0.02, 1.0, "m"),
    "mass": (0.01, 20.0, "kg"),
    "centre": (0.001, 1.0, "m"),
    "inertia": (1e-5, 2.0, "kg m2"),
    "lower": (-math.pi, math.pi, "rad"),
    "upper": (-math.pi, math.pi, "rad"),
}
LARGEST_OF_MATRICES = {
    "stiffness": (1000.0, "N m/rad"),
    "viscosity": (100.0, "N m s/rad"),
    "joint_viscosity": (100.0, "N m s/rad"),
}

Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]
Pair = tuple[float, float]


def _triple(values: Any) -> Triple:
    first, second, third = (float(v) for v in values)
    return first, second, third


def _matrix(pair: tuple[Pair, Pair], wrist: float) -> Matrix:
    """Return the matrix of three joints from that of shoulder and elbow and the value of the wrist."""
    (a, b), (_, c) = pair
    return (a, b, 0.0), (b, c, 0.0), (0.0, 0.0, wrist)


JOINT_VISCOSITY = _matrix(LI_TODOROV_JOINT_VISCOSITY, WRIST_JOINT_VISCOSITY)


@dataclass(frozen=True)
class Arm:
    """A planar arm of upper arm, forearm and hand.

    A locked wrist stays at angle 0: hand and forearm are one rigid link, and the wrist's limits, stiffness and
    viscosity have no effect. The hand's mass may then be 0, if it is included in the forearm's.

    Attributes:
        length: segment lengths, 0.02..1 m.
        mass: segment masses, 0.01..20 kg.
        centre: distance of each centre of mass from the segment's proximal joint, 0.001..1 m.
        inertia: moment of inertia of each segment about its centre of mass, 1e-5..2 kg m2.
        lower, upper: joint limits of shoulder, elbow and wrist, -pi..pi rad.
        stiffness: (3, 3) posture stiffness, up to 1000 N m/rad.
        viscosity: (3, 3) total viscosity of posture springs and joints, up to 100 N m s/rad, for posture control.
        joint_viscosity: (3, 3) viscosity of the joints only, up to 100 N m s/rad, for torque and muscle control.
        wrist_locked: whether hand and forearm are one rigid link.
    """

    length: Triple
    mass: Triple
    centre: Triple
    inertia: Triple
    lower: Triple
    upper: Triple
    stiffness: Matrix
    viscosity: Matrix
    joint_viscosity: Matrix = JOINT_VISCOSITY
    wrist_locked: bool = False

    def __post_init__(self) -> None:
        """Validate the fields and convert them to Python floats, so that equal arms hash and compile identically.

        Raises:
            ValueError: a value is out of range; the message names it.
        """
        object.__setattr__(self, "wrist_locked", require_bool("Arm wrist_locked", self.wrist_locked))
        for name, (low, high, unit) in RANGES.items():
            values = require_numbers(f"Arm {name}", getattr(self, name), (3,))
            light = self.wrist_locked and name in ("mass", "centre", "inertia")
            fits = (low <= values) & (values <= high)
            if light and values[2] == 0.0:
                fits[2] = True
            if not fits.all():
                hand = " (or 0 for the hand)" if light else ""
                raise ValueError(f"Arm {name}: expected {low:g} to {high:g} {unit}{hand}, got {_triple(values)}")
            object.__setattr__(self, name, _triple(values))
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"Arm lower: expected limits below the upper ones {self.upper}, got {self.lower}")
        for name, (largest, unit) in LARGEST_OF_MATRICES.items():
            matrix = require_numbers(f"Arm {name}", getattr(self, name), (3, 3))
            if np.abs(matrix).max() > largest:
                raise ValueError(f"Arm {name}: expected entries of up to {largest:g} {unit}, got {matrix.tolist()}")
            if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] < 0:
                raise ValueError(
                    f"Arm {name}: expected a symmetric positive semi-definite matrix, got {matrix.tolist()}"
                )
            object.__setattr__(self, name, tuple(map(_triple, matrix)))

    @classmethod
    def winter(cls, height_m: float = DEFAULT_HEIGHT_M, mass_kg: float = DEFAULT_MASS_KG) -> Arm:
        """Return the arm of a person with a given height, m, and mass, kg, after Winter 2009, table 4.1.

        Raises:
            ValueError: the height is outside 0.94..2.41 m or the mass outside 5..300 kg.
        """
        height_m = require_number("height_m", height_m, *HEIGHT_RANGE_M, "m")
        mass_kg = require_number("mass_kg", mass_kg, *MASS_RANGE_KG, "kg")
        length = _triple(height_m * f for f in WINTER_LENGTH_PER_HEIGHT)
        mass = _triple(mass_kg * f for f in WINTER_MASS_PER_BODY_MASS)
        centre = _triple(f * part for f, part in zip(WINTER_CENTRE_PER_LENGTH, length, strict=True))
        gyration = zip(mass, WINTER_GYRATION_PER_LENGTH, length, strict=True)
        inertia = _triple(m * (f * part) ** 2 for m, f, part in gyration)
        return cls._with_springs(JOINT_LIMITS_DEGREES, length=length, mass=mass, centre=centre, inertia=inertia)

    @classmethod
    def shadmehr1994(cls) -> Arm:
        """Return the two-link arm of Shadmehr and Mussa-Ivaldi 1994."""
        return cls._two_links(SHADMEHR_LENGTH, SHADMEHR_MASS, SHADMEHR_CENTRE, SHADMEHR_INERTIA, JOINT_LIMITS_DEGREES)

    @classmethod
    def li_todorov2004(cls) -> Arm:
        """Return the two-link arm of Li and Todorov 2004 with the posture springs of Shadmehr and Mussa-Ivaldi 1994."""
        about_joint = zip(LI_TODOROV_INERTIA_ABOUT_JOINT, LI_TODOROV_MASS, LI_TODOROV_CENTRE, strict=True)
        first, second = (inertia - mass * centre**2 for inertia, mass, centre in about_joint)
        return cls._two_links(
            LI_TODOROV_LENGTH, LI_TODOROV_MASS, LI_TODOROV_CENTRE, (first, second), LI_TODOROV_LIMITS_DEGREES
        )

    @classmethod
    def _two_links(cls, length: Pair, mass: Pair, centre: Pair, inertia: Pair, limits_degrees: dict[str, Pair]) -> Arm:
        """Return an arm with a locked wrist; the second link ends at the grasp point and includes the hand's mass."""
        hand = WINTER_LENGTH_PER_HEIGHT[2] * DEFAULT_HEIGHT_M
        lengths = length[0], length[1] - GRASP_POINT_PER_HAND * hand, hand
        body = {"mass": (*mass, 0.0), "centre": (*centre, 0.0), "inertia": (*inertia, 0.0)}
        return cls._with_springs(limits_degrees, length=lengths, wrist_locked=True, **body)

    @classmethod
    def _with_springs(cls, limits_degrees: dict[str, Pair], **body: Any) -> Arm:
        """Return an arm with the posture springs of Shadmehr and Mussa-Ivaldi 1994."""
        lower, upper = np.radians(list(limits_degrees.values())).T
        stiffness = _matrix(SHADMEHR_STIFFNESS, WRIST_STIFFNESS)
        viscosity = _matrix(SHADMEHR_VISCOSITY, WRIST_VISCOSITY)
        return cls(lower=_triple(lower), upper=_triple(upper), stiffness=stiffness, viscosity=viscosity, **body)

    @property
    def grasp_m(self) -> float:
        """Return the distance from wrist to grasp point, m."""
        return GRASP_POINT_PER_HAND * self.length[2]

    @property
    def inertia_constants(self) -> tuple[float, float, float, float, float, float]:
        """Return A_11, A_22, A_33, A_12, A_13, A_23 of the kinetic energy (see `sim.dynamics`), kg m2."""
        (l1, l2, _), (m1, m2, m3), (c1, c2, c3), (i1, i2, i3) = self.length, self.mass, self.centre, self.inertia
        first = i1 + m1 * c1**2 + (m2 + m3) * l1**2
        if self.wrist_locked:
            return first, i2 + m2 * c2**2 + i3 + m3 * (l2 + c3) ** 2, 1.0, l1 * (m2 * c2 + m3 * (l2 + c3)), 0.0, 0.0
        middle, last = i2 + m2 * c2**2 + m3 * l2**2, i3 + m3 * c3**2
        return first, middle, last, l1 * (m2 * c2 + m3 * l2), m3 * l1 * c3, m3 * l2 * c3

    def joints(self, angle: Any) -> Array:
        """Return the positions of shoulder, elbow, wrist and grasp point, (4, 2) m, at joint angles (3,) rad."""
        first, second, third = np.cumsum(np.asarray(angle, dtype=np.float64))
        steps = np.array(
            [
                [0.0, 0.0],
                [self.length[0] * np.cos(first), self.length[0] * np.sin(first)],
                [self.length[1] * np.cos(second), self.length[1] * np.sin(second)],
                [self.grasp_m * np.cos(third), self.grasp_m * np.sin(third)],
            ]
        )
        points: Array = np.cumsum(steps, axis=0)
        return points

    def hand(self, angle: Any) -> Array:
        """Return the position of the grasp point, (2,) m, at joint angles (3,) rad."""
        place: Array = self.joints(angle)[3]
        return place

    def jacobian(self, angle: Any) -> Array:
        """Return the derivative (2, 3) m/rad of the grasp point by the joint angles; 0 for a locked wrist."""
        points = self.joints(angle)
        arms = points[3] - points[:3]
        if self.wrist_locked:
            arms[2] = 0.0
        return np.stack([-arms[:, 1], arms[:, 0]])

    def inverse_kinematics(self, hand: Any, axis_rad: Any) -> Array:
        """Return the joint angles (..., 3) rad with the hand at `hand` (..., 2) m and direction `axis_rad` (...) rad.

        The elbow is flexed, as in humans. Angles are NaN if the position is out of reach; joint limits are ignored.
        With a locked wrist, the position determines the direction of the hand, and only the shape of `axis_rad` counts.
        """
        axis = np.asarray(axis_rad, dtype=np.float64)
        along = np.stack([np.cos(axis), np.sin(axis)], axis=-1)
        upper, fore = self.length[0], self.length[1]
        if self.wrist_locked:
            fore += self.grasp_m
            end = np.asarray(hand, dtype=np.float64) + np.zeros_like(along)
        else:
            end = np.asarray(hand, dtype=np.float64) - self.grasp_m * along
        cosine = (np.sum(end**2, axis=-1) - upper**2 - fore**2) / (2.0 * upper * fore)
        elbow = np.arccos(np.where(np.abs(cosine) <= 1.0, cosine, np.nan))
        shoulder = np.arctan2(end[..., 1], end[..., 0]) - np.arctan2(fore * np.sin(elbow), upper + fore * np.cos(elbow))
        wrist = np.zeros_like(elbow) if self.wrist_locked else axis - shoulder - elbow
        return np.stack([shoulder, elbow, wrist], axis=-1)

    def is_within_limits(self, angle: Array) -> bool:
        """Return whether all postures `angle` (..., 3) rad are within the joint limits; False for NaN."""
        return bool(np.all(angle >= np.asarray(self.lower)) and np.all(angle <= np.asarray(self.upper)))

    def posture_for(self, hand: Any, axis_rad: float) -> Array | None:
        """Return `inverse_kinematics` of one position; None if it is out of reach or outside the joint limits."""
        angle = self.inverse_kinematics(hand, axis_rad)
        return angle if self.is_within_limits(angle) else None

    def inverse_dynamics(self, angle: Array, velocity: Array, acceleration: Array) -> Array:
        """Return the joint torques (..., 3) N m for `acceleration` rad/s2 at `angle` rad and `velocity` rad/s.

        Viscosity is not included. With a locked wrist, whose angle, velocity and acceleration are 0, the third torque
        is the torque on the lock.

        Raises:
            ValueError: the shapes differ, or are not (..., 3).
        """
        shapes = [np.shape(given) for given in (angle, velocity, acceleration)]
        if shapes.count(shapes[0]) < 3 or shapes[0][-1:] != (3,):
            raise ValueError(f"angle, velocity and acceleration: expected one shape (..., 3), got {shapes}")
        # Imported here, because Numba takes longer to load than the rest of the package.
        from reach.sim import dynamics

        states = [np.ascontiguousarray(given, np.float64).reshape(-1, 3) for given in (angle, velocity, acceleration)]
        torque = np.empty_like(states[0])
        dynamics.inverse_dynamics(self.length, self.mass, self.centre, self.inertia, *states, torque)
        return torque.reshape(shapes[0])

    def forward_dynamics(self, angle: Array, velocity: Array, torque: Array) -> Array:
        """Return the joint accelerations (n, 3) rad/s2 for angles rad, velocities rad/s and torques N m, each (n, 3).

        Viscosity, joint stops and external forces are not included.
        """
        from reach.sim import dynamics

        tile = np.zeros(s.TILE_SIZE)
        tile[s.INERTIA_11 * s.LANES : (s.INERTIA_23 + 1) * s.LANES : s.LANES] = self.inertia_constants
        tile[s.WRIST_FREE * s.LANES] = 0.0 if self.wrist_locked else 1.0
        result = np.empty(np.shape(angle))
        dynamics.forward_dynamics(tile, angle, velocity, torque, result)
        return result


ARMS: dict[str, Callable[..., Arm]] = {
    "winter": Arm.winter,
    "shadmehr1994": Arm.shadmehr1994,
    "li-todorov2004": Arm.li_todorov2004,
}
