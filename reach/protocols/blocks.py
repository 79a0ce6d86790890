"""Protocols as values: blocks of trials, schedules of size, and the list of trials for a protocol and a seed.

A schedule gives the size of a block's perturbation in each trial. The names of blocks determine the measures, so they
are a closed set: learning in a "perturbed" block is tested again in a "relearned" block, without errors in a "clamp"
block, and without sight of the hand in an "unseen" block.
"""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reach.arguments import require_bool, require_choice, require_name, require_number, require_numbers, require_whole
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
from reach.sim import layout as s
from reach.sim.layout import START_HAND_M
from reach.sim.retina import MOST_LAMPS, lamps_of

LARGEST_SCALE = 10.0
# Lamps of each trial of a block, (trials, lamps), 1 for on and 0 for off.
TrialLamps = NDArray[np.int64]


class ScaleSchedule(typing.Protocol):
    """The interface of every schedule."""

    @property
    def kind(self) -> str:
        """Return the name in `SCALE_SCHEDULES`."""

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return the size of the perturbation in each trial, as a multiple of the block's perturbation.

        Args:
            trials: number of trials.
            rng: generator for random sizes.
            lamps: (trials, n), for sizes that depend on the lamps.
        """

    def describe(self) -> str:
        """Return a short description for a table of protocols; empty for the default schedule."""


def _require_scales(schedule: object, *scales: float) -> None:
    for scale in scales:
        require_number(f"{type(schedule).__name__} scale", scale, -LARGEST_SCALE, LARGEST_SCALE)


@dataclass(frozen=True)
class Abrupt:
    """The same size in every trial.

    Attributes:
        scale: size, -10..10; -1 is the opposite perturbation.
    """

    scale: float = 1.0
    kind: str = field(default="abrupt", init=False)

    def __post_init__(self) -> None:
        _require_scales(self, self.scale)

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return `scale` for every trial."""
        return [float(self.scale)] * trials

    def describe(self) -> str:
        """Return the size if it is not 1."""
        return {1.0: "", -1.0: "opposite"}.get(float(self.scale), f"times {self.scale:.3g}")


@dataclass(frozen=True)
class Gradual:
    """A ramp in equal steps, so that no single error is noticeable (Kagerer et al. 1997).

    Attributes:
        trials: length of the ramp, 1 or more; after it the perturbation has its full size.
    """

    trials: int
    kind: str = field(default="gradual", init=False)

    def __post_init__(self) -> None:
        require_whole("Gradual trials", self.trials, 1)

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return 1/n, 2/n ... 1, 1."""
        return [min(1.0, n / self.trials) for n in range(1, trials + 1)]

    def describe(self) -> str:
        """Return the length of the ramp."""
        return f"ramped over {self.trials}"


@dataclass(frozen=True)
class Random:
    """A random size for each trial, determined by the schedule's seed (Scheidt, Dingwell and Mussa-Ivaldi 2001).

    Attributes:
        choices: one or more sizes, each -10..10, drawn with equal probability; 0 is an unperturbed trial.
    """

    choices: tuple[float, ...] = (-1.0, 1.0)
    kind: str = field(default="random", init=False)

    def __post_init__(self) -> None:
        choices: Any = self.choices
        if not isinstance(choices, list | tuple) or not choices:
            raise ValueError(f"Random choices: expected 1 or more scales, got {choices!r}")
        object.__setattr__(self, "choices", tuple(choices))
        _require_scales(self, *self.choices)

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return one draw for each trial."""
        return [float(self.choices[k]) for k in rng.integers(len(self.choices), size=trials)]

    def describe(self) -> str:
        """Return the choices."""
        return "drawn from " + ", ".join(f"{scale:g}" for scale in self.choices)


