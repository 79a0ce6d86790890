"""Receptors: a picture as what each pixel lacks of the table's red, green and blue.

An empty table, to which the eye has adapted, excites none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.networks.v1_bank import require_picture
from reach.sim.retina import TABLE

Array = NDArray[np.float64]


class Receptors:
    """Three receptors at each pixel; activity is 0 for the table's colour or brighter, and 1 for black.

    Attributes:
        size: number of receptors.
    """

    def __init__(self, retina_px: int = 64) -> None:
        """Lay out receptors for pictures with sides of `retina_px` pixels."""
        self.retina_px = retina_px
        self.size = 3 * retina_px * retina_px

    def activity(self, picture: Array) -> Array:
        """Activity (size,), colours first, for a picture (retina_px, retina_px, 3) of 0..255.

        Raises:
            ValueError: a picture of another shape.
        """
        require_picture(picture, self.retina_px)
        lacking = np.maximum(1.0 - np.asarray(picture, dtype=np.float64) / TABLE, 0.0)
        found: Array = np.ascontiguousarray(lacking.transpose(2, 0, 1)).ravel()
        return found
