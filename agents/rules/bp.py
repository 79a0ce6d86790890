"""Back-propagation: of layers, and of recurrent cells through time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agents.jit import allocating_kernel
from agents.networks.lstm import LSTMCells, advance
from agents.rules.recurrent import Array, RecurrentEligible, RecurrentRule
from agents.rules.rule import LayerRule

if TYPE_CHECKING:
    from torch import Tensor

    from agents.rules.layers import LayerPass


class Backpropagation(LayerRule):
    """The error goes back from layer to layer through the transposed weights, which gives the gradient.

    The modulator of the cells that feed a layer is d W, with d the modulator of the layer's cells times their slope and
    W its weights (Rumelhart, Hinton and Williams 1986, Nature 323:533).
    """

    name = "bp"
    route = "backward"

    def backward_signal(self, layer_pass: LayerPass, error: Tensor) -> Tensor:
        """Return d W, in the shape of the layer's input."""
        return layer_pass.exact_signal(error)


class BackpropagationThroughTime(RecurrentRule):
    """The gradient: the sum over steps of d z, with d carried back from step to step through all cells.

    z is what the synapses carry, d the effect of a cell's gates on the signal at the last step (Werbos 1990, Proc. IEEE
    78:1550). It needs all inputs of the reach and the transposed weights.
    """

    name = "bp"
    route = "backward"

    def step(self, cells: LSTMCells, eligible: RecurrentEligible, signal: Array) -> Array:
        """Return the gradient of signal x output with respect to the weights, (sources, 4 x cells)."""
        step = np.zeros_like(cells.weights)
        _back_through_time(cells.weights, eligible.inputs, signal, step)
        return step

    def step_macs(self, cells: LSTMCells, eligible: RecurrentEligible) -> int:
        """Count, for each step of the reach, one a synapse and one more a recurrent synapse to go back through it."""
        recurrent = len(eligible.hidden) * cells.weights.shape[1]
        return len(eligible.inputs) * (cells.weights.size + recurrent)


@allocating_kernel
def _back_through_time(weights, inputs, signal, step):  # type: ignore[no-untyped-def]
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
