"""The senses of a learner: named parts of an observation, and an eye that locates hand and cup in a picture.

An observation is a row of numbers, or a coloured picture of the table with proprioception, touch and the last command.
The colour of a pixel is the mean of the colours of table, cup and hand, weighted by the area of the pixel that each
covers. A linear map, like that of colour opponency, computes these shares from the three colour receptors. The position
of the cup or hand is the centroid of its share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach import CUP_RGB as CUP_COLOUR
from reach import HAND_RGB as HAND_COLOUR
from reach import TABLE_RGB as TABLE_COLOUR
from reach import Arm, hand_centre_m, pixel_places_m, rows_without_lamps
from reach.jit import kernel

Array = NDArray[np.float64]

# First columns of the parts of an observation, as in the environment's observation table. Vision ends before NOT_SEEN.
HAND, VISIBLE, CUP, NOT_SEEN = 0, 2, 3, 5
ANGLES, APERTURE, TOUCH, COMMAND = 5, 11, 12, 15
COMMANDS = 4
# Number of entries before those of the lamps.
OBSERVATION_SIZE = COMMAND + COMMANDS
# Smaller shares of a pixel are ignored, because they are rounding errors of its colours.
LEAST_SHARE = 0.01
# Total share, in pixels, below which hand or cup counts as not seen.
LEAST_PIXELS = 1.0
APERTURE_GRID_M = 0.002


@dataclass(frozen=True)
class Sensation:
    """One observation of `CupEnv` with named parts; the environment's observation table has the units.

    Attributes:
        row: (19,) the observation. With a picture, the eye fills in the positions.
        picture: (size, size, 3) picture of the retina; None without one.
        lamps: (lamps,) 0 or 1; empty with a picture.
    """

    row: Array
    picture: NDArray[np.uint8] | None = None
    lamps: Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, observation: NDArray[np.float32]) -> Sensation:
        """Name the parts of an observation (19 + lamps,)."""
        row = np.asarray(observation, dtype=np.float64)
        return cls(row[:OBSERVATION_SIZE], lamps=row[OBSERVATION_SIZE:])

    @property
    def joints(self) -> Array:
        """Return joint angles and velocities (6,), rad and rad/s."""
        return self.row[ANGLES:APERTURE]


class ObservationReader:
    """Read the observations of an environment."""

    def __init__(self, arm: Arm, env_options: Mapping[str, Any]) -> None:
        """Make the senses of a learner with this arm.

        Args:
            arm: the own body, whose hand shape the eye uses.
            env_options: "observation", "retina_colour" and "context" of `gym.make`; those at their defaults may be
                missing.

        Raises:
            ValueError: the observations do not show the positions of hand and cup.
        """
        form = env_options.get("observation", "vector")
        if form == "goal" or (form == "retina" and not env_options.get("retina_colour")):
            raise ValueError(
                f"env: expected observation='vector', or 'retina' with retina_colour=True, got {dict(env_options)}"
            )
        self.has_pictures = form == "retina"
        self._eye = Eye(arm, has_lamps=bool(env_options.get("context"))) if self.has_pictures else None

    def read(self, observation: Any, past_angles: Array) -> Sensation:
        """Return an observation with named parts.

        Args:
            observation: (19 + lamps,) numbers, or a dictionary of "retina" and "proprioception".
            past_angles: joint angles (n, 3) rad sensed in the latest steps, oldest first.
        """
        if self._eye is None:
            return Sensation.of(observation)
        proprioception = np.asarray(observation["proprioception"], dtype=np.float64)
        # Vision is delayed more than proprioception, so use the oldest angles.
        axis = float(np.sum(past_angles[0] if len(past_angles) else proprioception[:3]))
        hand, visible, cup = self._eye.locate(observation["retina"], axis, float(proprioception[APERTURE - NOT_SEEN]))
        return Sensation(np.concatenate([hand, [visible], cup, proprioception]), observation["retina"])

    @staticmethod
    def latest_command(observation: Any) -> NDArray[np.float32]:
        """Return the last command (4,) contained in an observation."""
        proprioception: NDArray[np.float32] = (
            observation["proprioception"] if isinstance(observation, dict) else observation[NOT_SEEN:OBSERVATION_SIZE]
        )
        return proprioception[-COMMANDS:]


class Eye:
    """Locate hand and cup in coloured pictures."""

    def __init__(self, arm: Arm, *, has_lamps: bool = False) -> None:
        """Make an eye.

        Args:
            arm: the own body, whose hand shape the eye uses.
            has_lamps: whether pictures show lamps. The eye ignores the dark rows of the lamps, which resemble a hand.
        """
        self._has_lamps = has_lamps
        self._centre_m = lru_cache(maxsize=128)(lambda step: hand_centre_m(arm, step * APERTURE_GRID_M))
        self._places_m = lru_cache(maxsize=8)(pixel_places_m)
        self._rows = lru_cache(maxsize=8)(rows_without_lamps)
        self._table = np.array(TABLE_COLOUR)
        # (3, 2): two unknown shares, of cup and hand; the rest of a pixel is table.
        self._unmix = np.linalg.pinv(np.array([CUP_COLOUR, HAND_COLOUR]) - self._table)

    def locate(self, picture: NDArray[np.uint8], axis_rad: float, aperture_m: float) -> tuple[Array, bool, Array]:
        """Return the hand's position (2,) m, whether it is seen, and the cup's position (2,) m; (0, 0) if not seen.

        Args:
            picture: (size, size, 3).
            axis_rad: direction of the hand, from proprioception.
            aperture_m: distance between the fingers, from proprioception.

        Raises:
            ValueError: the picture has no colours.
        """
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"picture: expected shape (size, size, 3), from retina_colour=True, got {picture.shape}")
        sums = np.zeros((2, 3))
        x, y = self._places_m(len(picture))
        if self._has_lamps:
            rows = self._rows(len(picture))
            picture, y = picture[rows], y[rows]
        _add_shares(picture, self._table, self._unmix, x, y, sums)
        (cup, _), (centre, visible) = (
            (place / total, True) if total > LEAST_PIXELS else (np.zeros(2), False)
            for place, total in zip(sums[:, :2], sums[:, 2], strict=True)
        )
        if visible:
            ahead = self._centre_m(round(aperture_m / APERTURE_GRID_M))
            centre = centre - ahead * np.array([math.cos(axis_rad), math.sin(axis_rad)])
        return centre, visible, cup


@kernel
def _add_shares(picture, table, unmix, x, y, sums):  # type: ignore[no-untyped-def]
    """Sum the shares of cup and hand over the pixels of a picture, and the pixel positions weighted by these shares.

    Args:
        picture: (rows, columns, 3) uint8.
        table: (3,) colour of the table.
        unmix: (3, 2) map from a colour minus the table's to the shares of cup and hand.
        x, y: (columns,) and (rows,) positions of the pixels, m.
        sums: (2, 3) for cup and hand, to which share times x, share times y, and share are added.
    """
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            red, green, blue = picture[i, j, 0] - table[0], picture[i, j, 1] - table[1], picture[i, j, 2] - table[2]
            if red == 0.0 and green == 0.0 and blue == 0.0:
                continue
            for thing in range(2):
                share = red * unmix[0, thing] + green * unmix[1, thing] + blue * unmix[2, thing]
                if share > LEAST_SHARE:
                    sums[thing, 0] += share * x[j]
                    sums[thing, 1] += share * y[i]
                    sums[thing, 2] += share
