"""Snapshots: the state of a learner's network at one moment, as plain data that `reach.render` draws.

A learner that can be displayed has a method `snapshot()` that returns a `Snapshot` without changing the learner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Route = Literal["backward", "broadcast", "forward", "gate", "activity"]
ROUTES: tuple[Route, ...] = get_args(Route)
# Length of the bins in which spikes are displayed.
SPIKE_BIN_MS = 2


@dataclass(frozen=True, eq=False)
class Population:
    """Spiking cells of one kind.

    Attributes:
        name: name of the population, such as "hidden, excitatory".
        spikes: (bins, cells) uint8, spikes of each cell in the last bins of 2 ms, oldest first; no bins if spikes were
            not recorded.
        rate_hz: current firing rate, Hz, mean over cells.

    Raises:
        ValueError: spikes have another shape or type, or the rate is below 0.
    """

    name: str
    spikes: NDArray[np.uint8]
    rate_hz: float

    def __post_init__(self) -> None:
        """Validate spikes and rate."""
        if np.ndim(self.spikes) != 2 or self.spikes.dtype != np.uint8:
            raise ValueError(
                f"Population spikes: expected shape (bins, cells) and type uint8, got shape {np.shape(self.spikes)} "
                f"and type {self.spikes.dtype}"
            )
        if not self.rate_hz >= 0.0:
            raise ValueError(f"Population rate_hz: expected 0 or more, got {self.rate_hz}")


@dataclass(frozen=True, eq=False)
class Layer:
    """Rate cells of one layer.

    Attributes:
        name: name of the layer.
        activation: (cells,), finite; colours are scaled to the largest.

    Raises:
        ValueError: activations have another shape or are not finite.
    """

    name: str
    activation: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Validate the activations."""
        _require_cells("Layer activation", self.activation)


@dataclass(frozen=True, eq=False)
class LayerSignal:
    """The learning signal that reached the cells of one layer.

    Attributes:
        name: name of the layer.
        modulator: (cells,), modulator of each cell; all 0 if no error arrived.
        eligibility: (cells,), sum of |eligibility| over the synapses of each cell; None for rate cells.

    Raises:
        ValueError: an array has another shape or is not finite.
    """

    name: str
    modulator: NDArray[np.float64]
    eligibility: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Validate both arrays."""
        cells = _require_cells("LayerSignal modulator", self.modulator)
        if self.eligibility is not None and _require_cells("LayerSignal eligibility", self.eligibility) != cells:
            raise ValueError(f"LayerSignal eligibility: expected {cells} cells, got {len(self.eligibility)}")


@dataclass(frozen=True, eq=False)
class ErrorPath:
    """The path of the last error to the synapses.

    Attributes:
        route: "backward" layer by layer from last to first (BP, FA); "broadcast" to all layers (DFA); "forward", to the
            first layer and from there to the others (IFA); "gate" on recent spike pairs (STDP); or "activity" of cells
            with memory, where no synapse changes.
        error: (n,) the error that was sent.
        signals: signals of each layer that can receive the error, the first layer first.
        number: number of the error, counted from 1.
        label: label of the error in the picture.

    Raises:
        ValueError: the route is unknown, there are no signals, or the error has another shape.
    """

    route: Route
    error: NDArray[np.float64]
    signals: tuple[LayerSignal, ...]
    number: int = 1
    label: str = "error"

    def __post_init__(self) -> None:
        """Validate route, signals and error."""
        if self.route not in ROUTES:
            raise ValueError(f"ErrorPath route: expected one of {list(ROUTES)}, got {self.route!r}")
        if not self.signals:
            raise ValueError("ErrorPath signals: expected one or more, got none")
        _require_cells("ErrorPath error", self.error)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a learner's network at one moment.

    Attributes:
        populations: populations of spiking cells, from the senses on; empty for a network of rate cells.
        layers: layers of rate cells, from the senses on.
        error_path: path of the last error from which the learner learned; None if there was none.
    """

    populations: tuple[Population, ...] = ()
    layers: tuple[Layer, ...] = ()
    error_path: ErrorPath | None = None


def snapshot_of(model: Any) -> Snapshot | None:
    """Return the snapshot of a learner; None if the learner provides none."""
    take = getattr(model, "snapshot", None)
    return None if take is None else take()


def _require_cells(name: str, values: NDArray[np.float64]) -> int:
    """Return the number of cells; raise ValueError unless the values have the shape (cells,) and are finite."""
    if np.ndim(values) != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected shape (cells,) and finite values, got {values!r}")
    return len(values)
