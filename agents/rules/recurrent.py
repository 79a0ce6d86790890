"""The rules for recurrent (LSTM) cells: back-propagation through time, e-prop, and the control `shallow`.

A rule turns the signal that reaches each cell, at the step that is taught, into a step of the cells' weights. With the
route "backward" the signal is the error times the read-out's weights, with "broadcast" the error times fixed random
weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.jit import allocating_kernel
from agents.networks.lstm import LSTMCells, LSTMState, advance
from agents.rules.rule import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentEligible:
    """What may change, as of one step.

    Attributes:
        inputs: (steps, inputs), all inputs so far.
        hidden: (cells,), the output of the cells now.
        eligibility: (sources, 4 x cells) of each synapse, if the rule keeps traces; else None.
    """

    inputs: Array
    hidden: Array
    eligibility: Array | None


class RecurrentRule(Rule):
    """A rule for LSTM cells. This base class changes no hidden synapse."""

    cells = "recurrent"

    def advance_traces(self, state: LSTMState) -> None:
        """Advance eligibility traces by the step that the cells have just made. Most rules keep none."""

    def eligible(self, state: LSTMState) -> RecurrentEligible:
        """Return what may change as of the latest step, as copies."""
        return RecurrentEligible(np.array(state.inputs), state.hidden.copy(), None)

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array | None:
        """Return the step of the weights (sources, 4 x cells) for a signal (cells,); None for none."""
        return None

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return the multiply-accumulates of one step beyond those of the traces."""
        return 0


class BackpropagationThroughTime(RecurrentRule):
    """The gradient through all steps of a reach and all cells (Werbos 1990, Proc. IEEE 78:1550).

    A synapse changes by the sum over steps of d z. z is what it carries, and d the effect of its cell's gate on the
    signal at the last step, carried back from step to step. The rule needs all inputs of the reach and the transposed
    weights.
    """

    name = "bp"
    route = "backward"

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
        """Return the gradient of signal x output with respect to the weights, (sources, 4 x cells)."""
        step = np.zeros_like(cells.weights)
        _back_through_time(cells.weights, eligible.inputs, signal, step)
        return step

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return one for each synapse and one more for each recurrent synapse, at each step of the reach."""
        recurrent = len(eligible.hidden) * cells.weights.shape[1]
        return len(eligible.inputs) * (cells.weights.size + recurrent)


class EProp(RecurrentRule):
    """E-prop with random feedback (Bellec, Scherr et al. 2020, Nature Communications 11:3625).

    Each synapse keeps an eligibility trace forward in time, and changes by B e x eligibility, with e the error of the
    read-out at the step that is taught and B fixed and random. The trace holds the synapse's effect on the memory of
    its own cell, and decays by that cell's forget gate; its effect on other cells is left out. With z what the synapses
    carry and the gates i, f, g, o of `agents.networks.lstm`, the trace of a synapse to the gate A is

        epsilon_A = f epsilon_A + D_A z,   D_i = g i (1 - i),  D_f = c_before f (1 - f),  D_g = i (1 - g^2)

    and its eligibility o (1 - tanh(c)^2) epsilon_A. The output gate acts on no memory: the eligibility of its synapses
    is tanh(c) o (1 - o) z of the present step.
    """

    name = "eprop"
    aliases = ("dfa",)
    route = "broadcast"
    probes = ("modulator", "alignment", "eligibility")

    def advance_traces(self, state: LSTMState) -> None:
        """Advance the traces by the step that the cells have just made."""
        if state.traces is None:
            state.traces = np.zeros((len(state.sources), len(state.gates)))
        _advance_traces(state.traces, state.sources, state.gates, state.memory_before, state.memory)

    def eligible(self, state: LSTMState) -> RecurrentEligible:
        """Return what may change as of the latest step, with the eligibility of every synapse, as copies."""
        assert state.traces is not None
        opened = state.gate("output") * (1.0 - np.tanh(state.memory) ** 2)
        eligibility = state.traces * np.concatenate([opened, opened, opened, np.ones_like(opened)])
        return replace(super().eligible(state), eligibility=eligibility)

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
        """Return the signal to each cell times the eligibility of its synapses, (sources, 4 x cells)."""
        assert eligible.eligibility is not None
        step: Array = eligible.eligibility * np.tile(signal, 4)
        return step

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return one for each synapse."""
        return cells.weights.size


class ShallowRecurrent(RecurrentRule):
    """Recurrent cells have no modulator and stay as they were drawn; the read-out learns."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)
    probes = ("modulator",)


@allocating_kernel
def _back_through_time(weights, inputs, signal, step):  # type: ignore[no-untyped-def]
    """Add the gradient of signal x output to `step`, in the shape of the weights; the reach is computed again."""
    steps, first, cells = inputs.shape[0], inputs.shape[1], len(signal)
    sources = np.zeros((steps, first + cells + 1))
    gates = np.empty((steps, 4 * cells))
    memories = np.zeros((steps + 1, cells))
    hidden = np.zeros(cells)
    for t in range(steps):
        sources[t, -1] = 1.0
        memories[t + 1] = memories[t]
        advance(weights, inputs[t], sources[t], hidden, memories[t + 1], gates[t])
    by_hidden = signal.copy()
    by_memory = np.zeros(cells)
    by_gate = np.empty(4 * cells)
    for t in range(steps - 1, -1, -1):
        for k in range(cells):
            i, f, g, o = gates[t, k], gates[t, cells + k], gates[t, 2 * cells + k], gates[t, 3 * cells + k]
            squashed = math.tanh(memories[t + 1, k])
            by_memory[k] += by_hidden[k] * o * (1.0 - squashed * squashed)
            by_gate[k] = by_memory[k] * g * i * (1.0 - i)
            by_gate[cells + k] = by_memory[k] * memories[t, k] * f * (1.0 - f)
            by_gate[2 * cells + k] = by_memory[k] * i * (1.0 - g * g)
            by_gate[3 * cells + k] = by_hidden[k] * squashed * o * (1.0 - o)
            by_memory[k] *= f
        for row in range(first + cells + 1):
            value = sources[t, row]
            for column in range(4 * cells):
                step[row, column] += value * by_gate[column]
        for k in range(cells):
            # Four independent sums, one for each gate, run in parallel in the processor.
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(cells):
                a += weights[first + k, j] * by_gate[j]
                b += weights[first + k, cells + j] * by_gate[cells + j]
                c += weights[first + k, 2 * cells + j] * by_gate[2 * cells + j]
                d += weights[first + k, 3 * cells + j] * by_gate[3 * cells + j]
            by_hidden[k] = (a + b) + (c + d)


@allocating_kernel
def _advance_traces(traces, sources, gates, memory_before, memory):  # type: ignore[no-untyped-def]
    """Advance traces (sources, 4 x cells) in place; the docstring of `EProp` has the equations."""
    cells = len(memory)
    decay = np.zeros(4 * cells)
    slope = np.empty(4 * cells)
    for k in range(cells):
        i, f, g, o = gates[k], gates[cells + k], gates[2 * cells + k], gates[3 * cells + k]
        decay[k] = decay[cells + k] = decay[2 * cells + k] = f
        slope[k] = g * i * (1.0 - i)
        slope[cells + k] = memory_before[k] * f * (1.0 - f)
        slope[2 * cells + k] = i * (1.0 - g * g)
        slope[3 * cells + k] = math.tanh(memory[k]) * o * (1.0 - o)
    for row in range(len(sources)):
        value = sources[row]
        for column in range(4 * cells):
            traces[row, column] = decay[column] * traces[row, column] + slope[column] * value
