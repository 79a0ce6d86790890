"""Rules for spiking cells: spikes leave an eligibility in each synapse, and a modulator gates the weight change.

change of w_ij = rate x modulator_j x eligibility_ij      (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85)

Let x_i and r_j be the mean rates of the cells before and after a synapse. The effect of its weight on r_j is x_i times
the slope of r_j, the derivative of r_j by the drive of cell j. The slope is 0 for a silent cell. Above its threshold a
leaky cell fires nearly in proportion to its drive (Gerstner et al. 2014, "Neuronal Dynamics", ch. 1.3), so the slope
hardly grows with r_j. The sum of spike pairs is proportional to x_i r_j. With this sum as the eligibility, cells would
change in proportion to their rate, whatever their effect on the error. The sum is therefore divided by
r_j + RATE_HALF_HZ; the quotient x_i r_j / (r_j + RATE_HALF_HZ) saturates as the slope does.

| rule | eligibility | modulator of hidden cells, B e |
|---|---|---|
| `stdp` | pairs / (r_j + RATE_HALF_HZ) | broadcast |
| `rate` | x_i r_j / (r_j + RATE_HALF_HZ): `stdp` without spike times | broadcast |
| `pre` | x_i, independent of postsynaptic spikes | broadcast |
| `shallow` | as `stdp` | none: hidden synapses keep their initial weights |
| `hebb` | as `stdp` | 1, independent of the error |
| `eprop` | surrogate slope x presynaptic trace, filtered as rates are (`RunGradient`) | broadcast |
| `bp` | as `eprop`, plus effects through other cells | gradient with respect to the cells' spikes |

`eprop` and `bp` use gradients of the filtered rates with respect to the weights (`RunGradient`). A spike is a step
function of the voltage, whose derivative is 0 or infinite. The backward pass replaces the derivative by

    surrogate(v) = 1 / (1 + STEEPNESS |v - threshold|)^2

the derivative of a fast sigmoid (Zenke and Ganguli 2018, Neural Computation 30:1514; Neftci, Mostafa and Zenke 2019,
IEEE Signal Processing Magazine 36:51). The forward pass keeps the spikes. The gradient ignores the reset and the
refractory period. If cells pass the gradient on to presynaptic cells, this is back-propagation through time. If not,
the gradient for signals of 1 is the eligibility of e-prop (Bellec, Scherr et al. 2020, Nature Communications 11:3625):
the product of surrogate and presynaptic trace, filtered as the rate is. A forward trace for each synapse would give the
same numbers, but the backward pass is faster, because it needs one number per cell instead of one per synapse.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.rules.rule import Route, Rule
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState, integrate, simulate
from reach.jit import allocating_kernel

Array = NDArray[np.float64]

# Rate of a cell at which its eligibility is half of the largest; well below the 25 Hz of an output cell at rest.
RATE_HALF_HZ = 5.0


class WeightChange(NamedTuple):
    """A weight change of one projection for a rate of 1, and the modulators behind it.

    Attributes:
        change: (axons, targets).
        modulator: (targets,).
    """

    change: NDArray[Any]
    modulator: Array


class SpikingRule(Rule):
    """Base class of rules for spiking cells.

    Attributes:
        stdp: settings of the `agents.spiking.stdp.PairSTDP` that sums the spike pairs.
        sums_pairs: whether the eligibility is computed from spike pairs.
        needs_run: whether a weight change needs the whole run, which is repeated from the spikes of the sources.
    """

    cells = "spiking"
    route: ClassVar[Route] = "gate"
    stdp: ClassVar[Mapping[str, Any]] = {"depression": 0.3}
    sums_pairs: ClassVar[bool] = True
    needs_run: ClassVar[bool] = False

    def eligible(
        self, circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8], projections: Sequence[str]
    ) -> Any:
        """Return copies of the data that a weight change needs, by default the eligibilities so far, by projection.

        Args:
            circuit, state: circuit of the run and its state.
            train: (steps, inputs), the spikes of the sources so far.
            projections: names of the projections that learn.
        """
        return {name: self.eligibility(circuit, state, name) for name in projections}

    def weight_changes(
        self, circuit: SpikingCircuit, eligible: Any, feedback: Mapping[str, Array], error: Array
    ) -> dict[str, WeightChange]:
        """Return the weight changes of the projections that learn, by name.

        Args:
            circuit: the circuit, with the weights of the run.
            eligible: result of `eligible`.
            feedback: B by projection, see `modulator`.
            error: e (errors,).
        """
        modulators = {name: self.modulator(matrix, error) for name, matrix in feedback.items()}
        return {name: WeightChange(eligible[name] * modulator, modulator) for name, modulator in modulators.items()}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return the eligibilities (axons, targets) of a projection for the spikes so far."""
        _, after_hz = mean_rates_hz(circuit, state, projection)
        return saturating(circuit.eligibility(state, projection), after_hz)

    @abstractmethod
    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return the modulator (cells,) of the cells of a population.

        Args:
            feedback: B (cells, errors), fixed: for output cells, their effect on each error, 1, -1 or 0; for hidden
                cells, random with SD 1/sqrt(errors).
            error: e (errors,).
        """


class GatedSTDP(SpikingRule):
    """STDP gated by the broadcast error: the modulator is B e, as in direct feedback alignment (Nokland 2016)."""

    name = "stdp"

    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return B e."""
        modulator: Array = feedback @ error
        return modulator


