"""Rules for spiking cells: spikes leave an eligibility in each synapse, and a modulator gates the weight change.

change of w_ij = rate x modulator_j x eligibility_ij      (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85)

Let x_i and r_j be the mean rates of the cells before and after a synapse. The effect of its weight on r_j is x_i times
the slope of r_j by the drive of cell j. The slope is 0 for a silent cell. Above its threshold a leaky cell fires nearly
in proportion to its drive (Gerstner et al. 2014, "Neuronal Dynamics", ch. 5.3), so the slope hardly grows with r_j.
The sum of the pairs of spikes grows as x_i r_j, so by pairs alone the cells that fire most change most, whatever their
part in the error. Divided by r_j + RATE_HALF_HZ it grows as x_i r_j / (r_j + RATE_HALF_HZ), which saturates as the
slope does.

| rule | eligibility | modulator of hidden cells, B e |
|---|---|---|
| `stdp` | pairs / (r_j + RATE_HALF_HZ) | broadcast |
| `rate` | x_i r_j / (r_j + RATE_HALF_HZ): what is left of `stdp` without the times of spikes | broadcast |
| `pre` | x_i: whether the cell after the synapse fires does not count | broadcast |
| `shallow` | as `stdp` | none: hidden synapses keep their first weights |
| `hebb` | as `stdp` | 1, whatever the error |
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.rules.rule import Rule

if TYPE_CHECKING:
    from agents.spiking.circuit import SpikingCircuit
    from agents.spiking.kernels import CircuitState

Array = NDArray[np.float64]

# Rate of a cell at which its eligibility is half of the largest. Well below the 25 Hz of an output cell at rest.
RATE_HALF_HZ = 5.0


class SpikingRule(Rule):
    """Base class of rules for spiking cells.

    Attributes:
        stdp: settings of the `agents.spiking.stdp.PairSTDP` that sums the pairs of spikes.
    """

    cells = "spiking"
    route = "gate"
    probes = ("modulator", "eligibility")
    stdp: ClassVar[Mapping[str, Any]] = {"depression": 0.3}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return the eligibilities (axons, targets) of a projection, of the spikes so far."""
        _, after_hz = mean_rates_hz(circuit, state, projection)
        return saturating(circuit.eligibility(state, projection), after_hz)

    @abstractmethod
    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return the modulator (cells,) of the cells of a population.

        Args:
            feedback: B (cells, errors), fixed. For output cells it is their effect on each error, 1, -1 or 0; for
                hidden cells it is random with SD 1/sqrt(errors).
            error: e (errors,).
        """


class GatedSTDP(SpikingRule):
    """The broadcast error gates the change: m = B e, as in direct feedback alignment (Nokland 2016)."""

    name = "stdp"

    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return B e."""
        modulator: Array = feedback @ error
        return modulator


class RateProduct(GatedSTDP):
    """The product of mean rates in place of pairs of spikes: what `stdp` does better than it is due to spike times."""

    name = "rate"
    refused: ClassVar[Mapping[str, str]] = {"reward": "the actor's step is derived from pairs of spikes"}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return x_i r_j / (r_j + RATE_HALF_HZ)."""
        before_hz, after_hz = mean_rates_hz(circuit, state, projection)
        return saturating(np.outer(before_hz, after_hz) * circuit.connected(projection), after_hz)


class Presynaptic(GatedSTDP):
    """Presynaptic rate times modulator, as if every cell had the same slope at any rate: a delta rule in each layer."""

    name = "pre"
    refused: ClassVar[Mapping[str, str]] = {"reward": "its eligibility does not depend on the cell that explores"}

    def eligibility(self, circuit: SpikingCircuit, state: CircuitState, projection: str) -> NDArray[Any]:
        """Return x_i where there is a synapse."""
        before_hz, _ = mean_rates_hz(circuit, state, projection)
        return before_hz[:, None] * circuit.connected(projection)


class ShallowSTDP(GatedSTDP):
    """Control: only the synapses of output cells learn. Those of hidden cells keep their first weights."""

    name = "shallow"
    modifies = ("read-out",)
    refused: ClassVar[Mapping[str, str]] = {"reward": "actor and critic have no hidden cells"}


class HebbianSTDP(SpikingRule):
    """The control without an error: pairs of spikes change a synapse, whatever the error."""

    name = "hebb"
    error = "none"

    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return 1 for every cell."""
        return np.ones(len(feedback))


def mean_rates_hz(circuit: SpikingCircuit, state: CircuitState, projection: str) -> tuple[Array, Array]:
    """Return the mean rates so far of the cells before (axons,) and after (targets,) a projection, Hz."""
    ends = circuit.projections[projection]
    return circuit.mean_rate_hz(state, ends.before), circuit.mean_rate_hz(state, ends.after)


def saturating(coincidences: NDArray[Any], after_hz: Array) -> NDArray[Any]:
    """Return coincidences (axons, targets), which grow as the rate after the synapse, over that rate + RATE_HALF_HZ."""
    eligibility: NDArray[Any] = coincidences / (after_hz + RATE_HALF_HZ).astype(coincidences.dtype)
    return eligibility
