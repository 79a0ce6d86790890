"""Projections: the synapses from one population to another, with axonal delays and Dale's law.

The weights of a projection are a dense block (axons, targets) with a mask of existing synapses. All blocks are stored
one after another in one array, so that one kernel runs a network of any shape. Each axon has one delay: a spike reaches
all targets of the projection after the same number of steps. Two projections between the same populations connect a
pair of cells with two delays. Under Dale's law (a cell's outgoing weights share one sign; Eccles, Fatt and Koketsu
1954), the weights of an axon are bounded at 0.

Structural plasticity removes synapses that stay near zero and forms as many new ones. In the turnover of dendritic
spines, too, weak synapses disappear while the number of synapses stays constant (Holtmaat and Svoboda 2009, Nat. Rev.
Neurosci. 10:647; as a learning rule, Kappel et al. 2015, PLoS Comput. Biol. 11:e1004485).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.settings import FINITE, Setting, check_fields
from agents.spiking.lif import LIFCells
from agents.spiking.stdp import PairSTDP
from reach.jit import inlined


@dataclass(frozen=True)
class StructuralPlasticity:
    """Settings of the structural plasticity of one projection.

    Attributes:
        near_zero: largest magnitude of a weight that counts as near zero, 0 or more.
        patience_s: time that a synapse must stay near zero before it may be removed, s, 0 or more.
        turnover_per_s: largest fraction of the synapses that is replaced per second, 0 or more.
        new_weight: magnitude of the weight of a new synapse, 0 or more; the sign is that of the axon, or random.

    Raises:
        ValueError: a setting outside its range.
    """

    near_zero: float = 0.01
    patience_s: float = 10.0
    turnover_per_s: float = 0.01
    new_weight: float = 0.1

    def __post_init__(self) -> None:
        """Validate the settings."""
        check_fields(self, **{field.name: Setting(0.0) for field in fields(self)})


@dataclass
class Turnover:
    """The memory of structural plasticity for one projection.

    Attributes:
        near_zero_s: (axons, targets) time for which each synapse has been near zero, s.
        allowance: (1,) number of synapses that may be replaced now; an unused rest is kept, up to that of one second.
        calls: (1,) number of calls so far. It seeds the random numbers, so that a run can continue from these arrays.
    """

    near_zero_s: NDArray[np.float64]
    allowance: NDArray[np.float64]
    calls: NDArray[np.int64]

    @classmethod
    def new(cls, shape: tuple[int, int]) -> Turnover:
        """Return the initial memory for synapses of a shape (axons, targets)."""
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
        settings: settings of the projection.
        turnover: memory of the projection.
        elapsed_s: time since the last call, s.
        seed: seed of the random numbers; the same seed and turnover give the same synapses.

    Returns:
        Flat indices of the removed and of the new synapses, two arrays of the same length.
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
    # If a bound of the axon is zero, the sign of its weights is fixed; otherwise it is random.
    lowest, highest = bounds[0][axon], bounds[1][axon]
    sign = np.where(lowest == 0.0, 1.0, np.where(highest == 0.0, -1.0, sign))
    weight.flat[formed] = np.clip(sign * settings.new_weight, lowest, highest)
    turnover.allowance[0] -= number
    return removed, formed


# Name of the sources in projections.
INPUT = "input"


@dataclass(frozen=True)
class Projection:
    """Settings of the synapses from population `before` to population `after`.

    Attributes:
        before: name of the presynaptic population, or "input" for the sources.
        after: name of the postsynaptic population.
        name: name of the projection in its circuit; "before-after" if empty.
        weight_mean, weight_sd: mean and SD of the normal distribution of initial weights. A weight is the synaptic
            drive that a spike adds. Under Dale's law, magnitudes of draws are used.
        largest_weight: largest magnitude of a weight, above 0; initial weights are clipped to it.
        probability: probability that a synapse exists, 0 to 1.
        delay_steps: steps from a spike to its arrival, 0 or more, or a range (low, high) from which the delay of each
            axon is drawn. With a delay of 0, a spike affects the thresholds of the next step; a delay of d adds d
            steps.
        plasticity: pair STDP; None for constant weights.
        structure: structural plasticity; None for a fixed set of synapses.

    Raises:
        ValueError: a setting is out of range.
    """

    before: str
    after: str
    name: str = ""
    weight_mean: float = 0.0
    weight_sd: float = 0.0
    largest_weight: float = 4.0
    probability: float = 1.0
    delay_steps: int | tuple[int, int] = 0
    plasticity: PairSTDP | None = None
    structure: StructuralPlasticity | None = None

    def __post_init__(self) -> None:
        """Set the default name and validate the settings."""
        if not self.name:
            object.__setattr__(self, "name", f"{self.before}-{self.after}")
        check_fields(self, weight_mean=FINITE, weight_sd=Setting(0.0), largest_weight=Setting(1e-9))
        check_fields(self, probability=Setting(0.0, 1.0), delay_steps=Setting(0, is_integer=True, allows_range=True))
        if self.structure is not None and self.probability == 1.0:
            raise ValueError(
                "Projection probability: expected below 1 with structure, to leave room for new synapses, got 1.0"
            )

    @property
    def delay_range(self) -> tuple[int, int]:
        """Return the shortest and the longest delay, steps."""
        return self.delay_steps if isinstance(self.delay_steps, tuple) else (self.delay_steps, self.delay_steps)


class Synapses(NamedTuple):
    """All projections of a circuit as arrays, in which axons, targets and blocks of weights follow one another.

    Attributes:
        unit_start: (populations + 1,) first unit of each population; population 0 is the sources.
        before, after: (projections,) indices of the populations.
        axon_start, target_start, weight_start: (projections + 1,) first axon, target and weight of each projection.
        delay_steps: (axons,) delays.
        lowest, highest: (axons,) bounds of an axon's weights.
        weight: (weights,); learning changes only this array.
        connected: (weights,) 1 where a synapse exists, 0 elsewhere.
    """

    unit_start: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    axon_start: NDArray[np.int64]
    target_start: NDArray[np.int64]
    weight_start: NDArray[np.int64]
    delay_steps: NDArray[np.int32]
    lowest: NDArray[Any]
    highest: NDArray[Any]
    weight: NDArray[Any]
    connected: NDArray[np.uint8]


class SpikesUnderWay(NamedTuple):
    """Spikes that have not arrived, in a ring buffer of (longest delay + 1) steps.

    Attributes:
        axon: (ring, axons) indices, within their projection, of the axons whose spikes arrive, by step of arrival.
        number: (ring, projections) number of spikes that arrive, by step of arrival.
        delay_steps: (axons,) delays at the start of the run, all shorter than the ring buffer.
    """

    axon: NDArray[np.int32]
    number: NDArray[np.int64]
    delay_steps: NDArray[np.int32]


def draw_synapses(
    inputs: int,
    populations: Mapping[str, LIFCells],
    projections: Sequence[Projection],
    rng: np.random.Generator,
    dtype: Any,
) -> Synapses:
    """Draw weights, masks and delays, one projection after another.

    Args:
        inputs: number of sources.
        populations: settings of the cells, by name of the population.
        projections: projections between `populations`, or from "input".
        rng: random generator.
        dtype: dtype of the weights.

    Raises:
        ValueError: a projection has an unknown population, or two projections have the same name.
    """
    names = [INPUT, *populations]
    sizes = [inputs, *(cells.size for cells in populations.values())]
    signs = [np.zeros(inputs, dtype=np.int8), *(cells.signs() for cells in populations.values())]
    taken: set[str] = set()
    weights, masks, delays, lowest, highest = [], [], [], [], []
    before, after = [], []
    for projection in projections:
        if projection.before not in names or projection.after not in names[1:]:
            raise ValueError(
                f"projection {projection.name!r}: expected one from {names} to {names[1:]}, got "
                f"{projection.before!r} to {projection.after!r}"
            )
        if projection.name in taken:
            raise ValueError(f"projections: expected different names, got two named {projection.name!r}")
        taken.add(projection.name)
        p, q = names.index(projection.before), names.index(projection.after)
        shape = sizes[p], sizes[q]
        sign = signs[p][:, None]
        bound = projection.largest_weight
        normal = rng.normal(projection.weight_mean, projection.weight_sd, shape)
        weight = np.clip(np.where(sign == 0, normal, sign * np.abs(normal)), -bound, bound)
        mask = rng.random(shape) < projection.probability
        before.append(p)
        after.append(q)
        weights.append((weight * mask).ravel())
        masks.append(mask.ravel())
        delays.append(rng.integers(projection.delay_range[0], projection.delay_range[1] + 1, sizes[p]))
        lowest.append(np.where(signs[p] > 0, 0.0, -bound))
        highest.append(np.where(signs[p] < 0, 0.0, bound))

    def starts(counts: Sequence[int]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def joined(parts: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
        return np.concatenate([np.zeros(0), *parts]).astype(kind)

    return Synapses(
        unit_start=starts(sizes),
        before=np.array(before, dtype=np.int64),
        after=np.array(after, dtype=np.int64),
        axon_start=starts([sizes[p] for p in before]),
        target_start=starts([sizes[q] for q in after]),
        weight_start=starts([sizes[p] * sizes[q] for p, q in zip(before, after, strict=True)]),
        delay_steps=joined(delays, np.int32),
        lowest=joined(lowest, dtype),
        highest=joined(highest, dtype),
        weight=joined(weights, dtype),
        connected=joined(masks, np.uint8),
    )


@inlined
def send_spikes(fired, delay_steps, axon, number, step):  # type: ignore[no-untyped-def]
    """Send the spikes of a step along one projection.

    Args:
        fired: (spikes,) indices of the axons that fired.
        delay_steps: (axons,), axon: (ring, axons), number: (ring,), as in `SpikesUnderWay`.
        step: index of the step.
    """
    ring = number.shape[0]
    now = step % ring
    for n in range(fired.shape[0]):
        i = fired[n]
        # A comparison in place of a modulo, which would take longer than the rest of the loop.
        slot = now + delay_steps[i]
        slot = slot - ring if slot >= ring else slot
        axon[slot, number[slot]] = i
        number[slot] += 1


@inlined
def excite(drive, weight, axons):  # type: ignore[no-untyped-def]
    """Add the weights (axons, targets) of the axons with arriving spikes to the drives (targets,)."""
    for n in range(axons.shape[0]):
        i = axons[n]
        for j in range(drive.shape[0]):
            drive[j] += weight[i, j]
