"""A fixed bank of oriented filters over the retina, after the primary visual cortex (V1).

Simple cells are Gabor filters (Daugman 1985, J Opt Soc Am A 2:1160) of eight orientations and two sizes in a pair of
phases and their opposites, and fire for what is positive; a complex cell is the energy of such a pair (Adelson and
Bergen 1985, J Opt Soc Am A 2:284). All are divided by what they do together (Heeger 1992, Vis Neurosci 9:181).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.networks.gabor_filters import GaborFilters
from reach.sim.retina import LUMINANCE, TABLE

Array = NDArray[np.float64]

# Wavelength of each size, and the distance between neighbouring cells, as shares of the picture's side.
SIZES = ((1.0 / 8.0, 1.0 / 16.0), (1.0 / 4.0, 1.0 / 8.0))
# Norm of the activity of all cells together.
TOGETHER = 2.0


class V1Bank:
    """Simple and complex cells that see one picture.

    Attributes:
        size: number of cells.
    """

    def __init__(self, retina_px: int = 64) -> None:
        """Lay out the cells.

        Args:
            retina_px: side of the pictures, 32 or more.

        Raises:
            ValueError: a smaller picture.
        """
        if retina_px < 32:
            raise ValueError(f"retina_px is {retina_px}; 32 or more is allowed")
        self.retina_px = retina_px
        self._filters = [GaborFilters(wavelength * retina_px, round(step * retina_px)) for wavelength, step in SIZES]
        self.size = len(self._cells(np.zeros((retina_px, retina_px, 3))))

    def activity(self, picture: Array) -> Array:
        """Activity (size,), 0 or more, for a picture (retina_px, retina_px, 3) of 0..255.

        Raises:
            ValueError: a picture of another shape.
        """
        require_picture(picture, self.retina_px)
        return held_together(self._cells(picture))

    def _cells(self, picture: Array) -> Array:
        contrast = (np.asarray(picture, dtype=np.float64) - TABLE) @ np.array(LUMINANCE) / 255.0
        found = []
        for filters in self._filters:
            even, odd = filters.answers(contrast)
            simple = [np.maximum(one, 0.0) for one in (even, -even, odd, -odd)]
            found += [one.ravel() for one in (*simple, np.hypot(even, odd))]
        cells: Array = np.concatenate(found)
        return cells


def require_picture(picture: Array, retina_px: int) -> None:
    """Refuse what is no picture (retina_px, retina_px, 3).

    Raises:
        ValueError: a picture of another shape.
    """
    if picture.shape != (retina_px, retina_px, 3):
        raise ValueError(f"picture has shape {picture.shape}; {(retina_px, retina_px, 3)} is allowed")


def held_together(cells: Array) -> Array:
    """Activities (cells,) divided by what all do together, so that their norm is TOGETHER."""
    found: Array = cells * (TOGETHER / max(float(np.linalg.norm(cells)), 1e-9))
    return found
