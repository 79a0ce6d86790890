"""Structural plasticity: synapses that stay near zero vanish and as many new ones form elsewhere, at a set rate.

After the turnover of dendritic spines, in which weak synapses go and the number stays (Holtmaat and Svoboda 2009, Nat.
Rev. Neurosci. 10:647); as a learning rule, Kappel et al. 2015, PLoS Comput. Biol. 11:e1004485.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.spiking.checks import require_number


@dataclass(frozen=True)
class StructuralPlasticity:
    """Settings.

    Attributes:
        near_zero: a weight of a magnitude up to this is near zero, 0 or more.
        patience_s: time for which a synapse stays near zero before it may vanish, 0 or more.
        turnover_per_s: largest share of the synapses that is replaced in a second, 0 or more.
        new_weight: magnitude of a new synapse's weight, 0 or more; its sign is its axon's, or either at random.
    """

    near_zero: float = 0.01
    patience_s: float = 10.0
    turnover_per_s: float = 0.01
    new_weight: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        for name in ("near_zero", "patience_s", "turnover_per_s", "new_weight"):
            require_number(self, name, 0.0)


@dataclass
class Turnover:
    """What structural plasticity remembers of one projection.

    Attributes:
        near_zero_s: (axons, targets) s, how long each synapse has been near zero.
        allowance: (1,) synapses that may be replaced now; what is not used is kept, up to one second's worth.
        calls: (1,) calls so far, from which random numbers are drawn anew, so that a run can go on from its arrays.
    """

    near_zero_s: NDArray[np.float64]
    allowance: NDArray[np.float64]
    calls: NDArray[np.int64]

    @classmethod
    def new(cls, shape: tuple[int, int]) -> Turnover:
        """Nothing remembered yet."""
        return cls(np.zeros(shape), np.zeros(1), np.zeros(1, dtype=np.int64))


def rewire(
    weight: NDArray[Any],
    connected: NDArray[np.uint8],
    bounds: tuple[NDArray[Any], NDArray[Any]],
    settings: StructuralPlasticity,
    memory: Turnover,
    elapsed_s: float,
    seed: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Replace synapses that have long been near zero; weight, connected and memory change in place.

    Args:
        weight, connected: (axons, targets).
        bounds: lowest and highest weight of each axon, (axons,) each.
        settings: see there.
        memory: of this projection.
        elapsed_s: time since the last call, s.
        seed: of the random places; the same seed and memory give the same places.

    Returns:
        Flat places of the synapses that vanished and of those that formed, of one length.
    """
    memory.calls[0] += 1
    near = (connected != 0) & (np.abs(weight) <= settings.near_zero)
    memory.near_zero_s[...] = np.where(near, memory.near_zero_s + elapsed_s, 0.0)
    per_second = settings.turnover_per_s * float(np.count_nonzero(connected))
    memory.allowance[0] = min(memory.allowance[0] + per_second * elapsed_s, max(per_second, 1.0))
    tired = np.flatnonzero(near & (memory.near_zero_s >= settings.patience_s))
    vacant = np.flatnonzero(connected == 0)
    number = min(len(tired), len(vacant), int(memory.allowance[0]))
    rng = np.random.default_rng((seed, int(memory.calls[0])))
    gone = tired[np.argsort(-memory.near_zero_s.flat[tired], kind="stable")[:number]]
    formed = rng.choice(vacant, number, replace=False)
    axon = formed // weight.shape[1]
    side = rng.choice((-1.0, 1.0), number)
    connected.flat[gone], weight.flat[gone], memory.near_zero_s.flat[gone] = 0, 0.0, 0.0
    connected.flat[formed] = 1
    # An axon of one sign has a bound at zero, so that the side drawn for it must not count.
    lowest, highest = bounds[0][axon], bounds[1][axon]
    side = np.where(lowest == 0.0, 1.0, np.where(highest == 0.0, -1.0, side))
    weight.flat[formed] = np.clip(side * settings.new_weight, lowest, highest)
    memory.allowance[0] -= number
    return gone, formed
