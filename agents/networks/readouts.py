"""Read-outs: commands from the spikes of output cells.

Both read the spikes filtered by an exponential of `LIFCells.readout_ms`, in Hz: a difference of antagonist populations,
as flexors and extensors pull on a joint, or any linear sum (Salinas and Abbott 1994, J. Comput. Neurosci. 1:89).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class LinearReadout:
    """command = weight^T rates."""

    def __init__(self, weight: Array) -> None:
        """Take the weights (cells, commands), in command a Hz.

        Raises:
            ValueError: another number of dimensions, or a weight that is no finite number.
        """
        if weight.ndim != 2 or not np.all(np.isfinite(weight)):
            raise ValueError(f"weight has shape {weight.shape}; (cells, commands) finite numbers are allowed")
        self.weight = weight

    def command(self, rate_hz: NDArray[Any]) -> Array:
        """Commands (commands,) for filtered rates (cells,) Hz."""
        found: Array = rate_hz @ self.weight
        return found


class AntagonistReadout(LinearReadout):
    """command_k = per_hz (mean rate of its flexors - mean rate of its extensors).

    Cells stand in the order joint, muscle (flexor, extensor), cell.
    """

    def __init__(self, joints: int, cells_per_muscle: int, per_hz: float) -> None:
        """Make the weights.

        Args:
            joints: commands, 1 or more.
            cells_per_muscle: cells of each of the 2 x joints populations, 1 or more.
            per_hz: command per difference of mean rates.

        Raises:
            ValueError: an argument outside these.
        """
        if joints < 1 or cells_per_muscle < 1:
            raise ValueError(f"joints is {joints} and cells_per_muscle {cells_per_muscle}; 1 or more are allowed")
        self.sign = antagonist_signs(joints, cells_per_muscle)
        super().__init__(self.sign * (per_hz / cells_per_muscle))


def antagonist_signs(joints: int, cells_per_muscle: int) -> Array:
    """Effect of each cell on each joint, (2 x joints x cells_per_muscle, joints): 1 flexes, -1 extends, 0 elsewhere."""
    muscles = np.kron(np.eye(joints), np.array([[1.0], [-1.0]]))
    return np.repeat(muscles, cells_per_muscle, axis=0)
