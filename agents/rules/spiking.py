"""Rules for spiking cells: spikes leave an eligibility in each synapse, and a modulator gates the weight change.

change of w_ij = rate x modulator_j x eligibility_ij      (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85)

Let x_i and r_j be the mean rates of the cells before and after a synapse. The effect of its weight on r_j is x_i times
the slope of r_j, the derivative of r_j by the drive of cell j. The slope is 0 for a silent cell. Above its threshold a
leaky cell fires nearly in proportion to its drive (Gerstner et al. 2014, "Neuronal Dynamics", ch. 1.3), so the slope
hardly grows with r_j. The sum of spike pairs is proportional to x_i r_j, so with this sum as the eligibility, the cells
that fire most would change most, independent of their part in the error. The sum is therefore divided by
r_j + RATE_HALF_HZ; the quotient x_i r_j / (r_j + RATE_HALF_HZ) saturates as the slope does.

| rule | eligibility | modulator of hidden cells, B e |
|---|---|---|
| `stdp` | pairs / (r_j + RATE_HALF_HZ) | broadcast |
| `rate` | x_i r_j / (r_j + RATE_HALF_HZ): `stdp` without spike times | broadcast |
| `pre` | x_i, independent of postsynaptic spikes | broadcast |
| `shallow` | as `stdp` | none: hidden synapses keep their initial weights |
| `hebb` | as `stdp` | 1, independent of the error |
| `eprop` | surrogate slope x presynaptic trace, filtered as rates are (`agents.spiking.gradient`) | broadcast |
| `bp` | as `eprop`, plus effects through other cells | gradient with respect to the cells' spikes |
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.rules.rule import Route, Rule

if TYPE_CHECKING:
    from agents.spiking.circuit import SpikingCircuit
    from agents.spiking.kernels import CircuitState

Array = NDArray[np.float64]

# Rate of a cell at which its eligibility is half of the largest; well below the 25 Hz of an output cell at rest.
RATE_HALF_HZ = 5.0


class Step(NamedTuple):
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
        needs_run: whether a step needs the whole run, which is repeated from the spikes of the sources.
    """

    cells = "spiking"
    route: ClassVar[Route] = "gate"
    stdp: ClassVar[Mapping[str, Any]] = {"depression": 0.3}
    sums_pairs: ClassVar[bool] = True
    needs_run: ClassVar[bool] = False

    def eligible(
        self, circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8], projections: Sequence[str]
    ) -> Any:
        """Return copies of the data that a step needs, by default the eligibilities so far, by projection.

        Args:
            circuit, state: circuit of the run and its state.
            train: (steps, inputs), the spikes of the sources so far.
            projections: names of the projections that learn.
        """
        return {name: self.eligibility(circuit, state, name) for name in projections}

    def steps(
        self, circuit: SpikingCircuit, eligible: Any, feedback: Mapping[str, Array], error: Array
    ) -> dict[str, Step]:
        """Return the steps of the projections that learn, by name.

        Args:
            circuit: the circuit, with the weights of the run.
            eligible: result of `eligible`.
            feedback: B by projection, see `modulator`.
            error: e (errors,).
        """
        modulators = {name: self.modulator(matrix, error) for name, matrix in feedback.items()}
        return {name: Step(eligible[name] * modulator, modulator) for name, modulator in modulators.items()}

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
    """Delta rule in each layer: presynaptic rate times modulator, as if all cells had the same slope at any rate."""

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
    neglected. The eligibilities are computed from the run when they are read (see `agents.spiking.gradient`).
    """

    name = "eprop"
    sums_pairs = False
    needs_run = True
    refused: ClassVar[Mapping[str, str]] = {"reward": "it needs an error for each output"}

    def eligible(
        self, circuit: SpikingCircuit, state: CircuitState, train: NDArray[np.uint8], projections: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Return the eligibilities by projection."""
        from agents.spiking.gradient import RunGradient

        return RunGradient(circuit, train).of_rates(np.ones(len(state.fires)), passes_on=False)[0]


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

    def steps(
        self, circuit: SpikingCircuit, eligible: Any, feedback: Mapping[str, Array], error: Array
    ) -> dict[str, Step]:
        """Return the gradients with respect to the weights of each projection, as steps."""
        from agents.spiking.gradient import RunGradient

        output = list(feedback)[-1]
        signals = np.zeros(len(circuit.cells.bias))
        circuit.part(signals, circuit.projections[output].after)[:] = self.modulator(feedback[output], error)
        changes, modulators = RunGradient(circuit, eligible).of_rates(signals, passes_on=True)
        return {
            name: Step(changes[name], circuit.part(modulators, circuit.projections[name].after)) for name in feedback
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
