"""A layer of long short-term memory cells with readable gates (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

The sources z of a cell are the inputs, the previous output of the layer, and 1 for the bias. With a = W z for each
gate:

    i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
    c = f c_before + i g                  h = o tanh(c)

These are the equations of `torch.nn.LSTM`, computed in double precision for one control step at a time. The step is
compiled with Numba, because calling torch takes longer than the arithmetic of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.networks.sensory_cells import PlaceCells
from reach.jit import inlined, kernel

Array = NDArray[np.float64]

# Names of the gates, in the order of the weights of `torch.nn.LSTM`.
GATES = ("input", "forget", "candidate", "output")
# Initial bias of the forget gate: an open gate keeps the memory (Jozefowicz, Zaremba and Sutskever 2015, ICML 37:2342).
FORGET_BIAS = 1.0
# Number of cells of the network `lstm`.
CELLS = 64


@dataclass
class LSTMState:
    """The state of the cells during a reach.

    Attributes:
        sources: (inputs + cells + 1,), z in the latest step: inputs, previous output, 1.
        hidden: (cells,), h, the output of the cells in the latest step, in -1..1.
        memory: (cells,), c after the latest step.
        memory_before: (cells,), c before the latest step.
        gates: (4 x cells,), i, f, g and o in the latest step, in the order of `GATES`; zeros before the first step.
        inputs: list of the inputs (inputs,) of each step so far.
        traces: (inputs + cells + 1, 4 x cells), the eligibility trace of each synapse; None if the rule uses none.
    """

    sources: Array
    hidden: Array
    memory: Array
    memory_before: Array
    gates: Array
    inputs: list[Array] = field(default_factory=list)
    traces: Array | None = None

    def gate(self, name: str) -> Array:
        """Return a copy of the activity of a gate (cells,) in the latest step: in 0..1, or -1..1 for "candidate".

        Raises:
            ValueError: an unknown gate.
        """
        if name not in GATES:
            raise ValueError(f"gate: expected one of {list(GATES)}, got {name!r}")
        cells = len(self.hidden)
        first = GATES.index(name) * cells
        return self.gates[first : first + cells].copy()

    @property
    def forget_gate(self) -> Array:
        """Return the fraction of its memory that each cell retained in the latest step, (cells,), 0..1."""
        return self.gate("forget")


class LSTMCells:
    """A layer of LSTM cells: its size and weights. `LSTMState` holds its activity.

    Attributes:
        weights: (inputs + cells + 1, 4 x cells), the transpose of W: a row for each source, the bias last.
    """

    def __init__(self, inputs: int, cells: int, rng: np.random.Generator) -> None:
        """Draw the weights: SD 1/sqrt(inputs) for the inputs, 1/sqrt(cells) for the recurrent weights.

        Args:
            inputs, cells: number of inputs and of cells, 1 or more.
            rng: generator of the weights.

        Raises:
            ValueError: `inputs` or `cells` is below 1.
        """
        for name, value in (("inputs", inputs), ("cells", cells)):
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        self.inputs, self.cells = inputs, cells
        self.weights = np.zeros((inputs + cells + 1, 4 * cells))
        self.weight_ih[...] = rng.normal(0.0, 1.0 / math.sqrt(inputs), (4 * cells, inputs))
        self.weight_hh[...] = rng.normal(0.0, 1.0 / math.sqrt(cells), (4 * cells, cells))
        self.bias[cells : 2 * cells] = FORGET_BIAS

    @property
    def weight_ih(self) -> Array:
        """Return the input weights (4 x cells, inputs), a view in the layout of `torch.nn.LSTM`."""
        return self.weights[: self.inputs].T

    @property
    def weight_hh(self) -> Array:
        """Return the recurrent weights (4 x cells, cells), a view in the layout of `torch.nn.LSTM`."""
        return self.weights[self.inputs : -1].T

    @property
    def bias(self) -> Array:
        """Return the bias (4 x cells,), a view; it stands for the sum of the two biases of `torch.nn.LSTM`."""
        bias: Array = self.weights[-1]
        return bias

    def begin(self) -> LSTMState:
        """Return the state before the first step of a reach: zero output and memory."""
        sources = np.zeros(len(self.weights))
        sources[-1] = 1.0
        hidden, memory, before = np.zeros((3, self.cells))
        return LSTMState(sources, hidden, memory, before, gates=np.zeros(4 * self.cells))

    def advance(self, state: LSTMState, inputs: Array) -> Array:
        """Advance the state by one control step with inputs (inputs,); return the output (cells,), a view."""
        state.inputs.append(inputs)
        state.memory_before[:] = state.memory
        advance(self.weights, inputs, state.sources, state.hidden, state.memory, state.gates)
        return state.hidden


def place_lstm(rng: np.random.Generator, lamps: int = 0) -> tuple[PlaceCells, LSTMCells]:
    """Return the network `lstm`: place cells for the cup and lamps, and an LSTM layer that they feed."""
    place_cells = PlaceCells(lamps)
    return place_cells, LSTMCells(place_cells.size, CELLS, rng)


@inlined
def sigmoid(value):  # type: ignore[no-untyped-def]
    """Return the logistic function, 1 / (1 + exp(-value))."""
    return 1.0 / (1.0 + math.exp(-value))


@kernel
def advance(weights, inputs, sources, hidden, memory, gates):  # type: ignore[no-untyped-def]
    """Advance the cells by one step: write `sources` and `gates`, update `hidden` and `memory`."""
    num_inputs, cells = len(inputs), len(hidden)
    for row in range(num_inputs):
        sources[row] = inputs[row]
    for k in range(cells):
        sources[num_inputs + k] = hidden[k]
    for column in range(4 * cells):
        gates[column] = 0.0
    # Sources in the outer loop: the order of each sum is fixed, and the inner loop vectorises.
    for row in range(len(sources)):
        source = sources[row]
        for column in range(4 * cells):
            gates[column] += source * weights[row, column]
    for k in range(cells):
        gates[k] = sigmoid(gates[k])
        gates[cells + k] = sigmoid(gates[cells + k])
        gates[2 * cells + k] = math.tanh(gates[2 * cells + k])
        gates[3 * cells + k] = sigmoid(gates[3 * cells + k])
        memory[k] = gates[cells + k] * memory[k] + gates[k] * gates[2 * cells + k]
        hidden[k] = gates[3 * cells + k] * math.tanh(memory[k])
