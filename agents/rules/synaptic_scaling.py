"""Synaptic scaling: a cell that fires too much weakens all its inputs by one factor, and the other way round.

Turrigiano et al. 1998, Nature 391:892; as a rule, van Rossum, Bi and Turrigiano 2000, J. Neurosci. 20:8812. A factor
keeps the ratios of weights, and their signs.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.networks.checks import SHORTEST_MS, require_number
from agents.networks.compiled import kernel


@dataclass(frozen=True)
class SynapticScaling:
    """Settings: d ln w / dt = (1 - rate / target) / time constant.

    Attributes:
        target_hz: firing rate that scaling holds, above 0.
        time_constant_s: of the growth of a silent cell's weights, above 0.
    """

    target_hz: float = 10.0
    time_constant_s: float = 100.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        require_number(self, "target_hz", SHORTEST_MS)
        require_number(self, "time_constant_s", SHORTEST_MS)


@kernel
def scale(weight, rate_hz, target_hz, growth, lowest, highest):  # type: ignore[no-untyped-def]
    """Multiply the weights (axons, targets) into each target by 1 + growth (1 - rate / target), within their bounds.

    Args:
        weight: (axons, targets).
        rate_hz: (targets,) Hz.
        target_hz: Hz.
        growth: elapsed time over the time constant.
        lowest, highest: (axons,) bounds.
    """
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            # A factor below zero would turn excitation into inhibition.
            factor = max(1.0 + growth * (1.0 - rate_hz[j] / target_hz), 0.0)
            weight[i, j] = min(max(weight[i, j] * factor, lowest[i]), highest[i])
