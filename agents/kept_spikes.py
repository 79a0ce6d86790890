"""The spikes of a reach, kept for whoever looks into a network; keeping them changes no number that it computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.networks.circuit_kernel import CircuitState
from agents.networks.spiking_circuit import SpikingCircuit

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
