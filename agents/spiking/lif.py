"""Leaky integrate-and-fire (LIF) cells with exponential synaptic currents, integrated exactly in steps of 1 ms.

    membrane_ms dv/dt = bias + g - v        (v is held at `reset` while the cell is refractory)
    synapse_ms dg/dt = -g                   (g grows by the weight of each spike that arrives)
    a cell with v >= threshold fires, and v = reset

The equations are linear between spikes, so each step is a multiplication by exponentials (Rotter and Diesmann 1999,
Biological Cybernetics 81:381). Only spike times are restricted to the grid of steps. Voltages and weights are in units
of the distance from rest to the usual threshold. `AntagonistReadout` computes commands from the rates of cells. This
module does not depend on synapses or learning rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.settings import FINITE, Setting, check_fields
from reach.jit import kernel

STEP_MS = 1.0
# Valid time constants, ms; the lower bound is far below the time constant of any cell.
TIME_CONSTANT = Setting(1e-3)
COUNT_FROM_1 = Setting(1, is_integer=True)
# A number for all cells, or a range (low, high) from which a value for each cell is drawn uniformly.
Spread = float | tuple[float, float]

JOINT_NAMES, MUSCLE_NAMES = ("shoulder", "elbow", "wrist"), ("flexors", "extensors")

# Largest exponent for which expm1 is used; above it, two exponentials are subtracted.
LARGEST_EXPONENT = 30.0
# Decaying values below this are set to zero, because computing with denormal numbers (below 1e-38) is 100 times slower.
SMALLEST = 1e-30


@dataclass(frozen=True)
class LIFCells:
    """Settings of one population. A `Spread` is a number, or a range from which a value per cell is drawn uniformly.

    Attributes:
        size: number of cells, 1 or more.
        inhibitory: number of inhibitory cells under Dale's law. They are the last cells; the others are excitatory.
            None if cells may have outgoing weights of both signs.
        membrane_ms, synapse_ms: time constants, ms.
        threshold, reset, bias: voltages; `reset` is below `threshold`.
        first_voltage: voltage at the start of a run.
        refractory_steps: steps from a spike to the first step that integrates again, 1 or more.
        readout_ms: time constant of the filtered firing rate that a read-out uses, ms.

    Raises:
        ValueError: a setting is out of range.
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
    readout_ms: float = 100.0

    def __post_init__(self) -> None:
        """Validate the settings."""
        check_fields(self, size=COUNT_FROM_1, refractory_steps=COUNT_FROM_1)
        check_fields(self, inhibitory=Setting(0, self.size, is_integer=True, allowed=(None,)), readout_ms=TIME_CONSTANT)
        check_fields(self, **dict.fromkeys(("membrane_ms", "synapse_ms"), replace(TIME_CONSTANT, allows_range=True)))
        voltage = replace(FINITE, allows_range=True)
        check_fields(self, threshold=voltage, reset=voltage, bias=voltage, first_voltage=voltage)
        if not np.max(self.reset) < np.min(self.threshold):
            raise ValueError(
                f"LIFCells reset: expected a voltage below the threshold {self.threshold!r}, got {self.reset!r}"
            )

    def signs(self) -> NDArray[np.int8]:
        """Return the sign of each cell's outgoing weights, (size,): 1, -1, or 0 for either."""
        signs = np.zeros(self.size, dtype=np.int8)
        if self.inhibitory is not None:
            signs[:] = 1
            signs[self.size - self.inhibitory :] = -1
        return signs


