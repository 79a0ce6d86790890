"""Complex cells for colour: oriented filters over what is redder or greener than the table, whatever the phase.

Such cells of the primary visual cortex (V1) have oriented receptive fields in which red and green oppose each other,
and answer to borders of colour (Johnson, Hawken and Shapley 2001, Nat Neurosci 4:409). Each is the energy of a pair of
Gabor filters (Adelson and Bergen 1985, J Opt Soc Am A 2:284), neighbours are pooled, and all are divided by what they
do together (Heeger 1992, Vis Neurosci 9:181). They are few, so that spiking cells can follow them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.networks.gabor_filters import GaborFilters
from agents.networks.v1_bank import SIZES, held_together, require_picture
from reach.sim.retina import TABLE

Array = NDArray[np.float64]

RED_AGAINST_GREEN = (1.0, -1.0, 0.0)
# Neighbouring cells, in each direction, that are averaged.
POOLED = 2
SMALLEST_PX = 32


class ComplexCells:
    """Complex cells of the bank's smaller size that see the colours of one picture.

    Attributes:
        size: number of cells: 8 orientations at 8 x 8 places.
    """

    def __init__(self, retina_px: int = 64) -> None:
        """Lay out the cells.

        Args:
            retina_px: side of the pictures, 32 or more.

        Raises:
            ValueError: a smaller picture.
        """
        if retina_px < SMALLEST_PX:
            raise ValueError(f"retina_px is {retina_px}; {SMALLEST_PX} or more is allowed")
        self.retina_px = retina_px
        wavelength, step = SIZES[0]
        self._filters = GaborFilters(wavelength * retina_px, round(step * retina_px))
        self.size = self._cells(np.zeros((retina_px, retina_px, 3))).size

    def activity(self, picture: Array) -> Array:
        """Activity (size,), 0 or more, for a picture (retina_px, retina_px, 3) of 0..255; orientations come first.

        Raises:
            ValueError: a picture of another shape.
        """
        require_picture(picture, self.retina_px)
        return held_together(self._cells(picture))

    def _cells(self, picture: Array) -> Array:
        contrast = (np.asarray(picture, dtype=np.float64) - TABLE) @ np.array(RED_AGAINST_GREEN) / 255.0
        energy = np.hypot(*self._filters.answers(contrast))
        kinds, places, _ = energy.shape
        pools = places // POOLED
        whole = energy[:, : pools * POOLED, : pools * POOLED]
        pooled: Array = whole.reshape(kinds, pools, POOLED, pools, POOLED).mean(axis=(2, 4)).ravel()
        return pooled