class RateProduct(GatedSTDP):
    """Control for spike times: the product of mean rates takes the place of spike pairs."""

    name = "rate"
    sums_pairs = False
    refused: ClassVar[Mapping[str, str]] = {"reward": "the actor's step is derived from pairs of spikes"}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return x_i r_j / (r_j + RATE_HALF_HZ)."""
        before_hz, after_hz = mean_rates_hz(circuit, state, projection)
        return saturating(np.outer(before_hz, after_hz) * circuit.connected(projection), after_hz)


class Presynaptic(GatedSTDP):
    """Delta rule in each layer: presynaptic rate times modulator; the postsynaptic slope is taken as constant."""

    name = "pre"
    sums_pairs = False
    refused: ClassVar[Mapping[str, str]] = {"reward": "its eligibility does not depend on the cell that explores"}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return x_i where a synapse exists, 0 elsewhere."""
        before_hz, _ = mean_rates_hz(circuit, state, projection)
        return before_hz[:, None] * circuit.connected(projection)


class ShallowSTDP(GatedSTDP):
    """Control: only synapses onto output cells learn; synapses onto hidden cells keep their initial weights."""

    name = "shallow"
    modifies = ("read-out",)
    refused: ClassVar[Mapping[str, str]] = {"reward": "actor and critic have no hidden cells"}


class SurrogateEProp(GatedSTDP):
    """E-prop (Bellec, Scherr et al. 2020, Nature Communications 11:3625) for the error at the end of the run.

    A synapse changes by B e times its effect on the filtered rate of the postsynaptic cell. Effects on other cells are
    neglected. The eligibilities are computed from the run when they are read (see `RunGradient`).
    """

    name = "eprop"
    sums_pairs = False
    needs_run = True
    refused: ClassVar[Mapping[str, str]] = {"reward": "it needs an error for each output"}

    def eligible(
        self, circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8], projections: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Return the eligibilities by projection."""
        return RunGradient(circuit, train).of_rates(np.ones(len(state.fires)), through_cells=False)[0]


class SurrogateBackpropagation(GatedSTDP):
    """Back-propagation through time with a surrogate for spikes (Neftci, Mostafa and Zenke 2019).

    Synapses change by the gradient of error x filtered rates of the output cells, through all cells, delays and steps
    of the run. The gradient with respect to a cell's spikes varies in time. The modulator of a cell is its sum over
    time, divided by the sum for a modulator of 1, so that output cells have the same modulator as under other rules.
    """

    name = "bp"
    route = "backward"
    sums_pairs = False
    needs_run = True
    refused: ClassVar[Mapping[str, str]] = {"reward": "it needs an error for each output"}

    def eligible(
        self, circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8], projections: Sequence[str]
    ) -> NDArray[np.uint8]:
        """Return the spikes of the sources."""
        return train

    def weight_changes(
        self, circuit: SpikingCircuit, eligible: Any, feedback: Mapping[str, Array], error: Array
    ) -> dict[str, WeightChange]:
        """Return the gradients with respect to the weights of each projection, as weight changes."""
        output = list(feedback)[-1]
        signals = np.zeros(len(circuit.cells.bias))
        circuit.part(signals, circuit.projections[output].after)[:] = self.modulator(feedback[output], error)
        changes, modulators = RunGradient(circuit, eligible).of_rates(signals, through_cells=True)
        return {
            name: WeightChange(changes[name], circuit.part(modulators, circuit.projections[name].after))
            for name in feedback
        }


class HebbianSTDP(SpikingRule):
    """Control without an error signal: STDP with a constant modulator."""

    name = "hebb"
    error = "none"

    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return 1 for every cell."""
        return np.ones(len(feedback))


def mean_rates_hz(circuit: SpikingCircuit, state: CircuitState, projection: str) -> tuple[Array, Array]:
    """Return the mean rates so far, Hz, of the presynaptic (axons,) and postsynaptic (targets,) cells."""
    ends = circuit.projections[projection]
    return circuit.mean_rate_hz(state, ends.before), circuit.mean_rate_hz(state, ends.after)