def _drawn(value: Spread, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a value for each cell, (size,): the same for all, or drawn uniformly from a range."""
    if isinstance(value, tuple):
        return rng.uniform(value[0], value[1], size)
    return np.full(size, float(value))


class Cells(NamedTuple):
    """The constants of all cells, population after population; arrays (cells,).

    Attributes:
        bias, threshold, reset, first_voltage, refractory_steps: as in `LIFCells`.
        leak: factor per step of the voltage's distance from `bias`.
        drive_decay: factor per step of the synaptic drive g.
        coupling: voltage that a drive of 1 adds per step.
        readout_decay: factor per step of the filtered rate.
        readout_step: increment of the filtered rate by a spike, Hz.
    """

    bias: NDArray[Any]
    leak: NDArray[Any]
    threshold: NDArray[Any]
    reset: NDArray[Any]
    first_voltage: NDArray[Any]
    drive_decay: NDArray[Any]
    coupling: NDArray[Any]
    readout_decay: NDArray[Any]
    readout_step: NDArray[Any]
    refractory_steps: NDArray[np.int32]


class CellState(NamedTuple):
    """The variables of all cells; arrays (cells,).

    Attributes:
        voltage: v.
        drive: synaptic drive g.
        rate_hz: filtered firing rate, Hz.
        refractory_left: remaining refractory steps.
    """

    voltage: NDArray[Any]
    drive: NDArray[Any]
    rate_hz: NDArray[Any]
    refractory_left: NDArray[np.int32]


def draw_cells(populations: Sequence[LIFCells], rng: np.random.Generator, dtype: Any) -> Cells:
    """Draw the constants of the cells of several populations, setting by setting in the order of `LIFCells`."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in Cells._fields}
    for cells in populations:
        membrane_ms = _drawn(cells.membrane_ms, cells.size, rng)
        synapse_ms = _drawn(cells.synapse_ms, cells.size, rng)
        values = {name: _drawn(getattr(cells, name), cells.size, rng) for name in ("threshold", "reset", "bias")}
        values |= {
            "first_voltage": _drawn(cells.first_voltage, cells.size, rng),
            "leak": np.exp(-STEP_MS / membrane_ms),
            "drive_decay": np.exp(-STEP_MS / synapse_ms),
            "coupling": _coupling(membrane_ms, synapse_ms),
            "readout_decay": np.full(cells.size, math.exp(-STEP_MS / cells.readout_ms)),
            "readout_step": np.full(cells.size, 1000.0 / cells.readout_ms),
            "refractory_steps": np.full(cells.size, cells.refractory_steps),
        }
        for name, column in columns.items():
            column.append(values[name])
    return Cells(
        **{
            name: np.concatenate(column).astype(np.int32 if name == "refractory_steps" else dtype)
            for name, column in columns.items()
        }
    )


def _coupling(membrane_ms: NDArray[Any], synapse_ms: NDArray[Any]) -> NDArray[Any]:
    """Return the voltage that a drive of 1 causes after one step; exact for equal time constants too."""
    x = STEP_MS * (1.0 / membrane_ms - 1.0 / synapse_ms)
    is_zero, is_large = np.abs(x) < 1e-12, x > LARGEST_EXPONENT
    growth = np.where(is_zero, 1.0, np.expm1(np.minimum(x, LARGEST_EXPONENT)) / np.where(is_zero, 1.0, x))
    product: NDArray[Any] = np.exp(-STEP_MS / membrane_ms) * (STEP_MS / membrane_ms) * growth
    # For a large x, exp(x) overflows although its product with exp(-step / membrane) is finite.
    difference = (np.exp(-STEP_MS / synapse_ms) - np.exp(-STEP_MS / membrane_ms)) * (STEP_MS / membrane_ms)
    return np.where(is_large, difference / np.where(is_large, x, 1.0), product)


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
        self.sign: NDArray[np.float64] = np.repeat(muscles, cells_per_muscle, axis=0)
        self.weight = self.sign * (per_hz / cells_per_muscle)

    def command(self, rate_hz: NDArray[Any]) -> NDArray[np.float64]:
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


def muscle_parts(first: int, cells_per_muscle: int) -> dict[str, tuple[int, int]]:
    """Return first and end unit of each of six antagonist populations from unit `first` on, as in `populations_of`."""
    names = [f"{joint} {muscle}" for joint in JOINT_NAMES for muscle in MUSCLE_NAMES]
    return {name: (first + k * cells_per_muscle, first + (k + 1) * cells_per_muscle) for k, name in enumerate(names)}
