"""Gradients of the filtered rates of spiking cells with respect to the weights of a circuit, by a surrogate gradient.

A spike is a step function of the voltage, whose derivative is 0 or infinite. The backward pass replaces the derivative
by

    surrogate(v) = 1 / (1 + STEEPNESS |v - threshold|)^2

the derivative of a fast sigmoid (Zenke and Ganguli 2018, Neural Computation 30:1514; Neftci, Mostafa and Zenke 2019,
IEEE Signal Processing Magazine 36:51). The forward pass keeps the spikes. The gradient ignores the reset and the
refractory period.

`record_voltages` repeats a run from the spikes of its sources, and `add_gradient` computes the backward pass. If cells
pass the gradient on to presynaptic cells, this is back-propagation through time. If not, the gradient for signals of 1
is the eligibility of e-prop (Bellec, Scherr et al. 2020, Nature Communications 11:3625): the product of surrogate and
presynaptic trace, filtered as the rate is. A forward trace for each synapse would give the same numbers, but the
backward pass is faster, because it needs one number per cell instead of one per synapse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import integrate, simulate
from reach.jit import allocating_kernel

# Steepness of the surrogate per unit of voltage, which is the distance from rest to threshold. Learning depends little
# on the shape of a surrogate (Zenke and Vogels 2021, Neural Computation 33:899).
STEEPNESS = 10.0


class RunGradient:
    """Gradients of a run of a circuit.

    Attributes:
        circuit: the circuit, with the weights of the run.
        train: (steps, inputs), spikes of the sources from the start of the run.
        voltage: (steps, cells), voltages before resets.
    """

    def __init__(self, circuit: SpikingCircuit, train: NDArray[np.uint8]) -> None:
        """Repeat a run from the spikes of its sources."""
        self.circuit, self.train = circuit, train
        self.voltage = np.empty((len(train), len(circuit.cells.bias)), circuit.dtype)
        constant = circuit.rules._replace(plastic=np.zeros_like(circuit.rules.plastic))
        record_voltages(circuit.cells, circuit.synapses, constant, circuit.begin(), train, self.voltage)

    def of_rates(
        self, signals: NDArray[Any], *, passes_on: bool
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """Return the gradient of the sum of signal x filtered rate at the end of the run.

        Args:
            signals: (cells,), signal of each cell.
            passes_on: whether cells pass the gradient back to presynaptic cells.

        Returns:
            The gradients (axons, targets) with respect to the weights, by name of plastic projection; and, for each
            cell (cells,), the gradient with respect to its spikes, summed over time and divided by the sum for a signal
            of 1.
        """
        circuit, cells = self.circuit, self.circuit.cells
        gradient = np.zeros_like(circuit.synapses.weight)
        by_spike = np.zeros_like(self.voltage)
        signals = np.ascontiguousarray(signals, circuit.dtype)
        plastic = circuit.rules.plastic
        add_gradient(cells, circuit.synapses, plastic, self.train, self.voltage, signals, passes_on, by_spike, gradient)
        gradient *= circuit.synapses.connected
        kernel_sum = cells.readout_step * (1.0 - cells.readout_decay ** len(self.train)) / (1.0 - cells.readout_decay)
        return circuit.by_projection(gradient), by_spike.sum(axis=0, dtype=np.float64) / kernel_sum


@allocating_kernel
def record_voltages(cells, synapses, rules, state, train, voltage):  # type: ignore[no-untyped-def]
    """Run a circuit and write its voltages before resets.

    Args:
        cells, synapses, rules, state, train: arguments of `simulate`.
        voltage: (steps, cells), overwritten.
    """
    refractory_left = np.empty_like(state.cells.refractory_left)
    for t in range(train.shape[0]):
        voltage[t] = state.cells.voltage
        refractory_left[:] = state.cells.refractory_left
        integrate(voltage[t], state.cells.drive, refractory_left, cells.bias, cells.leak, cells.coupling, cells.reset)
        simulate(cells, synapses, rules, state, train[t : t + 1])


@allocating_kernel
def add_gradient(  # type: ignore[no-untyped-def]
    cells, synapses, plastic, train, voltage, signals, passes_on, by_spike, gradient
):
    """Compute the backward pass of a run.

    Args:
        cells, synapses: arrays of the circuit.
        plastic: (projections,), not 0 where the gradient with respect to the weights is wanted.
        train: (steps, inputs), spikes of the sources.
        voltage: (steps, cells), voltages before resets.
        signals: (cells,), gradient with respect to the filtered rates after the last step.
        passes_on: whether the gradient is passed to presynaptic cells.
        by_spike: (steps, cells) of 0, to which the gradient with respect to each spike is added.
        gradient: (weights,), to which the gradient with respect to each weight is added.
    """
    steps, inputs = train.shape
    count = voltage.shape[1]
    real = voltage.dtype.type
    one, zero, steepness = real(1), real(0), real(STEEPNESS)
    unit_start, axon_start, weight_start = synapses.unit_start, synapses.axon_start, synapses.weight_start
    fired = voltage >= cells.threshold
    is_held = np.zeros((steps, count), np.bool_)
    for c in range(count):
        left = 0
        for t in range(steps):
            is_held[t, c] = left > 0
            left = cells.refractory_steps[c] - 1 if fired[t, c] else max(left - 1, 0)
    # Weights as (targets, axons), so that loops over axons vectorise without reordering a sum.
    transposed = np.empty_like(synapses.weight)
    for p in range(plastic.shape[0]):
        block = slice(weight_start[p], weight_start[p + 1])
        axons = axon_start[p + 1] - axon_start[p]
        targets = synapses.target_start[p + 1] - synapses.target_start[p]
        transposed[block].reshape((targets, axons))[:] = synapses.weight[block].reshape((axons, targets)).T
    by_rate = signals * cells.readout_step
    by_voltage, by_drive = np.zeros_like(signals), np.zeros_like(signals)
    back = np.zeros(count, signals.dtype)
    for t in range(steps - 1, -1, -1):
        # Here `by_voltage` is still that of the next step, whose voltages depend on the drives of this step.
        for c in range(count):
            by_drive[c] = cells.coupling[c] * by_voltage[c] + cells.drive_decay[c] * by_drive[c]
        for p in range(plastic.shape[0]):
            delays = synapses.delay_steps[axon_start[p] : axon_start[p + 1]]
            axons, targets = delays.shape[0], synapses.target_start[p + 1] - synapses.target_start[p]
            block = slice(weight_start[p], weight_start[p + 1])
            after = unit_start[synapses.after[p]] - inputs
            by_target = by_drive[after : after + targets]
            before = unit_start[synapses.before[p]] - inputs
            if plastic[p]:
                rows = gradient[block].reshape((axons, targets))
                for i in range(axons):
                    sent = t - delays[i]
                    if sent >= 0 and (train[sent, i] != 0 if before < 0 else fired[sent, before + i]):
                        row = rows[i]
                        for j in range(targets):
                            row[j] += by_target[j]
            if passes_on and before >= 0:
                columns = transposed[block].reshape((targets, axons))
                total = back[:axons]
                total[:] = zero
                for j in range(targets):
                    column, value = columns[j], by_target[j]
                    for i in range(axons):
                        total[i] += column[i] * value
                for i in range(axons):
                    if t >= delays[i]:
                        by_spike[t - delays[i], before + i] += total[i]
        row_of_spikes, threshold, voltages = by_spike[t], cells.threshold, voltage[t]
        for c in range(count):
            row_of_spikes[c] += by_rate[c]
            by_rate[c] *= cells.readout_decay[c]
        for c in range(count):
            distance = one + steepness * abs(voltages[c] - threshold[c])
            kept = zero if fired[t, c] else cells.leak[c] * by_voltage[c]
            by_voltage[c] = zero if is_held[t, c] else row_of_spikes[c] / (distance * distance) + kept
