"""The eye: where hand and cup are in a picture of the retina.

Every pixel mixes the colours of table, cup and hand by how much of it each covers. Three kinds of receptor tell the
three shares apart, by a linear map like that of colour opponency, and the middle of a share is where its thing is seen.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reach import Arm
from reach.retina import CUP, HAND, TABLE, hand_centre_m, places_m

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
        self._unmix = np.linalg.pinv(np.array([CUP, HAND]) - np.array(TABLE))

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
        shares = (picture.reshape(-1, 3) - np.array(TABLE)) @ self._unmix
        shares = np.where(shares > LEAST_SHARE, shares, 0.0).reshape(*picture.shape[:2], 2)
        x, y = places_m(len(picture))
        seen = []
        for share in (shares[..., 0], shares[..., 1]):
            total = float(np.sum(share))
            known = total > LEAST_PIXELS
            place = np.array([share.sum(axis=0) @ x, share.sum(axis=1) @ y]) / total if known else np.zeros(2)
            seen.append((place, known))
        (cup, _), (middle, visible) = seen
        if visible:
            ahead = self._centre_m(round(aperture_m / APERTURE_GRID_M))
            middle = middle - ahead * np.array([math.cos(axis_rad), math.sin(axis_rad)])
        return middle, visible, cup
