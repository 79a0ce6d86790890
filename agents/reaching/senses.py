"""One observation of the environment by name, whatever its form: numbers, or a coloured picture and what is felt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.jit import kernel
from reach import Arm
from reach.sim.retina import CUP as CUP_COLOUR
from reach.sim.retina import HAND as HAND_COLOUR
from reach.sim.retina import TABLE as TABLE_COLOUR
from reach.sim.retina import hand_centre_m, places_m

Array = NDArray[np.float64]

# Where the environment's observation table has what; what is seen comes first, and what is felt ends with the latest
# command.
HAND, VISIBLE, CUP, SEEN = 0, 2, 3, 5
ANGLES, APERTURE, TOUCH, COMMAND = 5, 11, 12, 15
COMMANDS = 4


@dataclass(frozen=True)
class Sensation:
    """One observation of `CupEnv`, by name; see its observation table for units.

    Attributes:
        row: (19,) the observation; where there is a picture, with what the eye finds in it.
        picture: (size, size, 3) of the retina, if there is one.
    """

    row: Array
    picture: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, observation: NDArray[np.float32]) -> Sensation:
        """Name the parts of an observation (19,)."""
        return cls(np.asarray(observation, dtype=np.float64))

    @property
    def felt(self) -> Array:
        """(6,) joint angles and velocities, rad and rad/s."""
        return self.row[ANGLES:APERTURE]


class Senses:
    """Reads the observations of an environment."""

    def __init__(self, arm: Arm, observed: Mapping[str, Any]) -> None:
        """Make the senses of somebody with this arm.

        Args:
            arm: the own body, by whose shape the eye knows the hand.
            observed: what `gym.make` was told of observations: "observation" and "retina_colour", where they are not
                the defaults.

        Raises:
            ValueError: observations from which nobody could tell where hand and cup are.
        """
        form = observed.get("observation", "vector")
        if form == "goal" or (form == "retina" and not observed.get("retina_colour")):
            raise ValueError(
                f"env observes {dict(observed)}; observation='vector', or 'retina' with retina_colour=True, is allowed"
            )
        self.has_pictures = form == "retina"
        self._eye = Eye(arm)

    def read(self, row: Any, past_angles: Array) -> Sensation:
        """One observation by name.

        Args:
            row: (19,) numbers, or a dictionary of "retina" and "felt".
            past_angles: joint angles (n, 3) rad as they were felt in the latest steps, the oldest first.
        """
        if not isinstance(row, dict):
            return Sensation.of(row)
        felt = np.asarray(row["felt"], dtype=np.float64)
        # What is seen is later than what is felt.
        axis = float(np.sum(past_angles[0] if len(past_angles) else felt[:3]))
        hand, visible, cup = self._eye.look(row["retina"], axis, float(felt[APERTURE - SEEN]))
        return Sensation(np.concatenate([hand, [visible], cup, felt]), row["retina"])

    @staticmethod
    def latest_command(row: Any) -> NDArray[np.float32]:
        """The command (4,) of which an observation tells."""
        felt: NDArray[np.float32] = row["felt"] if isinstance(row, dict) else row[SEEN:]
        return felt[-COMMANDS:]


# Less of a pixel than this is the rounding of its colours.
LEAST_SHARE = 0.01
# A thing of which less than a pixel is seen is not seen.
LEAST_PIXELS = 1.0
APERTURE_GRID_M = 0.002


class Eye:
    """Sees hand and cup in coloured pictures."""

    def __init__(self, arm: Arm) -> None:
        """Make the eye of somebody with this arm, whose hand's shape it knows."""
        self._centre_m = lru_cache(maxsize=128)(lambda step: hand_centre_m(arm, step * APERTURE_GRID_M))
        # What is neither cup nor hand is table: two shares of three colours.
        self._places_m = lru_cache(maxsize=8)(places_m)
        self._table = np.array(TABLE_COLOUR)
        self._unmix = np.linalg.pinv(np.array([CUP_COLOUR, HAND_COLOUR]) - self._table)

    def look(self, picture: NDArray[np.uint8], axis_rad: float, aperture_m: float) -> tuple[Array, bool, Array]:
        """Place of the hand (2,) m, whether it is seen, and place of the cup (2,) m; an unseen thing is at 0.

        Args:
            picture: (size, size, 3).
            axis_rad: direction of the hand, as felt.
            aperture_m: between the fingers, as felt.

        Raises:
            ValueError: a picture without colours.
        """
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"picture has shape {picture.shape}; (size, size, 3) is allowed: retina_colour=True")
        seen = np.zeros((2, 3))
        _add_shares(picture, self._table, self._unmix, *self._places_m(len(picture)), seen)
        (cup, _), (middle, visible) = (
            (place / total, True) if total > LEAST_PIXELS else (np.zeros(2), False)
            for place, total in zip(seen[:, :2], seen[:, 2], strict=True)
        )
        if visible:
            ahead = self._centre_m(round(aperture_m / APERTURE_GRID_M))
            middle = middle - ahead * np.array([math.cos(axis_rad), math.sin(axis_rad)])
        return middle, visible, cup


@kernel
def _add_shares(picture, table, unmix, x, y, seen):  # type: ignore[no-untyped-def]
    """Add up where a picture shows things and how much of them it shows.

    Args:
        picture: (size, size, 3) uint8.
        table: its colour, (3,).
        unmix: (3, 2) from a colour less the table's to the share of each thing.
        x, y: (size,) places of columns and rows, m.
        seen: (2, 3), to which the sums of share times x, share times y, and share are added for each thing.
    """
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            red, green, blue = picture[i, j, 0] - table[0], picture[i, j, 1] - table[1], picture[i, j, 2] - table[2]
            if red == 0.0 and green == 0.0 and blue == 0.0:
                continue
            for thing in range(2):
                share = red * unmix[0, thing] + green * unmix[1, thing] + blue * unmix[2, thing]
                if share > LEAST_SHARE:
                    seen[thing, 0] += share * x[j]
                    seen[thing, 1] += share * y[i]
                    seen[thing, 2] += share
