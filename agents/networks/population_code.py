"""Population coding: each number is heard by a row of cells with Gaussian tuning curves, as firing rates.

Pouget, Dayan and Zemel 2000, Nat. Rev. Neurosci. 1:125.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.checks import require_count, require_number
from agents.networks.compiled import kernel


@dataclass(frozen=True)
class PopulationCode:
    """Settings of the code of several numbers.

    Attributes:
        low, high: range of each number, low < high; its cells' centres are spread over it evenly.
        cells: for each number, 2 or more.
        peak_hz: rate at a cell's centre, above 0.
        width: SD of a tuning curve in distances between centres, above 0.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    cells: int = 10
    peak_hz: float = 100.0
    width: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        require_count(self, "cells", 2)
        require_number(self, "peak_hz", 1e-9)
        require_number(self, "width", 1e-9)
        if not self.low or len(self.low) != len(self.high) or not np.all(np.array(self.low) < np.array(self.high)):
            raise ValueError(
                f"PopulationCode low is {self.low} and high {self.high}; as many numbers each, every low below its "
                "high, are allowed"
            )

    @property
    def size(self) -> int:
        """Number of cells in all."""
        return len(self.low) * self.cells

    def rates_hz(self, values: NDArray[np.float64], out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Firing rates (size,) Hz, number after number, for values (numbers,); written to `out` where it is given.

        Raises:
            ValueError: another shape, or a value that is no finite number.
        """
        if np.shape(values) != (len(self.low),) or not np.all(np.isfinite(values)):
            raise ValueError(f"values is {values!r}; ({len(self.low)},) finite numbers are allowed")
        rates = np.empty(self.size) if out is None else out
        _tune(values, np.array(self.low), np.array(self.high), self.cells, self.peak_hz, self.width, rates)
        return rates


@kernel
def _tune(values, low, high, cells, peak_hz, width, rates):  # type: ignore[no-untyped-def]
    """Gaussian tuning curves of `cells` cells for each of the values (numbers,)."""
    for d in range(values.shape[0]):
        place = (values[d] - low[d]) / (high[d] - low[d]) * (cells - 1)
        for k in range(cells):
            off = (place - k) / width
            rates[d * cells + k] = peak_hz * np.exp(-0.5 * off * off)
