"""What goes on inside a learner at one moment, as plain data that a learner may give and a picture be made of.

A learner that can be looked into has a method `inside()` that answers an `Inside`. Looking changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Way = Literal["backward", "broadcast", "forward", "gate", "activity"]
WAYS: tuple[Way, ...] = get_args(Way)
# A spike is shown to this measure of time.
SPIKE_BIN_MS = 2


@dataclass(frozen=True, eq=False)
class Population:
    """Spiking cells of one kind.

    Attributes:
        name: of the cells, such as "hidden, excitatory".
        spikes: (bins, cells) uint8, spikes of each cell in each of the last bins of 2 ms, oldest first; no bins where
            none were kept.
        rate_hz: present firing rate, Hz, mean over cells.

    Raises:
        ValueError: spikes of another shape or type, or a rate below 0.
    """

    name: str
    spikes: NDArray[np.uint8]
    rate_hz: float

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if np.ndim(self.spikes) != 2 or self.spikes.dtype != np.uint8:
            raise ValueError(
                f"Population spikes has shape {np.shape(self.spikes)} and type {self.spikes.dtype}; (bins, cells) "
                "uint8 is allowed"
            )
        if not self.rate_hz >= 0.0:
            raise ValueError(f"Population rate_hz is {self.rate_hz}; 0 or more is allowed")


@dataclass(frozen=True, eq=False)
class Layer:
    """Cells of one layer whose activity is a number.

    Attributes:
        name: of the layer.
        activation: (cells,), finite; how strong the colours are follows from the largest.

    Raises:
        ValueError: activations of another shape, or not finite.
    """

    name: str
    activation: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _require_cells("Layer activation", self.activation)


@dataclass(frozen=True, eq=False)
class Arrival:
    """What an error told the cells of one layer.

    Attributes:
        name: of the layer.
        told: (cells,), the modulator of each cell; all 0 where nothing arrived.
        eligible: (cells,), how much each cell had gathered of recent pre-post pairs, 0 or more; None where synapses
            learn from rates.

    Raises:
        ValueError: another shape, or a number that is not finite.
    """

    name: str
    told: NDArray[np.float64]
    eligible: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _require_cells("Arrival told", self.told)
        if self.eligible is not None and _require_cells("Arrival eligible", self.eligible) != len(self.told):
            raise ValueError(
                f"Arrival eligible has {len(self.eligible)} cells, told {len(self.told)}; alike is allowed"
            )


@dataclass(frozen=True, eq=False)
class Travel:
    """How the last error came to the synapses.

    Attributes:
        way: "backward" layer by layer from the last to the first (BP, FA), "broadcast" to all at once (DFA), "forward"
            to the first and from there on (IFA), as a "gate" on recent pre-post pairs (STDP), or as "activity" of cells
            that remember it, by which no synapse changes.
        error: (n,) the error that was sent.
        arrivals: of each layer that can hear of it, the first layer first.
        number: of the error, counted from 1; another number is another error.
        what: was sent, as it is written into the picture.

    Raises:
        ValueError: an unknown way, no arrivals, or an error that cannot be drawn.
    """

    way: Way
    error: NDArray[np.float64]
    arrivals: tuple[Arrival, ...]
    number: int = 1
    what: str = "error"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.way not in WAYS:
            raise ValueError(f"Travel way is {self.way!r}; {list(WAYS)} are allowed")
        if not self.arrivals:
            raise ValueError("Travel arrivals is empty; one or more are allowed")
        _require_cells("Travel error", self.error)


@dataclass(frozen=True, eq=False)
class Inside:
    """One moment inside a learner.

    Attributes:
        populations: of spiking cells, those that hear the senses first; none in a network of rate cells.
        layers: of rate cells, those that hear the senses first.
        travel: of the last error that was learned from; None before the first, and without one.
    """

    populations: tuple[Population, ...] = ()
    layers: tuple[Layer, ...] = ()
    travel: Travel | None = None


def inside_of(model: Any) -> Inside | None:
    """What a learner shows of its inside; None for one that shows nothing."""
    look = getattr(model, "inside", None)
    return None if look is None else look()


def _require_cells(name: str, values: NDArray[np.float64]) -> int:
    """How many cells; refuse what is no row of finite numbers."""
    if np.ndim(values) != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} is {values!r}; (cells,) finite numbers are allowed")
    return len(values)
