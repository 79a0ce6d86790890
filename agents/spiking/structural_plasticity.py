"""Structural plasticity: synapses that stay near zero are removed, and as many new ones form elsewhere.

As dendritic spines turn over: weak synapses disappear and the number stays (Holtmaat and Svoboda 2009, Nat. Rev.
Neurosci. 10:647; as a learning rule, Kappel et al. 2015, PLoS Comput. Biol. 11:e1004485).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.checks import require_number


@dataclass(frozen=True)
class StructuralPlasticity:
    """Settings of the structural plasticity of one projection.

    Attributes:
        near_zero: largest magnitude of a weight that is near zero, 0 or more.
        patience_s: time for which a synapse stays near zero before it may be removed, s, 0 or more.
        turnover_per_s: largest fraction of the synapses that is replaced per second, 0 or more.
        new_weight: magnitude of the weight of a new synapse, 0 or more. It has the sign of its axon, or a random one.

    Raises:
        ValueError: a setting outside its range.
    """

    near_zero: float = 0.01
    patience_s: float = 10.0
    turnover_per_s: float = 0.01
    new_weight: float = 0.1

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in ("near_zero", "patience_s", "turnover_per_s", "new_weight"):
            require_number(self, name, 0.0)


@dataclass
class Turnover:
    """The memory of structural plasticity for one projection.

    Attributes:
        near_zero_s: (axons, targets) time for which each synapse has been near zero, s.
        allowance: (1,) number of synapses that may be replaced now; the unused part is kept, up to that of one second.
        calls: (1,) number of calls so far. It seeds the random numbers, so a run can continue from these arrays.
    """

    near_zero_s: NDArray[np.float64]
    allowance: NDArray[np.float64]
    calls: NDArray[np.int64]

    @classmethod
    def new(cls, shape: tuple[int, int]) -> Turnover:
        """Return the memory before the first call, for (axons, targets) synapses."""
        return cls(np.zeros(shape), np.zeros(1), np.zeros(1, dtype=np.int64))


def rewire(
    weight: NDArray[Any],
    connected: NDArray[np.uint8],
    bounds: tuple[NDArray[Any], NDArray[Any]],
    settings: StructuralPlasticity,
    turnover: Turnover,
    elapsed_s: float,
    seed: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Replace synapses that have been near zero for long; change `weight`, `connected` and `turnover` in place.

    Args:
        weight, connected: (axons, targets).
        bounds: lowest and highest weight of each axon, (axons,) each.
        settings: of the projection.
        turnover: of the projection.
        elapsed_s: time since the last call, s.
        seed: of the random numbers; the same seed and turnover give the same synapses.

    Returns:
        Flat indices of the removed and of the formed synapses, of the same length.
    """
    turnover.calls[0] += 1
    near = (connected != 0) & (np.abs(weight) <= settings.near_zero)
    turnover.near_zero_s[...] = np.where(near, turnover.near_zero_s + elapsed_s, 0.0)
    per_second = settings.turnover_per_s * float(np.count_nonzero(connected))
    turnover.allowance[0] = min(turnover.allowance[0] + per_second * elapsed_s, max(per_second, 1.0))
    removable = np.flatnonzero(near & (turnover.near_zero_s >= settings.patience_s))
    vacant = np.flatnonzero(connected == 0)
    number = min(len(removable), len(vacant), int(turnover.allowance[0]))
    rng = np.random.default_rng((seed, int(turnover.calls[0])))
    removed = removable[np.argsort(-turnover.near_zero_s.flat[removable], kind="stable")[:number]]
    formed = rng.choice(vacant, number, replace=False)
    axon = formed // weight.shape[1]
    sign = rng.choice((-1.0, 1.0), number)
    connected.flat[removed], weight.flat[removed], turnover.near_zero_s.flat[removed] = 0, 0.0, 0.0
    connected.flat[formed] = 1
    # An axon with a bound at zero has one sign, which replaces the random one.
    lowest, highest = bounds[0][axon], bounds[1][axon]
    sign = np.where(lowest == 0.0, 1.0, np.where(highest == 0.0, -1.0, sign))
    weight.flat[formed] = np.clip(sign * settings.new_weight, lowest, highest)
    turnover.allowance[0] -= number
    return removed, formed
