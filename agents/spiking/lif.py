"""Leaky integrate-and-fire cells, plain and adaptive, integrated exactly.

    membrane_ms dv/dt = bias + g - current_adaptation a - v        (held at `reset` while refractory)
    synapse_ms dg/dt = -g            g grows by the weight of each spike that arrives
    adaptation_ms da/dt = -a         a grows by 1 with each spike of the cell
    a spike where v >= threshold + threshold_adaptation a; then v = reset

The system is linear between spikes, so a step multiplies by exponentials (Rotter and Diesmann 1999, Biological
Cybernetics 81:381) and its length changes no solution, only the grid on which spikes may fall. The threshold that
adapts is that of Bellec et al. 2018 (NeurIPS, "Long short-term memory and learning-to-learn in networks of spiking
neurons"), the current that of Brette and Gerstner 2005 (J. Neurophysiol. 94:3637) without its subthreshold part.
Voltages and weights are in units of the usual distance from rest to threshold. Nothing here knows of synapses or rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.jit import SMALLEST, inlined, kernel
from agents.spiking.checks import (
    SHORTEST_MS,
    Spread,
    drawn,
    largest,
    require_count,
    require_number,
    require_spread,
    smallest,
)

# To find, among eight bytes in a word, the first of them lowest, those that are not 0: all bits of a byte but the
# highest, and that one; 0 to 7 from the highest byte to the lowest, of which a product with 1 in byte k brings k up.
LOW_BITS, HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
PLACES, TOP_BYTE, SEVEN, ONE = np.uint64(0x0001020304050607), np.uint64(56), np.uint64(7), np.uint64(1)


# Exponent from which two exponentials are subtracted as they are.
FAR = 30.0


@dataclass(frozen=True)
class LIFCells:
    """Settings of one population. A value is a number, or a (low, high) range from which each cell draws evenly.

    Attributes:
        size: cells, 1 or more.
        inhibitory: under Dale's law, how many of them (the last ones) inhibit while the others excite; None lets every
            cell have outgoing weights of either sign.
        membrane_ms, synapse_ms, adaptation_ms: time constants, ms.
        threshold, reset, bias: voltages; the reset lies below the threshold.
        first_voltage: at the start of a run.
        refractory_steps: steps from a spike to the first at which the cell integrates again, 1 or more.
        threshold_adaptation: what each spike adds to the threshold, 0 or more.
        current_adaptation: what each spike takes from the drive, 0 or more.
        readout_ms: time constant of the filtered rate that a read-out sees, ms.
    """

    size: int
    inhibitory: int | None = None
    membrane_ms: Spread = 20.0
    synapse_ms: Spread = 5.0
    threshold: Spread = 1.0
    reset: Spread = 0.0
    bias: Spread = 0.0
    first_voltage: Spread = 0.0
    refractory_steps: int = 2
    adaptation_ms: Spread = 200.0
    threshold_adaptation: Spread = 0.0
    current_adaptation: Spread = 0.0
    readout_ms: float = 100.0

    def __post_init__(self) -> None:
        """Refuse what no cell can have.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        require_count(self, "size", 1)
        require_count(self, "refractory_steps", 1)
        if self.inhibitory is not None:
            require_count(self, "inhibitory", 0)
            if self.inhibitory > self.size:
                raise ValueError(f"LIFCells inhibitory is {self.inhibitory}; 0 to size = {self.size} is allowed")
        for name in ("membrane_ms", "synapse_ms", "adaptation_ms"):
            require_spread(self, name, SHORTEST_MS)
        for name in ("threshold_adaptation", "current_adaptation"):
            require_spread(self, name, 0.0)
        for name in ("threshold", "reset", "bias", "first_voltage"):
            require_spread(self, name, -math.inf)
        require_number(self, "readout_ms", SHORTEST_MS)
        if not largest(self.reset) < smallest(self.threshold):
            raise ValueError(
                f"LIFCells reset is {self.reset!r}; a voltage below the threshold {self.threshold!r} is allowed"
            )

    def signs(self) -> NDArray[np.int8]:
        """Sign that each cell's outgoing weights must have, (size,): 1, -1, or 0 for either."""
        signs = np.zeros(self.size, dtype=np.int8)
        if self.inhibitory is not None:
            signs[:] = 1
            signs[self.size - self.inhibitory :] = -1
        return signs


class Cells(NamedTuple):
    """What does not change about cells; arrays (cells,) over all populations, one after another.

    `coupling` is the voltage that a unit of synaptic drive leaves after one step, `brake` that of a unit of adaptation.
    `readout_step` is what a spike adds to the filtered rate, Hz.
    """

    bias: NDArray[Any]
    leak: NDArray[Any]
    threshold: NDArray[Any]
    reset: NDArray[Any]
    first_voltage: NDArray[Any]
    drive_decay: NDArray[Any]
    coupling: NDArray[Any]
    adaptation_decay: NDArray[Any]
    brake: NDArray[Any]
    threshold_adaptation: NDArray[Any]
    readout_decay: NDArray[Any]
    readout_step: NDArray[Any]
    refractory_steps: NDArray[np.int32]


class CellState(NamedTuple):
    """What changes in cells; arrays (cells,). `rest` counts the steps of refractoriness that are left."""

    voltage: NDArray[Any]
    drive: NDArray[Any]
    adaptation: NDArray[Any]
    rate_hz: NDArray[Any]
    rest: NDArray[np.int32]


