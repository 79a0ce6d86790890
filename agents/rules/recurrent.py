"""Learning rules for recurrent (LSTM) cells: back-propagation through time, e-prop, and the control `shallow`.

A rule computes a weight change from the learning signal of each cell at the control step to which the error belongs.
The signal is the error times the read-out's weights for the route "backward", and the error times fixed random weights
for the route "broadcast".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.networks.lstm import LSTMCells, LSTMState, advance
from agents.rules.rule import Rule
from reach.jit import allocating_kernel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentEligible:
    """Data from which a weight change is computed, as of one control step of a reach.

    Attributes:
        inputs: (steps, inputs), all inputs of the reach so far.
        hidden: (cells,), output of the cells at this step.
        eligibility: (sources, 4 x cells), eligibility of each synapse; None for a rule without traces.
    """

    inputs: Array
    hidden: Array
    eligibility: Array | None


class RecurrentRule(Rule):
    """Base class of rules for LSTM cells; by default LSTM weights do not change."""

    cells = "recurrent"

    def advance_traces(self, state: LSTMState) -> None:
        """Advance the eligibility traces by the cells' latest step; do nothing for a rule without traces."""

    def eligible(self, state: LSTMState) -> RecurrentEligible:
        """Return copies of the data from which a weight change at the latest step is computed."""
        return RecurrentEligible(np.array(state.inputs), state.hidden.copy(), None)

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array | None:
        """Return the change of the weights, (sources, 4 x cells), for a signal (cells,); None for no change."""
        return None

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return the number of multiply-accumulates of `step`, without those of the traces."""
        return 0


class BackpropagationThroughTime(RecurrentRule):
    """The gradient through all steps of a reach and all cells (Werbos 1990, Proc. IEEE 78:1550).

    A synapse changes by the sum of d z over steps, where z is the input of the synapse. d is the gradient of signal x
    output at the last step with respect to the drive of the gate that the synapse feeds, propagated back from step to
    step. The rule needs all inputs of the reach and the transposed weights.
    """

    name = "bp"
    route = "backward"

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
        """Return the gradient of signal x output with respect to the weights, (sources, 4 x cells)."""
        step = np.zeros_like(cells.weights)
        _back_through_time(cells.weights, eligible.inputs, signal, step)
        return step

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return the multiply-accumulates: one per synapse and one more per recurrent synapse, at each past step."""
        recurrent = len(eligible.hidden) * cells.weights.shape[1]
        return len(eligible.inputs) * (cells.weights.size + recurrent)


class EProp(RecurrentRule):
    """E-prop with random feedback (Bellec, Scherr et al. 2020, Nature Communications 11:3625).

    Each synapse changes by B e x eligibility, where B is fixed and random and e is the error of the read-out, at the
    step to which the error belongs. The eligibility is computed from a trace that runs forward in time: the effect of
    the synapse on the memory c of its own cell. The trace decays with that cell's forget gate. Effects on other cells
    are neglected. Let z be the input of a synapse and i, f, g, o the gates of `agents.networks.lstm`. The trace of a
    synapse to the gate A is

        epsilon_A <- f epsilon_A + D_A z,   D_i = g i (1 - i),  D_f = c_before f (1 - f),  D_g = i (1 - g^2)

    and its eligibility is o (1 - tanh(c)^2) epsilon_A. The output gate does not act on the memory, so the eligibility
    of its synapses is tanh(c) o (1 - o) z of the present step.
    """

    name = "eprop"
    aliases = ("dfa",)
    route = "broadcast"

    def advance_traces(self, state: LSTMState) -> None:
        """Advance the traces by the cells' latest step."""
        if state.traces is None:
            state.traces = np.zeros((len(state.sources), len(state.gates)))
        _advance_traces(state.traces, state.sources, state.gates, state.memory_before, state.memory)

    def eligible(self, state: LSTMState) -> RecurrentEligible:
        """Return copies of the data of the latest step, with the eligibility of every synapse."""
        assert state.traces is not None
        memory_slope = state.gate("output") * (1.0 - np.tanh(state.memory) ** 2)
        slopes = [memory_slope, memory_slope, memory_slope, np.ones_like(memory_slope)]
        eligibility = state.traces * np.concatenate(slopes)
        return replace(super().eligible(state), eligibility=eligibility)

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
        """Return the signal to each cell times the eligibility of its synapses, (sources, 4 x cells)."""
        assert eligible.eligibility is not None
        step: Array = eligible.eligibility * np.tile(signal, 4)
        return step

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Return the multiply-accumulates: one per synapse."""
        return cells.weights.size


class ShallowRecurrent(RecurrentRule):
    """Control: only the read-out learns. Recurrent cells keep their initial weights."""

    name = "shallow"
    route = "backward"
    modifies = ("read-out",)


@allocating_kernel
def _back_through_time(weights, inputs, signal, step):  # type: ignore[no-untyped-def]
    """Run the reach forward, then backward; add the gradient of signal x output by the weights to `step`."""
    steps, first, cells = inputs.shape[0], inputs.shape[1], len(signal)
    sources = np.zeros((steps, first + cells + 1))
    gates = np.empty((steps, 4 * cells))
    memories = np.zeros((steps + 1, cells))
    hidden = np.zeros(cells)
    for t in range(steps):
        sources[t, -1] = 1.0
        memories[t + 1] = memories[t]
        advance(weights, inputs[t], sources[t], hidden, memories[t + 1], gates[t])
    hidden_gradient = signal.copy()
    memory_gradient = np.zeros(cells)
    gate_gradient = np.empty(4 * cells)
    for t in range(steps - 1, -1, -1):
        for k in range(cells):
            i, f, g, o = gates[t, k], gates[t, cells + k], gates[t, 2 * cells + k], gates[t, 3 * cells + k]
            squashed = math.tanh(memories[t + 1, k])
            memory_gradient[k] += hidden_gradient[k] * o * (1.0 - squashed * squashed)
            gate_gradient[k] = memory_gradient[k] * g * i * (1.0 - i)
            gate_gradient[cells + k] = memory_gradient[k] * memories[t, k] * f * (1.0 - f)
            gate_gradient[2 * cells + k] = memory_gradient[k] * i * (1.0 - g * g)
            gate_gradient[3 * cells + k] = hidden_gradient[k] * squashed * o * (1.0 - o)
            memory_gradient[k] *= f
        for row in range(first + cells + 1):
            value = sources[t, row]
            for column in range(4 * cells):
                step[row, column] += value * gate_gradient[column]
        for k in range(cells):
            # Four independent sums, one per gate, which the processor can compute in parallel.
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(cells):
                a += weights[first + k, j] * gate_gradient[j]
                b += weights[first + k, cells + j] * gate_gradient[cells + j]
                c += weights[first + k, 2 * cells + j] * gate_gradient[2 * cells + j]
                d += weights[first + k, 3 * cells + j] * gate_gradient[3 * cells + j]
            hidden_gradient[k] = (a + b) + (c + d)


@allocating_kernel
def _advance_traces(traces, sources, gates, memory_before, memory):  # type: ignore[no-untyped-def]
    """Advance traces (sources, 4 x cells) in place, by the equations of `EProp`."""
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
