"""The eye: where hand and cup are in a picture of the retina.

Every pixel mixes the colours of table, cup and hand by how much of it each covers. Three kinds of receptor tell the
three shares apart, by a linear map like that of colour opponency, and the middle of a share is where its thing is seen.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import kernel
from reach import Arm
from reach.sim.retina import CUP, HAND, TABLE, hand_centre_m, places_m

Array = NDArray[np.float64]

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
        self._table = np.array(TABLE)
        self._unmix = np.linalg.pinv(np.array([CUP, HAND]) - self._table)

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