def draw_cells(populations: Sequence[LIFCells], step_ms: float, rng: np.random.Generator, dtype: Any) -> Cells:
    """The cells of several populations, each setting drawn in the order in which `LIFCells` names them."""
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in Cells._fields}
    for one in populations:
        membrane_ms = drawn(one.membrane_ms, one.size, rng)
        synapse_ms = drawn(one.synapse_ms, one.size, rng)
        threshold = drawn(one.threshold, one.size, rng)
        reset = drawn(one.reset, one.size, rng)
        bias = drawn(one.bias, one.size, rng)
        first_voltage = drawn(one.first_voltage, one.size, rng)
        adaptation_ms = drawn(one.adaptation_ms, one.size, rng)
        threshold_adaptation = drawn(one.threshold_adaptation, one.size, rng)
        current_adaptation = drawn(one.current_adaptation, one.size, rng)
        own = {
            "bias": bias,
            "leak": np.exp(-step_ms / membrane_ms),
            "threshold": threshold,
            "reset": reset,
            "first_voltage": first_voltage,
            "drive_decay": np.exp(-step_ms / synapse_ms),
            "coupling": _coupling(membrane_ms, synapse_ms, step_ms),
            "adaptation_decay": np.exp(-step_ms / adaptation_ms),
            "brake": current_adaptation * _coupling(membrane_ms, adaptation_ms, step_ms),
            "threshold_adaptation": threshold_adaptation,
            "readout_decay": np.full(one.size, math.exp(-step_ms / one.readout_ms)),
            "readout_step": np.full(one.size, 1000.0 / one.readout_ms),
            "refractory_steps": np.full(one.size, one.refractory_steps),
        }
        for name, values in own.items():
            found[name].append(values)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return Cells(**{k: v.astype(np.int32 if k == "refractory_steps" else dtype) for k, v in whole.items()})


def resting_cells(cells: Cells) -> CellState:
    """The state at the start of a run."""
    zeros = np.zeros_like(cells.bias)
    return CellState(
        voltage=cells.first_voltage.copy(),
        drive=zeros.copy(),
        adaptation=zeros.copy(),
        rate_hz=zeros.copy(),
        rest=np.zeros(len(zeros), dtype=np.int32),
    )


def _coupling(membrane_ms: NDArray[Any], current_ms: NDArray[Any], step_ms: float) -> NDArray[Any]:
    """Voltage after one step of a current that starts at 1 and decays with `current_ms`; sound where both are equal."""
    x = step_ms * (1.0 / membrane_ms - 1.0 / current_ms)
    near, far = np.abs(x) < 1e-12, x > FAR
    growth = np.where(near, 1.0, np.expm1(np.minimum(x, FAR)) / np.where(near, 1.0, x))
    found: NDArray[Any] = np.exp(-step_ms / membrane_ms) * (step_ms / membrane_ms) * growth
    # exp(x) leaves the range of numbers before its product with exp(-step / membrane) does.
    apart = (np.exp(-step_ms / current_ms) - np.exp(-step_ms / membrane_ms)) * (step_ms / membrane_ms)
    return np.where(far, apart / np.where(far, x, 1.0), found)


@inlined
def integrate(voltage, drive, adaptation, rest, bias, leak, coupling, brake):  # type: ignore[no-untyped-def]
    """One step of the voltages between spikes; all arrays are (cells,)."""
    smallest, zero = voltage.dtype.type(SMALLEST), voltage.dtype.type(0)
    # One array is written by each loop: the compiler then proves that no other overlaps it, and uses vectors.
    for c in range(voltage.shape[0]):
        moved = bias[c] + (voltage[c] - bias[c]) * leak[c] + drive[c] * coupling[c] - adaptation[c] * brake[c]
        moved = zero if abs(moved) <= smallest else moved
        voltage[c] = moved if rest[c] == 0 else voltage[c]
    for c in range(rest.shape[0]):
        rest[c] = max(rest[c] - 1, 0)


@inlined
def decay(values, factor):  # type: ignore[no-untyped-def]
    """Multiply values (n,) by factors (n,)."""
    smallest, zero = values.dtype.type(SMALLEST), values.dtype.type(0)
    for c in range(values.shape[0]):
        left = values[c] * factor[c]
        values[c] = zero if abs(left) <= smallest else left


@kernel
def fade(values, factor, smallest):  # type: ignore[no-untyped-def]
    """Multiply values (n,) by one factor; what is then no larger than `smallest` becomes zero."""
    for c in range(values.shape[0]):
        left = values[c] * factor
        values[c] = left if abs(left) > smallest else 0


@inlined
def cross(voltage, adaptation, threshold, raised, above):  # type: ignore[no-untyped-def]
    """Write to `above` (cells,) whether each cell reaches its threshold; all arrays are (cells,)."""
    for c in range(voltage.shape[0]):
        above[c] = voltage[c] >= threshold[c] + raised[c] * adaptation[c]


@inlined
def note(fires, fired):  # type: ignore[no-untyped-def]
    """Write the places at which `fires` (units,) is not 0 to `fired`; returns their number."""
    count = 0
    # Most units are silent in most steps: eight are looked at together. Those that fire are picked out by arithmetic,
    # since nobody foresees which.
    words = fires[: fires.shape[0] // 8 * 8].view(np.uint64)
    for w in range(words.shape[0]):
        word = words[w]
        if word:
            left = (((word & LOW_BITS) + LOW_BITS) | word) & HIGH_BITS
            while left:
                lowest = left & (~left + ONE)
                fired[count] = 8 * w + np.int64(((lowest >> SEVEN) * PLACES) >> TOP_BYTE)
                count += 1
                left ^= lowest
    for i in range(8 * words.shape[0], fires.shape[0]):
        if fires[i]:
            fired[count] = i
            count += 1
    return count
