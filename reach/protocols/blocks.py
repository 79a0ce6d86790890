"""Protocols as values: blocks of like trials, what acts in them, what follows each, whether learning is on.

Names of blocks are a closed set, for measures are chosen by them: what is learned in a "perturbed" block is looked for
again in a "relearned" one, is measured without errors in a "clamp" and without sight in an "unseen" one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reach.arguments import require_bool, require_choice, require_name, require_numbers, require_whole
from reach.perturbations import (
    ErrorClamp,
    HideHand,
    Perturbation,
    as_perturbations,
    can_be_scaled,
    has_size,
    scaled,
    write_perturbations,
)
from reach.protocols.schedules import Abrupt, Random, ScaleSchedule
from reach.sim import layout as s
from reach.sim.layout import START_HAND_M

BASELINE, PERTURBED, WASHOUT = "baseline", "perturbed", "washout"
# B of A-B-A and A again; error clamp; nothing seen of the hand; other directions than the one trained.
OPPOSITE, RELEARNED, CLAMP, UNSEEN, PROBED = "opposite", "relearned", "clamp", "unseen", "probed"
BLOCK_NAMES = (BASELINE, PERTURBED, WASHOUT, OPPOSITE, RELEARNED, CLAMP, UNSEEN, PROBED)

# A fan of four cups about the hand's start, as in centre-out reaching; every four reaches visit all four.
TARGET_DISTANCE_M = 0.20
TARGET_BEARINGS_DEGREES = (65.0, 85.0, 105.0, 125.0)
Cup = tuple[float, float]
# More than any study or training takes; every trial of a schedule is held in memory.
MOST_TRIALS = 100_000


def cup_at(bearing_degrees: float, distance_m: float = TARGET_DISTANCE_M) -> Cup:
    """The place (x, y) m of a cup so far from the hand's start, in a direction counter-clockwise from the right."""
    bearing = math.radians(bearing_degrees)
    return START_HAND_M[0] + distance_m * math.cos(bearing), START_HAND_M[1] + distance_m * math.sin(bearing)


TARGETS = tuple(cup_at(bearing) for bearing in TARGET_BEARINGS_DEGREES)


@dataclass(frozen=True)
class Block:
    """A stretch of like trials.

    Attributes:
        name: one of `BLOCK_NAMES`.
        trials: reaches, 1 to 100,000 (probes not counted).
        perturbation: what acts in each reach, all together.
        course: how large it is from trial to trial; see `courses`.
        probe: what acts in a probe trial after a reach; None for no probes. Learning is off in probes.
        probe_every: reaches between two probes, 1 or more.
        learning: whether learning is on.
        cups: places (x, y) m of this block instead of the protocol's; () for the protocol's.
    """

    name: str
    trials: int
    perturbation: tuple[Perturbation, ...] = ()
    course: ScaleSchedule = field(default_factory=Abrupt)
    probe: tuple[Perturbation, ...] | None = None
    probe_every: int = 1
    learning: bool = True
    cups: tuple[Cup, ...] = ()

    def __post_init__(self) -> None:
        require_choice("Block name", self.name, BLOCK_NAMES)
        require_whole("Block trials", self.trials, 1, MOST_TRIALS)
        require_whole("Block probe_every", self.probe_every, 1)
        require_bool("Block learning", self.learning)
        object.__setattr__(self, "perturbation", as_perturbations(self.perturbation))
        object.__setattr__(self, "cups", _places("Block cups", self.cups))
        if isinstance(self.course, type) or not callable(getattr(self.course, "scales", None)):
            raise ValueError(f"Block course is {self.course!r}; a course such as Abrupt() is allowed")
        if self.probe is not None:
            object.__setattr__(self, "probe", as_perturbations(self.probe))
            _require_together(self.probe)
        # What is drawn differs from seed to seed; all that can be drawn must be allowed.
        course: Any = self.course
        drawn = isinstance(course, Random)
        scales = set(course.choices if drawn else course.scales(self.trials, np.random.default_rng(0)))
        if scales != {1.0} and not any(can_be_scaled(one) for one in self.perturbation):
            kinds = [one.kind for one in self.perturbation]
            raise ValueError(
                f"Block course is {self.course!r} with the perturbations {kinds}, none of which has a size that could "
                "change from trial to trial; Abrupt() is allowed"
            )
        for scale in sorted(scales):
            _require_together(tuple(scaled(one, scale) for one in self.perturbation))

    @property
    def has_size(self) -> bool:
        """Whether something acts that can be larger or smaller, and not only a way of seeing."""
        return any(has_size(one) for one in self.perturbation)


def _places(name: str, cups: Any) -> tuple[Cup, ...]:
    """Return the places of cups as pairs of numbers.

    Raises:
        ValueError: not a sequence of pairs of finite numbers.
    """
    if not isinstance(cups, list | tuple):
        raise ValueError(f"{name} is {cups!r}; a tuple of places (x, y) in m is allowed")
    places = [require_numbers(f"{name}, one of them,", cup, (2,)).tolist() for cup in cups]
    return tuple((x, y) for x, y in places)


