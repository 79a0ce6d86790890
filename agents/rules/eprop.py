"""E-prop with random feedback (Bellec, Scherr et al. 2020, Nature Communications 11:3625)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from agents.jit import allocating_kernel
from agents.networks.lstm import LSTMCells, LSTMState
from agents.rules.recurrent import Array, RecurrentEligible, RecurrentRule


class EProp(RecurrentRule):
    """Each synapse keeps an eligibility trace forward in time; the error comes through fixed random weights.

    A synapse changes by B e x eligibility, with e the error of the read-out at the step that is taught and B fixed and
    random. Its trace holds what it did to the memory of its own cell, decayed by that cell's forget gate; its effect on
    other cells is left out. With z what the synapses carry and the gates i, f, g, o of `agents.networks.lstm`, the
    trace of a synapse to the gate A is

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
        """Count one a synapse."""
        return cells.weights.size


@allocating_kernel
def _advance_traces(traces, sources, gates, memory_before, memory):  # type: ignore[no-untyped-def]
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