def saturating(coincidences: NDArray[Any], after_hz: Array) -> NDArray[Any]:
    """Divide coincidences (axons, targets) by the postsynaptic rate + RATE_HALF_HZ."""
    eligibility: NDArray[Any] = coincidences / (after_hz + RATE_HALF_HZ).astype(coincidences.dtype)
    return eligibility


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
        self, signals: NDArray[Any], *, through_cells: bool
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """Return the gradient of the sum of signal x filtered rate at the end of the run.

        Args:
            signals: (cells,), signal of each cell.
            through_cells: whether cells pass the gradient back to presynaptic cells.

        Returns:
            The gradients (axons, targets) with respect to the weights, by name of plastic projection; and, for each
            cell (cells,), the gradient with respect to its spikes, summed over time and divided by the sum for a signal
            of 1.
        """
        circuit, cells = self.circuit, self.circuit.cells
        gradient = np.zeros_like(circuit.synapses.weight)
        spike_gradient = np.zeros_like(self.voltage)
        signals = np.ascontiguousarray(signals, circuit.dtype)
        plastic = circuit.rules.plastic
        add_gradient(
            cells, circuit.synapses, plastic, self.train, self.voltage, signals, through_cells, spike_gradient, gradient
        )
        gradient *= circuit.synapses.connected
        kernel_sum = cells.readout_step * (1.0 - cells.readout_decay ** len(self.train)) / (1.0 - cells.readout_decay)
        return circuit.by_projection(gradient), spike_gradient.sum(axis=0, dtype=np.float64) / kernel_sum


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
    cells, synapses, plastic, train, voltage, signals, through_cells, spike_gradient, gradient
):
    """Compute the backward pass of a run.

    Args:
        cells, synapses: arrays of the circuit.
        plastic: (projections,), nonzero where the gradient with respect to the weights is computed.
        train: (steps, inputs), spikes of the sources.
        voltage: (steps, cells), voltages before resets.
        signals: (cells,), gradient with respect to the filtered rates after the last step.
        through_cells: whether the gradient passes through cells to presynaptic cells.
        spike_gradient: (steps, cells) of 0, to which the gradient with respect to each spike is added.
        gradient: (weights,), to which the gradient with respect to each weight is added.
    """
    steps, inputs = train.shape
    count = voltage.shape[1]
    real = voltage.dtype.type
    one, zero, steepness = real(1), real(0), real(STEEPNESS)
    unit_start, axon_start, weight_start = synapses.unit_start, synapses.axon_start, synapses.weight_start
    fired = voltage >= cells.threshold
    is_refractory = np.zeros((steps, count), np.bool_)
    for c in range(count):
        left = 0
        for t in range(steps):
            is_refractory[t, c] = left > 0
            left = cells.refractory_steps[c] - 1 if fired[t, c] else max(left - 1, 0)
    # Weights as (targets, axons), so that loops over axons vectorise without reordering a sum.
    transposed = np.empty_like(synapses.weight)
    for p in range(plastic.shape[0]):
        block = slice(weight_start[p], weight_start[p + 1])
        axons = axon_start[p + 1] - axon_start[p]
        targets = synapses.target_start[p + 1] - synapses.target_start[p]
        transposed[block].reshape((targets, axons))[:] = synapses.weight[block].reshape((axons, targets)).T
    rate_gradient = signals * cells.readout_step
    voltage_gradient, drive_gradient = np.zeros_like(signals), np.zeros_like(signals)
    back = np.zeros(count, signals.dtype)
    for t in range(steps - 1, -1, -1):
        # Here `voltage_gradient` is still that of the next step, whose voltages depend on the drives of this step.
        for c in range(count):
            drive_gradient[c] = cells.coupling[c] * voltage_gradient[c] + cells.drive_decay[c] * drive_gradient[c]
        for p in range(plastic.shape[0]):
            delays = synapses.delay_steps[axon_start[p] : axon_start[p + 1]]
            axons, targets = delays.shape[0], synapses.target_start[p + 1] - synapses.target_start[p]
            block = slice(weight_start[p], weight_start[p + 1])
            after = unit_start[synapses.after[p]] - inputs
            target_gradient = drive_gradient[after : after + targets]
            before = unit_start[synapses.before[p]] - inputs
            if plastic[p]:
                rows = gradient[block].reshape((axons, targets))
                for i in range(axons):
                    sent = t - delays[i]
                    if sent >= 0 and (train[sent, i] != 0 if before < 0 else fired[sent, before + i]):
                        row = rows[i]
                        for j in range(targets):
                            row[j] += target_gradient[j]
            if through_cells and before >= 0:
                columns = transposed[block].reshape((targets, axons))
                total = back[:axons]
                total[:] = zero
                for j in range(targets):
                    column, value = columns[j], target_gradient[j]
                    for i in range(axons):
                        total[i] += column[i] * value
                for i in range(axons):
                    if t >= delays[i]:
                        spike_gradient[t - delays[i], before + i] += total[i]
        spike_gradient_now, threshold, voltages = spike_gradient[t], cells.threshold, voltage[t]
        for c in range(count):
            spike_gradient_now[c] += rate_gradient[c]
            rate_gradient[c] *= cells.readout_decay[c]
        for c in range(count):
            distance = one + steepness * abs(voltages[c] - threshold[c])
            leaked = zero if fired[t, c] else cells.leak[c] * voltage_gradient[c]
            voltage_gradient[c] = (
                zero if is_refractory[t, c] else spike_gradient_now[c] / (distance * distance) + leaked
            )
