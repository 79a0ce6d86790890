"""Projections: the synapses from one population to another, with axonal delays and Dale's law.

A projection is a dense block of weights (axons, targets) with a mask of the synapses that are there; all blocks lie
one after another in one array, so that a network of any shape runs in one kernel. A delay belongs to an axon: every
spike of a cell reaches all targets of the projection the same number of steps later. Two projections between the same
populations give a pair of cells two paths with two delays. Under Dale's law (a cell's outgoing weights share one sign;
Eccles, Fatt and Koketsu 1954) the sign of the presynaptic cell bounds its weights.
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

INPUT = "input"


@dataclass(frozen=True)
class Projection:
    """Settings of the synapses from population `before` to population `after`; "input" names the sources.

    Attributes:
        name: by which the circuit knows it; "before-after" where it is empty.
        weight_mean, weight_sd: of the normal variates from which first weights are drawn; under Dale's law their
            magnitude counts. In units of the synaptic drive that a spike adds.
        largest_weight: bound of a weight's magnitude, above 0. First weights are held to it too.
        probability: that a synapse is there, 0 to 1.
        delay_steps: whole steps from a spike to its arrival, 0 or more, or (low, high), of which each axon draws one.
            A spike of a step acts on the thresholds of the next, with a delay of d on those of d steps after.
        plasticity: pair STDP, or None for weights that do not change.
        structure: structural plasticity, or None for synapses that stay where they are.
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
        """Name the projection and refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        if not self.name:
            object.__setattr__(self, "name", f"{self.before}-{self.after}")
        require_number(self, "weight_mean", -math.inf)
        require_number(self, "weight_sd", 0.0)
        require_number(self, "largest_weight", 1e-9)
        require_number(self, "probability", 0.0, 1.0)
        ends = self.delay_steps if isinstance(self.delay_steps, tuple) else (self.delay_steps,)
        if not all(is_whole(end) for end in ends) or not 1 <= len(ends) <= 2 or not 0 <= ends[0] <= ends[-1]:
            raise ValueError(
                f"Projection delay_steps is {self.delay_steps!r}; a whole number of 0 or more is allowed, or a "
                "(low, high) range of them"
            )
        whole = tuple(int(end) for end in ends)
        object.__setattr__(self, "delay_steps", whole if isinstance(self.delay_steps, tuple) else whole[0])
        if self.structure is not None and self.probability == 1.0:
            raise ValueError(
                "Projection probability is 1.0; with structure, below 1 is allowed, so that a new synapse finds a place"
            )

    @property
    def delay_range(self) -> tuple[int, int]:
        """Shortest and longest delay, steps."""
        return self.delay_steps if isinstance(self.delay_steps, tuple) else (self.delay_steps, self.delay_steps)


class Synapses(NamedTuple):
    """All projections of a circuit, as arrays; axons, targets and blocks of weights lie one after another.

    Attributes:
        unit_start: (populations + 1,) first unit of each population; the input is population 0.
        before, after: (projections,) populations.
        axon_start, target_start, weight_start: (projections + 1,).
        delay_steps: (axons,).
        lowest, highest: (axons,) bounds of an axon's weights.
        weight: (weights,); the only array that learning changes.
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


class Axons(NamedTuple):
    """Spikes under way: places of axons by step of arrival, a ring of (longest delay + 1) steps.

    Attributes:
        arriving: (steps, axons) places within the projection, from `axon_start` on.
        number: (steps, projections) how many arrive.
        delay_steps: (axons,) as they were when the run began, none as long as the ring.
    """

    arriving: NDArray[np.int32]
    number: NDArray[np.int64]
    delay_steps: NDArray[np.int32]


def draw_synapses(
    inputs: int,
    populations: Mapping[str, LIFCells],
    projections: Sequence[Projection],
    rng: np.random.Generator,
    dtype: Any,
) -> Synapses:
    """Draw masks, weights and delays, one projection after another.

    Args:
        inputs: sources.
        populations: by name.
        projections: their `before` and `after` are in `populations`, or `before` is "input".
        rng: source of what is drawn.
        dtype: of the weights.

    Raises:
        ValueError: a projection with an unknown population, or two of one name.
    """
    names = [INPUT, *populations]
    sizes = [inputs, *(one.size for one in populations.values())]
    signs = [np.zeros(inputs, dtype=np.int8), *(one.signs() for one in populations.values())]
    seen: set[str] = set()
    weights, masks, delays, lowest, highest = [], [], [], [], []
    before, after = [], []
    for one in projections:
        if one.before not in names or one.after not in names[1:]:
            raise ValueError(
                f"projection {one.name!r} goes from {one.before!r} to {one.after!r}; from {names} to {names[1:]} is "
                "allowed"
            )
        if one.name in seen:
            raise ValueError(f"two projections are named {one.name!r}; names of their own are allowed")
        seen.add(one.name)
        p, q = names.index(one.before), names.index(one.after)
        shape = sizes[p], sizes[q]
        sign = signs[p][:, None]
        drawn = rng.normal(one.weight_mean, one.weight_sd, shape)
        weight = np.clip(np.where(sign == 0, drawn, sign * np.abs(drawn)), -one.largest_weight, one.largest_weight)
        there = rng.random(shape) < one.probability
        before.append(p)
        after.append(q)
        weights.append((weight * there).ravel())
        masks.append(there.ravel())
        delays.append(rng.integers(one.delay_range[0], one.delay_range[1] + 1, sizes[p]))
        lowest.append(np.where(signs[p] > 0, 0.0, -one.largest_weight))
        highest.append(np.where(signs[p] < 0, 0.0, one.largest_weight))

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


def silent_axons(synapses: Synapses) -> Axons:
    """No spike under way."""
    steps = int(synapses.delay_steps.max(initial=0)) + 1
    return Axons(
        arriving=np.zeros((steps, len(synapses.delay_steps)), dtype=np.int32),
        number=np.zeros((steps, len(synapses.before)), dtype=np.int64),
        delay_steps=synapses.delay_steps.copy(),
    )


@inlined
def send(fired, delay_steps, arriving, number, step):  # type: ignore[no-untyped-def]
    """Put the spikes of a step on their way along one projection.

    Args:
        fired: places of the axons that fired.
        delay_steps: (axons,), arriving: (ring, axons), number: (ring,), as in `Axons`.
        step: the running number of the step.
    """
    ring = number.shape[0]
    now = step % ring
    for n in range(fired.shape[0]):
        i = fired[n]
        # A division for each spike would take longer than all else here.
        slot = now + delay_steps[i]
        slot = slot - ring if slot >= ring else slot
        arriving[slot, number[slot]] = i
        number[slot] += 1


@inlined
def deliver(drive, weight, places):  # type: ignore[no-untyped-def]
    """Spikes arrive along the axons at `places`: add their weights (axons, targets) to the drives (targets,)."""
    for n in range(places.shape[0]):
        i = places[n]
        for j in range(drive.shape[0]):
            drive[j] += weight[i, j]