@dataclass(frozen=True)
class Flipping:
    """The perturbation and its opposite, alternating (Thoroughman and Shadmehr 1999).

    Attributes:
        every: number of trials between two flips, 1 or more.
    """

    every: int
    kind: str = field(default="flipping", init=False)

    def __post_init__(self) -> None:
        require_whole("Flipping every", self.every, 1)

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return 1 for `every` trials, then -1 for as many, and so on."""
        return [-1.0 if n // self.every % 2 else 1.0 for n in range(trials)]

    def describe(self) -> str:
        """Return the number of trials between flips."""
        return f"flipped every {self.every}"


@dataclass(frozen=True)
class Parity:
    """The perturbation if an even number of the first lamps is on, its opposite if an odd number is on.

    For two lamps this is XOR, the smallest problem that no weighted sum of the lamps solves (Minsky and Papert 1969,
    Perceptrons). The other lamps carry no information.

    Attributes:
        lamps: number of lamps that determine the sign, 1..32.
    """

    lamps: int = 2
    choices: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    kind: str = field(default="parity", init=False)

    def __post_init__(self) -> None:
        require_whole("Parity lamps", self.lamps, 1, MOST_LAMPS)

    def scales(self, trials: int, rng: np.random.Generator, lamps: TrialLamps) -> list[float]:
        """Return 1 or -1 for each trial."""
        return [-1.0 if on % 2 else 1.0 for on in lamps[:, : self.lamps].sum(axis=1).tolist()]

    def describe(self) -> str:
        """Return which lamps determine the sign."""
        return f"sign by the parity of {self.lamps} lamps"


SCALE_SCHEDULES: dict[str, type[Any]] = {kind.kind: kind for kind in (Abrupt, Gradual, Random, Flipping, Parity)}


BASELINE, PERTURBED, WASHOUT = "baseline", "perturbed", "washout"
# Names of further blocks: B in A-B-A (the opposite of A, or others); A again; an error clamp; no sight of the hand;
# untrained directions.
OPPOSITE, OTHER, RELEARNED, CLAMP = "opposite", "other", "relearned", "clamp"
UNSEEN, PROBED = "unseen", "probed"
BLOCK_NAMES = (BASELINE, PERTURBED, WASHOUT, OPPOSITE, OTHER, RELEARNED, CLAMP, UNSEEN, PROBED)

# Four cups around the start of the hand, as in centre-out reaching; each round of four reaches visits all of them.
TARGET_DISTANCE_M = 0.20
TARGET_BEARINGS_DEGREES = (65.0, 85.0, 105.0, 125.0)
Cup = tuple[float, float]
# Upper limit, more than any study or training needs; all trials of a schedule are held in memory.
MOST_TRIALS = 100_000
# Separate random streams for sizes and lamps, so that drawing them does not change cups or noise.
SIZES_STREAM, LAMPS_STREAM = 1, 2


def cup_at(bearing_degrees: float, distance_m: float = TARGET_DISTANCE_M) -> Cup:
    """Return the position (x, y), m, of a cup relative to the hand's start; bearing 0 is right, 90 is forward."""
    bearing = math.radians(bearing_degrees)
    return START_HAND_M[0] + distance_m * math.cos(bearing), START_HAND_M[1] + distance_m * math.sin(bearing)


TARGETS = tuple(cup_at(bearing) for bearing in TARGET_BEARINGS_DEGREES)


