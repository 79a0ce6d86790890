"""Read-outs of a spiking circuit: commands from antagonist populations, and recorded spikes for the display."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from reach.jit import kernel
from reach.snapshot import Population

Array = NDArray[np.float64]
# Bin width, longest reach, and number of bins in the displayed window.
BIN_MS, LONGEST_REACH_MS, WINDOW_BINS = 2, 3000, 500
JOINT_NAMES, MUSCLE_NAMES = ("shoulder", "elbow", "wrist"), ("flexors", "extensors")


class AntagonistReadout:
    """Compute joint commands from the rates of antagonist populations.

    The command of joint k is per_hz (mean rate of its flexor cells - mean rate of its extensor cells). This is a linear
    read-out (Salinas and Abbott 1994, J. Comput. Neurosci. 1:89) of rates filtered with `LIFCells.readout_ms`. Cells
    are ordered by joint, muscle (flexor, extensor), cell.

    Attributes:
        sign: (cells, joints) effect of each cell on each joint: 1 flexes, -1 extends, 0 elsewhere.
        weight: (cells, joints) command per Hz.
    """

    def __init__(self, joints: int, cells_per_muscle: int, per_hz: float) -> None:
        """Make the weights.

        Args:
            joints: number of commands, 1 or more.
            cells_per_muscle: number of cells of each of the 2 x joints populations, 1 or more.
            per_hz: command per difference of mean rates.
        """
        muscles = np.kron(np.eye(joints), np.array([[1.0], [-1.0]]))
        self.sign: Array = np.repeat(muscles, cells_per_muscle, axis=0)
        self.weight = self.sign * (per_hz / cells_per_muscle)

    def command(self, rate_hz: NDArray[Any]) -> Array:
        """Return the commands (joints,) for filtered rates (cells,) in Hz."""
        command = np.empty(self.weight.shape[1])
        read_out(rate_hz, self.weight, command)
        return command


@kernel
def read_out(rate_hz, weight, command):  # type: ignore[no-untyped-def]
    """Write rates (cells,) times weights (cells, joints) to `command` (joints,)."""
    for k in range(command.size):
        command[k] = 0.0
    for c in range(rate_hz.size):
        for k in range(command.size):
            command[k] += rate_hz[c] * weight[c, k]


@dataclass
class SpikeRecord:
    """The spikes of one reach so far. Recording does not change the results of the circuit.

    Attributes:
        spikes: (LONGEST_REACH_MS / BIN_MS, units) number of spikes per bin of 2 ms; the first `bins` rows are filled.
        bins: number of bins so far.
        rate_hz: (inputs,) rates of the sources in the latest step, Hz.
    """

    spikes: NDArray[np.uint8]
    bins: int = 0
    rate_hz: Array = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls, units: int) -> SpikeRecord:
        """Return an empty record for a number of units, that is, sources and cells."""
        return cls(np.zeros((LONGEST_REACH_MS // BIN_MS, units), dtype=np.uint8))

    def run(
        self,
        circuit: SpikingCircuit,
        state: CircuitState,
        rate_hz: Array,
        steps_ms: int,
        train: NDArray[np.uint8] | None = None,
    ) -> None:
        """Run a circuit bin by bin and record its spikes; the arguments are those of `SpikingCircuit.run`."""
        self.rate_hz = rate_hz
        for first in range(0, steps_ms, BIN_MS):
            before = state.spikes.copy()
            circuit.run(state, rate_hz, BIN_MS, None if train is None else train[first : first + BIN_MS])
            if self.bins == len(self.spikes):
                self.spikes[:-1] = self.spikes[1:]
                self.bins -= 1
            self.spikes[self.bins] = state.spikes - before
            self.bins += 1


def populations_of(
    record: SpikeRecord | None, circuit: SpikingCircuit, state: CircuitState, parts: dict[str, tuple[int, int]]
) -> tuple[Population, ...]:
    """Return the spikes of the last second and the present rates, by population.

    Args:
        record: record of the reach; None without a record.
        circuit, state: the network's circuit and its state.
        parts: first unit of each population and the unit after its last, by name; sources are the first units.
    """
    spikes = np.zeros((0, len(state.spikes)), np.uint8)
    source_hz = np.zeros(circuit.inputs)
    if record is not None:
        spikes = record.spikes[max(0, record.bins - WINDOW_BINS) : record.bins]
        source_hz = record.rate_hz if len(record.rate_hz) else source_hz
    rates = np.concatenate([source_hz, state.cells.rate_hz])
    return tuple(
        Population(name, spikes[:, first:last], float(np.mean(rates[first:last])))
        for name, (first, last) in parts.items()
    )


def muscle_parts(first: int, cells_per_muscle: int) -> dict[str, tuple[int, int]]:
    """Return first and end unit of each of six antagonist populations from unit `first` on, as in `populations_of`."""
    names = [f"{joint} {muscle}" for joint in JOINT_NAMES for muscle in MUSCLE_NAMES]
    return {name: (first + k * cells_per_muscle, first + (k + 1) * cells_per_muscle) for k, name in enumerate(names)}
