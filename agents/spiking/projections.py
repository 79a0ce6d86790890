"""Projections: the synapses from one population to another, with axonal delays and Dale's law.

The weights of a projection are a dense block (axons, targets) with a mask of existing synapses. All blocks lie one
after another in one array, so that one kernel runs a network of any shape. A delay belongs to an axon: a spike reaches
all targets of the projection the same number of steps later. Two projections between the same populations give a pair
of cells two paths with two delays. Dale's law (a cell's outgoing weights share one sign; Eccles, Fatt and Koketsu 1954)
bounds the weights of an axon at 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.jit import inlined
from agents.spiking.checks import require_number
from agents.spiking.lif import LIFCells
from agents.spiking.stdp import PairSTDP
from agents.spiking.structural_plasticity import StructuralPlasticity
from reach.arguments import is_whole

# The name of the sources, as if they were a population.
INPUT = "input"


@dataclass(frozen=True)
class Projection:
    """Settings of the synapses from population `before` to population `after`.

    Attributes:
        before: a population, or "input" for the sources.
        after: a population.
        name: of the projection in its circuit; "before-after" if empty.
        weight_mean, weight_sd: of the normal distribution of the first weights, in units of the synaptic drive that a
            spike adds. Under Dale's law the magnitude of a draw is used.
        largest_weight: bound of a weight's magnitude, above 0; first weights are clipped to it.
        probability: of a synapse to exist, 0 to 1.
        delay_steps: steps from a spike to its arrival, 0 or more, or a (low, high) range from which each axon draws. A
            spike acts on the thresholds of the next step with a delay of 0, and of d steps later with a delay of d.
        plasticity: pair STDP; None for constant weights.
        structure: structural plasticity; None for synapses that stay where they are.

    Raises:
        ValueError: a setting outside its range.
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
        """Name the projection and validate the settings."""
        if not self.name:
            object.__setattr__(self, "name", f"{self.before}-{self.after}")
        require_number(self, "weight_mean", -math.inf)
        require_number(self, "weight_sd", 0.0)
        require_number(self, "largest_weight", 1e-9)
        require_number(self, "probability", 0.0, 1.0)
        ends = self.delay_steps if isinstance(self.delay_steps, tuple) else (self.delay_steps,)
        if not all(is_whole(end) for end in ends) or not 1 <= len(ends) <= 2 or not 0 <= ends[0] <= ends[-1]:
            raise ValueError(
                "Projection delay_steps: expected a whole number of 0 or more, or a (low, high) range of them, "
                f"got {self.delay_steps!r}"
            )
        whole = tuple(int(end) for end in ends)
        object.__setattr__(self, "delay_steps", whole if isinstance(self.delay_steps, tuple) else whole[0])
        if self.structure is not None and self.probability == 1.0:
            raise ValueError(
                "Projection probability: expected below 1 with structure, to leave room for new synapses, got 1.0"
            )

    @property
    def delay_range(self) -> tuple[int, int]:
        """Return the shortest and the longest delay, in steps."""
        return self.delay_steps if isinstance(self.delay_steps, tuple) else (self.delay_steps, self.delay_steps)


class Synapses(NamedTuple):
    """All projections of a circuit as arrays; axons, targets and blocks of weights lie one after another.

    Attributes:
        unit_start: (populations + 1,) first unit of each population; population 0 is the sources.
        before, after: (projections,) populations.
        axon_start, target_start, weight_start: (projections + 1,) first axon, target and weight of each projection.
        delay_steps: (axons,).
        lowest, highest: (axons,) bounds of an axon's weights.
        weight: (weights,); learning changes only this array.
        connected: (weights,) 1 where there is a synapse.
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
    """Spikes that have not arrived, in a ring of (longest delay + 1) steps.

    Attributes:
        axon: (ring, axons) indices of axons within their projection, by step of arrival.
        number: (ring, projections) number of spikes that arrive.
        delay_steps: (axons,) the delays at the start of the run; all are shorter than the ring.
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
        populations: by name.
        projections: between `populations`, or from "input".
        rng: source of random numbers.
        dtype: of the weights.

    Raises:
        ValueError: a projection with an unknown population, or two of the same name.
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


def no_spikes_under_way(synapses: Synapses) -> SpikesUnderWay:
    """Return an empty ring for the present delays."""
    ring = int(synapses.delay_steps.max(initial=0)) + 1
    return SpikesUnderWay(
        axon=np.zeros((ring, len(synapses.delay_steps)), dtype=np.int32),
        number=np.zeros((ring, len(synapses.before)), dtype=np.int64),
        delay_steps=synapses.delay_steps.copy(),
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
        # A modulo for each spike would take longer than the rest of the loop.
        slot = now + delay_steps[i]
        slot = slot - ring if slot >= ring else slot
        axon[slot, number[slot]] = i
        number[slot] += 1


@inlined
def excite(drive, weight, axons):  # type: ignore[no-untyped-def]
    """Add the weights (axons, targets) of the axons along which a spike arrives to the drives (targets,)."""
    for n in range(axons.shape[0]):
        i = axons[n]
        for j in range(drive.shape[0]):
            drive[j] += weight[i, j]
