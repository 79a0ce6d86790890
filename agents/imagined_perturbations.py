"""Perturbations that a learner imagines from its own body, to practise on: what each reach would have lacked.

The seen hand is turned about the start or shifted, as by a rotation of the screen or a prism, or nothing is done to it.
From reach to reach that stays, or turns into its opposite, into another or into nothing; how often differs from one
sequence of reaches to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reach import Arm
from reach.sim.layout import START_HAND_M

Array = NDArray[np.float64]
# (3,) rad for joint angles (3,) rad, a displacement of the hand (2,) m and a turn of it, rad.
MotorError = Callable[[Array, tuple[float, float], float], Array]

# Where cups are imagined, from the start.
CUP_DISTANCE_M = (0.14, 0.26)
CUP_BEARING_DEGREES = (50.0, 150.0)
CUPS = 400
LARGEST_ROTATION_DEGREES = 50.0
LARGEST_SHIFT_M = (0.10, 0.03)
# Chances of a rotation and of a shift; else there is nothing.
ROTATION_SHARE, SHIFT_SHARE = 0.5, 0.3
# Of a change between two reaches: from once in a hundred reaches to every other reach, evenly on a logarithmic scale.
CHANGE_CHANCE = (0.01, 0.5)
# Of a change: into the opposite, and into another; else into nothing.
OPPOSITE_SHARE, OTHER_SHARE = 0.4, 0.3
# SD of what a reach seems to lack, unperturbed, in each joint.
NOISE_RAD = 0.03


class ImaginedPerturbations:
    """Sequences of reaches under perturbations that change.

    Attributes:
        cups: (CUPS, 2) m.
    """

    def __init__(self, arm: Arm, motor_error: MotorError, rng: np.random.Generator) -> None:
        """Imagine cups, and for each which change of posture moves the hand there.

        Args:
            arm: the learner's own body.
            motor_error: its body map.
            rng: source of the cups and of every sequence.
        """
        self._rng = rng
        self._start = np.array(START_HAND_M)
        distance = rng.uniform(*CUP_DISTANCE_M, CUPS)
        bearing = np.radians(rng.uniform(*CUP_BEARING_DEGREES, CUPS))
        self._way = distance[:, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=1)
        self.cups = self._start + self._way
        angles = np.clip(arm.inverse_kinematics(self.cups, bearing), arm.lower, arm.upper)
        self._map = np.array(
            [np.stack([motor_error(at, (1.0, 0.0), 0.0), motor_error(at, (0.0, 1.0), 0.0)], axis=1) for at in angles]
        )

    def sequences(self, count: int, reaches: int) -> tuple[Array, Array]:
        """Cups (count, reaches, 2) m, and the changes of posture (count, reaches, 3) rad that the hand lacked there."""
        rng = self._rng
        cup = rng.integers(CUPS, size=(count, reaches))
        chance = np.exp(rng.uniform(math.log(CHANGE_CHANCE[0]), math.log(CHANGE_CHANCE[1]), count))
        rotation, shift = self._others(count)
        lacked = np.empty((count, reaches, 3))
        for k in range(reaches):
            changes = rng.random(count) < chance
            into = rng.random(count)
            others = self._others(count)
            opposite = changes & (into < OPPOSITE_SHARE)
            other = changes & (into >= OPPOSITE_SHARE) & (into < OPPOSITE_SHARE + OTHER_SHARE)
            nothing = changes & (into >= OPPOSITE_SHARE + OTHER_SHARE)
            sign = np.where(opposite, -1.0, np.where(nothing, 0.0, 1.0))
            rotation = np.where(other, others[0], sign * rotation)
            shift = np.where(other[:, None], others[1], sign[:, None] * shift)
            way = self._way[cup[:, k]]
            # Where the hand must go for its image to come to the cup.
            cosine, sine = np.cos(-rotation), np.sin(-rotation)
            turned = np.stack([cosine * way[:, 0] - sine * way[:, 1], sine * way[:, 0] + cosine * way[:, 1]], axis=1)
            lacked[:, k] = np.einsum("nij,nj->ni", self._map[cup[:, k]], turned - shift - way)
        lacked += rng.normal(0.0, NOISE_RAD, lacked.shape)
        return self.cups[cup], lacked

    def _others(self, count: int) -> tuple[Array, Array]:
        """Rotations (count,) rad and shifts (count, 2) m of the seen hand; at most one of them is not zero."""
        rng = self._rng
        kind = rng.random(count)
        largest = math.radians(LARGEST_ROTATION_DEGREES)
        rotation = np.where(kind < ROTATION_SHARE, rng.uniform(-largest, largest, count), 0.0)
        is_shift = (kind >= ROTATION_SHARE) & (kind < ROTATION_SHARE + SHIFT_SHARE)
        size = np.array(LARGEST_SHIFT_M)
        return rotation, np.where(is_shift[:, None], rng.uniform(-size, size, (count, 2)), 0.0)
