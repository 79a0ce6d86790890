"""Rules for spiking cells: pair STDP leaves an eligibility in each synapse, and a modulator gates the weight change.

change of w_ij = rate x modulator_j x eligibility_ij      (Fremaux and Gerstner 2016, Front. Neural Circuits 9:85)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.rules.rule import Rule

Array = NDArray[np.float64]


class SpikingRule(Rule):
    """Base class of rules for spiking cells.

    Attributes:
        stdp: settings of the `agents.spiking.stdp.PairSTDP` that computes the eligibility.
    """

    cells = "spiking"
    route = "gate"
    probes = ("modulator", "eligibility")
    stdp: ClassVar[Mapping[str, Any]] = {"depression": 0.3}

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


class HebbianSTDP(SpikingRule):
    """The control without an error: pairs of spikes change a synapse, whatever the error."""

    name = "hebb"
    error = "none"

    def modulator(self, feedback: Array, error: Array) -> Array:
        """Return 1 for every cell."""
        return np.ones(len(feedback))
