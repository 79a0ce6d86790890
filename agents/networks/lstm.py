"""A layer of long short-term memory cells whose gates can be read (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

With z the activities of all sources of a cell - inputs, the layer's own output of the step before, and 1 for the bias -
and a = W z for each gate:

    i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
    c = f c_before + i g                  h = o tanh(c)

These are the equations of `torch.nn.LSTM`, in double precision and one control step at a time. The step is compiled,
since the overhead of a step of torch's is larger than the whole sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.networks.sensory_cells import PlaceCells
from reach.jit import inlined, kernel

Array = NDArray[np.float64]

# In the order of torch's weights.
GATES = ("input", "forget", "candidate", "output")
# A forget gate that starts open keeps the memory (Jozefowicz, Zaremba and Sutskever 2015, ICML 37:2342).
FORGET_BIAS = 1.0
# Of the network `lstm`.
CELLS = 64


@dataclass
class LSTMState:
    """The state of the cells during a reach.

    Attributes:
        sources: (inputs + cells + 1,), what the synapses carried in the latest step; the last is 1.
        hidden: (cells,), the output of the cells in the latest step, in -1..1.
        memory: (cells,), c; `memory_before` is that of the step before.
        gates: (4 x cells,), one gate after the other as in `GATES`; zeros before the first step.
        inputs: (inputs,) of every step so far.
        traces: (inputs + cells + 1, 4 x cells), the eligibility trace of each synapse, if the rule keeps traces.
    """

    sources: Array
    hidden: Array
    memory: Array
    memory_before: Array
    gates: Array
    inputs: list[Array] = field(default_factory=list)
    traces: Array | None = None

    def gate(self, name: str) -> Array:
        """Return a copy of a gate (cells,) in the latest step: 0..1, the "candidate" -1..1.

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
        """Return the fraction, 0 to 1, of its memory that each cell retained in the latest step, (cells,)."""
        return self.gate("forget")


class LSTMCells:
    """Cells and their synapses.

    Attributes:
        weights: (inputs + cells + 1, 4 x cells), a row for each source, the bias last.
    """

    def __init__(self, inputs: int, cells: int, rng: np.random.Generator) -> None:
        """Draw the weights: SD 1/sqrt(fan in) for the inputs and for the layer's own output.

        Args:
            inputs, cells: numbers, 1 or more.
            rng: source of the weights.

        Raises:
            ValueError: a layer without inputs or cells.
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
        """Return the bias (4 x cells,), a view: the sum of the two biases of `torch.nn.LSTM`."""
        bias: Array = self.weights[-1]
        return bias

    def begin(self) -> LSTMState:
        """Return the state at rest."""
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


def place_lstm(rng: np.random.Generator) -> tuple[PlaceCells, LSTMCells]:
    """Return place cells of the cup, and LSTM cells."""
    cells = PlaceCells()
    return cells, LSTMCells(cells.size, CELLS, rng)


@inlined
def sigmoid(value):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-value)."""
    return 1.0 / (1.0 + math.exp(-value))


@kernel
def advance(weights, inputs, sources, hidden, memory, gates):  # type: ignore[no-untyped-def]
    """Advance cells by one step: fill `sources` and `gates`, update `hidden` and `memory`."""
    first, cells = len(inputs), len(hidden)
    for row in range(first):
        sources[row] = inputs[row]
    for k in range(cells):
        sources[first + k] = hidden[k]
    for column in range(4 * cells):
        gates[column] = 0.0
    # Row by row: the sum over sources has one order, and the inner loop runs as vector instructions.
    for row in range(len(sources)):
        value = sources[row]
        for column in range(4 * cells):
            gates[column] += value * weights[row, column]
    for k in range(cells):
        gates[k] = sigmoid(gates[k])
        gates[cells + k] = sigmoid(gates[cells + k])
        gates[2 * cells + k] = math.tanh(gates[2 * cells + k])
        gates[3 * cells + k] = sigmoid(gates[3 * cells + k])
        memory[k] = gates[cells + k] * memory[k] + gates[k] * gates[2 * cells + k]
        hidden[k] = gates[3 * cells + k] * math.tanh(memory[k])