def _require_together(perturbations: tuple[Perturbation, ...]) -> None:
    """Refuse perturbations that cannot act in one trial.

    Raises:
        ValueError: as the trial itself would.
    """
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)


@dataclass(frozen=True)
class Protocol:
    """A schedule of blocks.

    Attributes:
        name: of the protocol; letters, digits, '.', '_' and '-', up to 100 of them.
        blocks: in order, 1 or more.
        source: the study it follows.
        env_id: the environment it runs in.
        cups: places (x, y) m; each round of reaches visits all of them in an order drawn from the seed.
    """

    name: str
    blocks: tuple[Block, ...]
    source: str
    env_id: str = "reach/CupReach-v0"
    cups: tuple[Cup, ...] = TARGETS

    def __post_init__(self) -> None:
        require_name("Protocol name", self.name)
        if not isinstance(self.blocks, list | tuple) or not all(isinstance(one, Block) for one in self.blocks):
            raise ValueError(f"Protocol {self.name!r} blocks is {self.blocks!r}; a tuple of Blocks is allowed")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "cups", _places(f"Protocol {self.name!r} cups", self.cups))
        if not self.blocks:
            raise ValueError(f"Protocol {self.name!r} has no blocks; 1 or more are allowed")
        if not self.cups:
            raise ValueError(f"Protocol {self.name!r} has no cups; 1 or more are allowed")

    @property
    def reaches(self) -> int:
        """Reaches in all, without probes."""
        return sum(block.trials for block in self.blocks)


# Draws of sizes are a stream of their own: a block whose perturbation is drawn has the cups of one whose is not.
SIZES_STREAM = 1


@dataclass(frozen=True)
class ScheduledTrial:
    """One trial of a schedule.

    Attributes:
        trial, block_number, trial_in_block: counted from 1; a probe carries those of its reach.
        block: name of the block.
        probe: whether it is a probe, which comes after its reach.
        learning: whether learning is on.
        perturbation: what acts, as large as it is in this trial.
        scale: size of the reach's perturbation as a multiple of the block's; 0 where nothing with a size acts. A probe
            carries that of its reach.
        cup: (x, y) m.
        seed: of the trial's noise.
    """

    trial: int
    block: str
    trial_in_block: int
    probe: bool
    learning: bool
    perturbation: tuple[Perturbation, ...]
    cup: Cup
    seed: int
    block_number: int = 1
    scale: float = 0.0

    @property
    def onset_s(self) -> float | None:
        """When, within the reach, the first perturbation sets in; None where none does, or all are there before."""
        times = [onset for one in self.perturbation if (onset := onset_within(one)) is not None]
        return min(times) if times else None

    @property
    def is_clamped(self) -> bool:
        """Whether the seen hand is held on a ray."""
        return any(isinstance(one, ErrorClamp) for one in self.perturbation)

    @property
    def standing(self) -> tuple[Perturbation, ...]:
        """What is there from before the reach, ways of seeing included."""
        return tuple(one for one in self.perturbation if onset_within(one) is None)


def onset_within(perturbation: Perturbation) -> float | None:
    """The time (s) in the trial at which a perturbation sets in; None if it is there before, or is a way of seeing."""
    if isinstance(perturbation, HideHand):
        return None
    found: float | None = getattr(perturbation, "onset_s", None)
    return found


def schedule_of(protocol: Protocol, seed: int) -> list[ScheduledTrial]:
    """Every trial of a protocol in order; cups, sizes and noise seeds follow from `seed` alone: learners are paired."""
    rng = np.random.default_rng(seed)
    sizes = np.random.default_rng((seed, SIZES_STREAM))
    noise = np.random.SeedSequence(seed)
    found: list[ScheduledTrial] = []
    order: list[int] = []
    cups: tuple[Cup, ...] = ()
    reaches = 0
    for number, block in enumerate(protocol.blocks, start=1):
        wanted = block.cups or protocol.cups
        if wanted != cups:
            cups, order = wanted, []
        for place, scale in enumerate(block.course.scales(block.trials, sizes), start=1):
            reaches += 1
            if not order:
                order = rng.permutation(len(cups)).tolist()
            cup = cups[order.pop()]
            acting = tuple(scaled(one, scale) for one in block.perturbation)
            kinds = [(False, block.learning, acting)]
            if block.probe is not None and place % block.probe_every == 0:
                kinds.append((True, False, block.probe))
            for probe, learning, perturbation in kinds:
                trial_seed = int(noise.spawn(1)[0].generate_state(1)[0])
                found.append(
                    ScheduledTrial(
                        reaches, block.name, place, probe, learning, perturbation, cup, trial_seed,
                        number, scale if block.has_size else 0.0,
                    )
                )  # fmt: skip
    return found
