"""How an error reaches the synapses of recurrent cells: `bp`, `dfa` and the control `shallow`.

A synapse changes by rate x modulator x eligibility. With e the error of the read-out at the step that is taught, z what
the synapses carry and d the effect of a cell's gates on what the read-out hears:

| rule | change of a synapse | source |
|---|---|---|
| `bp` | sum over steps of d z, with d carried back from step to step through all cells | Werbos 1990, Proc. IEEE 78 |
| `dfa` | B e x eligibility | Bellec, Scherr et al. 2020, Nature Communications 11:3625 |
| `shallow` | none | |

`bp` needs the whole course of the reach and the transposed weights. `dfa` is e-prop with random feedback: a synapse
keeps a trace of what it did to its own cell's memory, carried *forward* in time by that cell's own forget gate, and
what it did to other cells on the way is left out. For a gate A with slope a_A the trace follows

    epsilon_A = f epsilon_A + D_A z,   D_i = g i (1 - i),  D_f = c_before f (1 - f),  D_g = i (1 - g^2)

and the eligibility is o (1 - tanh(c)^2) epsilon_A; that of the output gate, which touches no memory, is
tanh(c) o (1 - o) z of the present step alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.compiled import allocating_kernel
from agents.networks.lstm import LSTMCells, LSTMState, advance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentEligible:
    """What may change, as of one step.

    Attributes:
        inputs: (steps, inputs), all that came in until then.
        hidden: (cells,), what the cells gave then.
        eligibility: (heard, 4 x cells) of each synapse, where the rule carries it forward.
    """

    inputs: Array
    hidden: Array
    eligibility: Array | None


@dataclass(frozen=True)
class RecurrentRule:
    """A rule.

    Attributes:
        name: in the registry.
        forward: whether synapses carry traces forward in time.
        broadcast: whether the error comes through fixed random weights, and not through the read-out's own.
        step: of the weights, from the cells, what is eligible, and a signal (cells,) for what each cell gave; None
            where the cells' synapses do not learn.
    """

    name: str
    forward: bool
    broadcast: bool
    step: Callable[[LSTMCells, RecurrentEligible, Array], Array] | None

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Multiply-accumulates of one step beyond the traces: of a broadcast, one a synapse; of the gradient, at each
        step of the reach one a synapse and one more where the error goes back through the recurrent ones.
        """
        if self.forward:
            return cells.weights.size
        recurrent = len(eligible.hidden) * cells.weights.shape[1]
        return len(eligible.inputs) * (cells.weights.size + recurrent)


def carry_forward(state: LSTMState) -> None:
    """Move the traces on by the step that the cells have just made."""
    if state.traces is None:
        state.traces = np.zeros((len(state.heard), len(state.gates)))
    _carry_forward(state.traces, state.heard, state.gates, state.memory_before, state.memory)


def eligible_now(state: LSTMState) -> RecurrentEligible:
    """What may change as of the latest step; copies."""
    eligibility = None
    if state.traces is not None:
        opened = state.gate("output") * (1.0 - np.tanh(state.memory) ** 2)
        eligibility = state.traces * np.concatenate([opened, opened, opened, np.ones_like(opened)])
    return RecurrentEligible(np.array(state.inputs), state.hidden.copy(), eligibility)


def back_through_time(cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
    """bp: the gradient of signal x output by the weights, (heard, 4 x cells), through all steps and cells."""
    step = np.zeros_like(cells.weights)
    _back_through_time(cells.weights, eligible.inputs, signal, step)
    return step


def broadcast_times_eligibility(cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
    """dfa: the signal to each cell times the eligibility of its synapses."""
    assert eligible.eligibility is not None
    step: Array = eligible.eligibility * np.tile(signal, 4)
    return step


RECURRENT_RULES: dict[str, RecurrentRule] = {
    rule.name: rule
    for rule in (
        RecurrentRule("bp", False, False, back_through_time),
        RecurrentRule("dfa", True, True, broadcast_times_eligibility),
        RecurrentRule("shallow", False, False, None),
    )
}


def recurrent_rule(name: str) -> RecurrentRule:
    """The rule of a name.

    Raises:
        ValueError: an unknown name, or a rule that only layers without recurrence have.
    """
    if name not in RECURRENT_RULES:
        raise ValueError(f"rule is {name!r}; {list(RECURRENT_RULES)} are allowed for recurrent cells")
    return RECURRENT_RULES[name]


@allocating_kernel
def _carry_forward(traces, heard, gates, memory_before, memory):  # type: ignore[no-untyped-def]
    cells = len(memory)
    kept = np.zeros(4 * cells)
    added = np.empty(4 * cells)
    for k in range(cells):
        i, f, g, o = gates[k], gates[cells + k], gates[2 * cells + k], gates[3 * cells + k]
        kept[k] = kept[cells + k] = kept[2 * cells + k] = f
        added[k] = g * i * (1.0 - i)
        added[cells + k] = memory_before[k] * f * (1.0 - f)
        added[2 * cells + k] = i * (1.0 - g * g)
        added[3 * cells + k] = math.tanh(memory[k]) * o * (1.0 - o)
    for row in range(len(heard)):
        value = heard[row]
        for column in range(4 * cells):
            traces[row, column] = kept[column] * traces[row, column] + added[column] * value


@allocating_kernel
def _back_through_time(weights, inputs, signal, step):  # type: ignore[no-untyped-def]
    steps, first, cells = inputs.shape[0], inputs.shape[1], len(signal)
    heard = np.zeros((steps, first + cells + 1))
    gates = np.empty((steps, 4 * cells))
    memories = np.zeros((steps + 1, cells))
    hidden = np.zeros(cells)
    for t in range(steps):
        heard[t, -1] = 1.0
        memories[t + 1] = memories[t]
        advance(weights, inputs[t], heard[t], hidden, memories[t + 1], gates[t])
    by_hidden = signal.copy()
    by_memory = np.zeros(cells)
    by_gate = np.empty(4 * cells)
    for t in range(steps - 1, -1, -1):
        for k in range(cells):
            i, f, g, o = gates[t, k], gates[t, cells + k], gates[t, 2 * cells + k], gates[t, 3 * cells + k]
            shown = math.tanh(memories[t + 1, k])
            by_memory[k] += by_hidden[k] * o * (1.0 - shown * shown)
            by_gate[k] = by_memory[k] * g * i * (1.0 - i)
            by_gate[cells + k] = by_memory[k] * memories[t, k] * f * (1.0 - f)
            by_gate[2 * cells + k] = by_memory[k] * i * (1.0 - g * g)
            by_gate[3 * cells + k] = by_hidden[k] * shown * o * (1.0 - o)
            by_memory[k] *= f
        for row in range(first + cells + 1):
            value = heard[t, row]
            for column in range(4 * cells):
                step[row, column] += value * by_gate[column]
        for k in range(cells):
            # Four sums side by side, one for each gate, do not wait for each other.
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(cells):
                a += weights[first + k, j] * by_gate[j]
                b += weights[first + k, cells + j] * by_gate[cells + j]
                c += weights[first + k, 2 * cells + j] * by_gate[2 * cells + j]
                d += weights[first + k, 3 * cells + j] * by_gate[3 * cells + j]
            by_hidden[k] = (a + b) + (c + d)
