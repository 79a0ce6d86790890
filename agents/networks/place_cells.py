"""Place cells: a seen position as the activity of cells with Gaussian receptive fields on a grid over the table."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.jit import allocating_kernel

Array = NDArray[np.float64]

# The part of the table where cups are seen, with a margin for prisms and rotations, m.
FIELD_X_M = (-0.14, 0.38)
FIELD_Y_M = (0.42, 0.68)
CELLS_X, CELLS_Y = 8, 6
WIDTH_M = 0.06


class PlaceCells:
    """48 cells, 8 across and 6 deep; a cell's activity is exp(-|x - centre|^2 / (2 width^2)), in (0, 1]."""

    def __init__(self) -> None:
        """Lay out the centres on a grid."""
        x, y = np.meshgrid(np.linspace(*FIELD_X_M, CELLS_X), np.linspace(*FIELD_Y_M, CELLS_Y), indexing="ij")
        self.centres = np.stack([x.ravel(), y.ravel()], axis=1)

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return len(self.centres)

    def activity(self, place: Array) -> Array:
        """Return the activity (size,) at a seen place (2,) m."""
        activity: Array = _activity(self.centres, float(place[0]), float(place[1]))
        return activity


@allocating_kernel
def _activity(centres, x, y):  # type: ignore[no-untyped-def]
    """Return the activity of Gaussian receptive fields around `centres` (n, 2) m at (x, y) m."""
    activity = np.empty(len(centres))
    for k in range(len(centres)):
        dx = centres[k, 0] - x
        dy = centres[k, 1] - y
        activity[k] = math.exp(-(dx * dx + dy * dy) / (2.0 * WIDTH_M * WIDTH_M))
    return activity