@dataclass(frozen=True)
class Block:
    """A sequence of similar trials.

    Attributes:
        name: one of `BLOCK_NAMES`.
        trials: number of reaches, 1 to 100,000; probes are not counted.
        perturbation: perturbations that act together in each reach.
        scale: schedule of the size of the perturbation, see `SCALE_SCHEDULES`.
        probe: perturbations in the probe trial after a reach; None for no probes. Learning is off in probes.
        probe_every: number of reaches per probe, 1 or more.
        learning: whether learning is on.
        cups: positions (x, y), m, for this block; () for those of the protocol.
        context: lamps in every trial, each 0 or 1; () to draw them for each reach.
    """

    name: str
    trials: int
    perturbation: tuple[Perturbation, ...] = ()
    scale: ScaleSchedule = field(default_factory=Abrupt)
    probe: tuple[Perturbation, ...] | None = None
    probe_every: int = 1
    learning: bool = True
    cups: tuple[Cup, ...] = ()
    context: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require_choice("Block name", self.name, BLOCK_NAMES)
        require_whole("Block trials", self.trials, 1, MOST_TRIALS)
        require_whole("Block probe_every", self.probe_every, 1)
        require_bool("Block learning", self.learning)
        object.__setattr__(self, "perturbation", as_perturbations(self.perturbation))
        object.__setattr__(self, "cups", _places("Block cups", self.cups))
        object.__setattr__(self, "context", lamps_of(self.context, None, "Block context"))
        if isinstance(self.scale, type) or not callable(getattr(self.scale, "scales", None)):
            raise ValueError(f"Block scale: expected a schedule such as Abrupt(), got {self.scale!r}")
        if self.probe is not None:
            object.__setattr__(self, "probe", as_perturbations(self.probe))
            _require_compatible(self.probe)
        scales = self.possible_scales
        if scales != {1.0} and not any(can_be_scaled(perturbation) for perturbation in self.perturbation):
            kinds = [perturbation.kind for perturbation in self.perturbation]
            raise ValueError(
                f"Block scale: expected Abrupt() because none of the perturbations {kinds} has a size that can be "
                f"scaled, got {self.scale!r}"
            )
        for scale in sorted(scales):
            _require_compatible(tuple(scaled(perturbation, scale) for perturbation in self.perturbation))

    @property
    def possible_scales(self) -> set[float]:
        """Return all sizes that trials of the block can have, for any seed."""
        schedule: Any = self.scale
        if hasattr(schedule, "choices"):
            return set(schedule.choices)
        return set(schedule.scales(self.trials, np.random.default_rng(0), np.zeros((self.trials, 0), dtype=np.int64)))

    @property
    def has_size(self) -> bool:
        """Return whether any perturbation has a size; hiding the hand, for example, has none."""
        return any(has_size(perturbation) for perturbation in self.perturbation)


def _places(name: str, cups: Any) -> tuple[Cup, ...]:
    """Return the positions of cups as pairs of floats.

    Raises:
        ValueError: the value is not a sequence of pairs of finite numbers.
    """
    if not isinstance(cups, list | tuple):
        raise ValueError(f"{name}: expected a tuple of places (x, y) in m, got {cups!r}")
    places = [require_numbers(f"{name}[{k}]", cup, (2,)).tolist() for k, cup in enumerate(cups)]
    return tuple((x, y) for x, y in places)


def _require_compatible(perturbations: tuple[Perturbation, ...]) -> None:
    """Check that perturbations can act together in one trial.

    Raises:
        ValueError: the perturbations exclude each other; the error is the one that the trial would raise.
    """
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)


@dataclass(frozen=True)
class Protocol:
    """A sequence of blocks.

    Attributes:
        name: up to 100 letters, digits, '.', '_' and '-'.
        blocks: one or more blocks, in order.
        source: the study that the protocol follows.
        env_id: id of the environment.
        cups: positions (x, y), m; each round of reaches visits all of them, in an order drawn from the seed.
        title: title in reports; empty to use the name.
        context: number of lamps, 0..32.
    """

    name: str
    blocks: tuple[Block, ...]
    source: str
    env_id: str = "reach/CupReach-v1"
    cups: tuple[Cup, ...] = TARGETS
    title: str = ""
    context: int = 0

    def __post_init__(self) -> None:
        require_name("Protocol name", self.name)
        if not isinstance(self.blocks, list | tuple) or not all(isinstance(block, Block) for block in self.blocks):
            raise ValueError(f"Protocol {self.name!r} blocks: expected a tuple of Block, got {self.blocks!r}")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "cups", _places(f"Protocol {self.name!r} cups", self.cups))
        for name in ("blocks", "cups"):
            if not getattr(self, name):
                raise ValueError(f"Protocol {self.name!r} {name}: expected 1 or more, got none")
        require_whole(f"Protocol {self.name!r} context", self.context, 0, MOST_LAMPS)
        for number, block in enumerate(self.blocks, start=1):
            if len(block.context) not in (0, self.context):
                raise ValueError(f"block {number} context: expected {self.context} lamps, got {block.context}")
            if isinstance(block.scale, Parity) and block.scale.lamps > self.context:
                raise ValueError(
                    f"block {number} scale: expected Parity of at most the {self.context} lamps of the protocol's "
                    f"context, got {block.scale}"
                )

    @property
    def reaches(self) -> int:
        """Return the number of reaches without probes."""
        return sum(block.trials for block in self.blocks)


