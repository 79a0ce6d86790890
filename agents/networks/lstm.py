"""A layer of long short-term memory cells whose gates can be read out (Hochreiter and Schmidhuber 1997; Gers 2000).

With z the activities of all that a cell hears - inputs, the layer's own output of the step before, and 1 for the bias -
and a = W z for each gate:

    i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)
    c = f c_before + i g                  h = o tanh(c)

What it computes is `torch.nn.LSTM`'s, in double precision and one control step at a time; compiled, because a step of
torch's costs more than the whole sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import inlined, kernel

Array = NDArray[np.float64]

# In the order of torch's weights.
GATES = ("input", "forget", "candidate", "output")
# A forget gate that starts open keeps what comes in (Jozefowicz, Zaremba and Sutskever 2015, ICML 37:2342).
FORGET_BIAS = 1.0


@dataclass
class LSTMState:
    """The cells in the course of a reach.

    Attributes:
        heard: (inputs + cells + 1,), what the synapses carried in the latest step; the last is 1.
        hidden: (cells,), what the cells gave in the latest step, in -1..1.
        memory: (cells,), what they hold; `memory_before` is that of the step before.
        gates: (4 x cells,), one gate after the other as in `GATES`; zeros before the first step.
        inputs: (inputs,) of every step so far.
        traces: (inputs + cells + 1, 4 x cells), the eligibility of each synapse, where a rule asks for it.
    """

    heard: Array
    hidden: Array
    memory: Array
    memory_before: Array
    gates: Array
    inputs: list[Array] = field(default_factory=list)
    traces: Array | None = None

    def gate(self, name: str) -> Array:
        """A gate (cells,) in the latest step, a copy: 0..1, the "candidate" -1..1.

        Raises:
            ValueError: an unknown gate.
        """
        if name not in GATES:
            raise ValueError(f"gate is {name!r}; {list(GATES)} are allowed")
        cells = len(self.hidden)
        first = GATES.index(name) * cells
        return self.gates[first : first + cells].copy()

    @property
    def forget_gate(self) -> Array:
        """(cells,), the share 0..1 of its memory that each cell kept in the latest step: 1 keeps it, 0 loses it."""
        return self.gate("forget")


class LSTMCells:
    """Cells and their synapses.

    Attributes:
        weights: (inputs + cells + 1, 4 x cells), a row for all that is heard, the bias last.
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
                raise ValueError(f"{name} is {value}; 1 or more is allowed")
        self.inputs, self.cells = inputs, cells
        self.weights = np.zeros((inputs + cells + 1, 4 * cells))
        self.weight_ih[...] = rng.normal(0.0, 1.0 / math.sqrt(inputs), (4 * cells, inputs))
        self.weight_hh[...] = rng.normal(0.0, 1.0 / math.sqrt(cells), (4 * cells, cells))
        self.bias[cells : 2 * cells] = FORGET_BIAS

    @property
    def weight_ih(self) -> Array:
        """(4 x cells, inputs), a view, as `torch.nn.LSTM` has it."""
        return self.weights[: self.inputs].T

    @property
    def weight_hh(self) -> Array:
        """(4 x cells, cells), a view, as `torch.nn.LSTM` has it."""
        return self.weights[self.inputs : -1].T

    @property
    def bias(self) -> Array:
        """(4 x cells,), a view; the sum of torch's two."""
        bias: Array = self.weights[-1]
        return bias

    def begin(self) -> LSTMState:
        """Nothing held and nothing given."""
        heard = np.zeros(len(self.weights))
        heard[-1] = 1.0
        hidden, memory, before = np.zeros((3, self.cells))
        return LSTMState(heard, hidden, memory, before, gates=np.zeros(4 * self.cells))

    def advance(self, state: LSTMState, inputs: Array) -> Array:
        """One control step with inputs (inputs,), in place; the cells' output (cells,), a view."""
        state.inputs.append(inputs)
        state.memory_before[:] = state.memory
        advance(self.weights, inputs, state.heard, state.hidden, state.memory, state.gates)
        return state.hidden


@inlined
def sigmoid(value):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-value)."""
    return 1.0 / (1.0 + math.exp(-value))


@kernel
def advance(weights, inputs, heard, hidden, memory, gates):  # type: ignore[no-untyped-def]
    """One step of cells: fills `heard` and `gates`, and moves `hidden` and `memory` on."""
    first, cells = len(inputs), len(hidden)
    for row in range(first):
        heard[row] = inputs[row]
    for k in range(cells):
        heard[first + k] = hidden[k]
    for column in range(4 * cells):
        gates[column] = 0.0
    # Row by row, so that the sum over what is heard has one order and many cells are summed at once.
    for row in range(len(heard)):
        value = heard[row]
        for column in range(4 * cells):
            gates[column] += value * weights[row, column]
    for k in range(cells):
        gates[k] = sigmoid(gates[k])
        gates[cells + k] = sigmoid(gates[cells + k])
        gates[2 * cells + k] = math.tanh(gates[2 * cells + k])
        gates[3 * cells + k] = sigmoid(gates[3 * cells + k])
        memory[k] = gates[cells + k] * memory[k] + gates[k] * gates[2 * cells + k]
        hidden[k] = gates[3 * cells + k] * math.tanh(memory[k])
