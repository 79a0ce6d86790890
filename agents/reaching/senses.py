"""What a learner senses: one observation of the environment by name, and the eye that reads a picture of the retina.

An observation is a row of numbers, or a coloured picture of the table with proprioception, touch and the last command.
Every pixel mixes the colours of table, cup and hand by how much of it each covers. Three kinds of receptor separate the
three shares by a linear map, like that of colour opponency, and the centre of a share is the place of its thing.
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

# Columns of the environment's observation table. Vision comes first; the rest ends with the last command.
HAND, VISIBLE, CUP, NOT_SEEN = 0, 2, 3, 5
ANGLES, APERTURE, TOUCH, COMMAND = 5, 11, 12, 15
COMMANDS = 4
# Entries before those of the lamps.
OBSERVATION_SIZE = COMMAND + COMMANDS
# A smaller share of a pixel is the rounding of its colours.
LEAST_SHARE = 0.01
# A thing that covers less than a pixel is not seen.
LEAST_PIXELS = 1.0
APERTURE_GRID_M = 0.002


@dataclass(frozen=True)
class Sensation:
    """One observation of `CupEnv` by name; units are in its observation table.

    Attributes:
        row: (19,) the observation; from a picture, with the places that the eye reads in it.
        picture: (size, size, 3) of the retina, if there is one.
        lamps: (lamps,) 0 or 1; empty from a picture.
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
        """Return the joint angles and velocities (6,), rad and rad/s."""
        return self.row[ANGLES:APERTURE]


class ObservationReader:
    """Reads the observations of an environment."""

    def __init__(self, arm: Arm, env_options: Mapping[str, Any]) -> None:
        """Make the senses of a learner with this arm.

        Args:
            arm: the own body; the eye knows the shape of its hand.
            env_options: "observation", "retina_colour" and "context" as given to `gym.make`, where they are not the
                defaults.

        Raises:
            ValueError: observations that do not show where hand and cup are.
        """
        form = env_options.get("observation", "vector")
        if form == "goal" or (form == "retina" and not env_options.get("retina_colour")):
            raise ValueError(
                f"env: expected observation='vector', or 'retina' with retina_colour=True, got {dict(env_options)}"
            )
        self.has_pictures = form == "retina"
        self._eye = Eye(arm, has_lamps=bool(env_options.get("context"))) if self.has_pictures else None

    def read(self, observation: Any, past_angles: Array) -> Sensation:
        """Return one observation by name.

        Args:
            observation: (19 + lamps,) numbers, or a dictionary of "retina" and "proprioception".
            past_angles: joint angles (n, 3) rad as sensed in the latest steps, the oldest first.
        """
        if self._eye is None:
            return Sensation.of(observation)
        proprioception = np.asarray(observation["proprioception"], dtype=np.float64)
        # Vision is later than proprioception.
        axis = float(np.sum(past_angles[0] if len(past_angles) else proprioception[:3]))
        hand, visible, cup = self._eye.locate(observation["retina"], axis, float(proprioception[APERTURE - NOT_SEEN]))
        return Sensation(np.concatenate([hand, [visible], cup, proprioception]), observation["retina"])

    @staticmethod
    def latest_command(observation: Any) -> NDArray[np.float32]:
        """Return the command (4,) that an observation holds."""
        proprioception: NDArray[np.float32] = (
            observation["proprioception"] if isinstance(observation, dict) else observation[NOT_SEEN:OBSERVATION_SIZE]
        )
        return proprioception[-COMMANDS:]


class Eye:
    """Locates hand and cup in coloured pictures."""

    def __init__(self, arm: Arm, *, has_lamps: bool = False) -> None:
        """Make an eye.

        Args:
            arm: the own body; the eye knows the shape of its hand.
            has_lamps: whether pictures show lamps. The eye ignores their rows: it would take the dark row for a hand.
        """
        self._has_lamps = has_lamps
        self._centre_m = lru_cache(maxsize=128)(lambda step: hand_centre_m(arm, step * APERTURE_GRID_M))
        # What is neither cup nor hand is table: two shares of three colours.
        self._places_m = lru_cache(maxsize=8)(pixel_places_m)
        self._rows = lru_cache(maxsize=8)(rows_without_lamps)
        self._table = np.array(TABLE_COLOUR)
        self._unmix = np.linalg.pinv(np.array([CUP_COLOUR, HAND_COLOUR]) - self._table)

    def locate(self, picture: NDArray[np.uint8], axis_rad: float, aperture_m: float) -> tuple[Array, bool, Array]:
        """Return the place of the hand (2,) m, whether it is seen, and the place of the cup (2,) m; unseen is 0.

        Args:
            picture: (size, size, 3).
            axis_rad: direction of the hand, from proprioception.
            aperture_m: between the fingers, from proprioception.

        Raises:
            ValueError: a picture without colours.
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
    """Sum the shares of cup and hand over the pixels of a picture, and their places weighted by them.

    Args:
        picture: (rows, columns, 3) uint8.
        table: its colour, (3,).
        unmix: (3, 2) from a colour less the table's to the shares of cup and hand.
        x, y: (columns,) and (rows,) places, m.
        sums: (2, 3) for cup and hand, added to: share times x, share times y, and share.
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