@dataclass(frozen=True)
class ScheduledTrial:
    """One trial of a schedule.

    Attributes:
        trial, block_number, trial_in_block: counted from 1; a probe has those of the reach before it.
        block: name of the block.
        probe: whether the trial is a probe.
        learning: whether learning is on.
        perturbation: perturbations at their size in this trial.
        scale: size of the reach's perturbation as a multiple of the block's; 0 if no perturbation has a size. A probe
            has the scale of the reach before it.
        cup: position (x, y), m.
        seed: seed of the trial's noise.
        context: lamps, 1 for on and 0 for off; a probe has those of the reach before it.
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
    context: tuple[int, ...] = ()

    @property
    def onset_s(self) -> float | None:
        """Return the time of the first onset within the reach, s; None if all perturbations act from the start."""
        onsets = [onset for perturbation in self.perturbation if (onset := onset_within(perturbation)) is not None]
        return min(onsets) if onsets else None

    @property
    def is_clamped(self) -> bool:
        """Return whether an error clamp holds the seen hand on a ray."""
        return any(isinstance(perturbation, ErrorClamp) for perturbation in self.perturbation)

    @property
    def from_start(self) -> tuple[Perturbation, ...]:
        """Return the perturbations that act from the start of the trial, including a hidden hand."""
        return tuple(perturbation for perturbation in self.perturbation if onset_within(perturbation) is None)


def onset_within(perturbation: Perturbation) -> float | None:
    """Return the onset of a perturbation within the trial, s; None if it acts from the start.

    Hiding the hand counts as acting from the start, because it displaces neither the hand nor the cup.
    """
    if isinstance(perturbation, HideHand):
        return None
    onset_s: float | None = getattr(perturbation, "onset_s", None)
    return onset_s


def schedule_of(protocol: Protocol, seed: int) -> list[ScheduledTrial]:
    """Return all trials of a protocol in order.

    Cups, sizes, lamps and noise depend on `seed` only, so comparisons of learners with the same seed are paired.
    """
    rng = np.random.default_rng(seed)
    sizes, lamps = (np.random.default_rng((seed, stream)) for stream in (SIZES_STREAM, LAMPS_STREAM))
    noise = np.random.SeedSequence(seed)
    trials: list[ScheduledTrial] = []
    order: list[int] = []
    cups: tuple[Cup, ...] = ()
    reaches = 0
    for number, block in enumerate(protocol.blocks, start=1):
        if (block.cups or protocol.cups) != cups:
            cups, order = block.cups or protocol.cups, []
        drawn = lamps.integers(2, size=(block.trials, protocol.context))
        contexts = np.tile(block.context, (block.trials, 1)) if block.context else drawn
        scales = block.scale.scales(block.trials, sizes, contexts)
        for in_block, (scale, context) in enumerate(zip(scales, contexts.tolist(), strict=True), start=1):
            reaches += 1
            if not order:
                order = rng.permutation(len(cups)).tolist()
            cup = cups[order.pop()]
            kinds = [(False, block.learning, tuple(scaled(perturbation, scale) for perturbation in block.perturbation))]
            if block.probe is not None and in_block % block.probe_every == 0:
                kinds.append((True, False, block.probe))
            for probe, learning, perturbation in kinds:
                trials.append(
                    ScheduledTrial(
                        reaches, block.name, in_block, probe, learning, perturbation, cup,
                        seed=int(noise.spawn(1)[0].generate_state(1)[0]),
                        block_number=number, scale=scale if block.has_size else 0.0,
                        context=tuple(context),
                    )
                )  # fmt: skip
    return trials
