"""Read-outs: commands from the spikes of output cells.

Both read the spikes filtered by an exponential of `LIFCells.readout_ms`, in Hz: a difference of antagonist populations,
as flexors and extensors pull on a joint, or any linear sum (Salinas and Abbott 1994, J. Comput. Neurosci. 1:89).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState

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


# The spikes of a reach, kept for whoever looks into a network; keeping them changes no number that it computes.

if TYPE_CHECKING:
    from reach.snapshot import Population

# To this measure of time spikes are kept, how long a reach lasts at most, and how much of it is shown.
BIN_MS, LONGEST_REACH_MS, WINDOW_BINS = 2, 3000, 500
JOINTS, MUSCLES = ("shoulder", "elbow", "wrist"), ("flexors", "extensors")


@dataclass
class KeptSpikes:
    """The spikes of one reach so far.

    Attributes:
        spikes: (bins, units) in each bin of 2 ms; the first `bins` of them are over.
        rate_hz: (inputs,) of the sources in the latest step.
    """

    spikes: NDArray[np.uint8]
    bins: int = 0
    rate_hz: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def none_yet(cls, units: int) -> KeptSpikes:
        """At the start of a reach of a circuit with that many sources and cells."""
        return cls(np.zeros((LONGEST_REACH_MS // BIN_MS, units), dtype=np.uint8))

    def run(self, circuit: SpikingCircuit, state: CircuitState, rate_hz: NDArray[np.float64], steps_ms: int) -> None:
        """Run a circuit of steps of 1 ms in pieces so short that a cell hardly fires twice in one."""
        self.rate_hz = rate_hz
        for _ in range(steps_ms // BIN_MS):
            before = state.spikes.copy()
            circuit.run(state, rate_hz, BIN_MS)
            if self.bins == len(self.spikes):
                self.spikes[:-1] = self.spikes[1:]
                self.bins -= 1
            self.spikes[self.bins] = state.spikes - before
            self.bins += 1


def populations_of(
    kept: KeptSpikes | None, circuit: SpikingCircuit, state: CircuitState, parts: dict[str, tuple[int, int]]
) -> tuple[Population, ...]:
    """The last second of spikes, and present rates, by population.

    Args:
        kept: of the reach; None where none were kept.
        circuit, state: of the network.
        parts: by name, the first of a population's units and the one after its last, sources first.
    """
    from reach.snapshot import Population

    spikes = np.zeros((0, len(state.spikes)), np.uint8)
    sources = np.zeros(circuit.inputs)
    if kept is not None:
        spikes = kept.spikes[max(0, kept.bins - WINDOW_BINS) : kept.bins]
        sources = kept.rate_hz if len(kept.rate_hz) else sources
    rates = np.concatenate([sources, state.cells.rate_hz])
    return tuple(
        Population(name, spikes[:, first:last], float(np.mean(rates[first:last])))
        for name, (first, last) in parts.items()
    )


def muscle_parts(first: int, cells_per_muscle: int) -> dict[str, tuple[int, int]]:
    """The units of six antagonist populations, in the order of `antagonist_signs`, from unit `first` on."""
    names = [f"{joint} {muscle}" for joint in JOINTS for muscle in MUSCLES]
    return {name: (first + k * cells_per_muscle, first + (k + 1) * cells_per_muscle) for k, name in enumerate(names)}
