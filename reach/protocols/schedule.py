"""From a protocol and a seed to every trial in order: which cup, which perturbation, which noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reach.perturbations import ErrorClamp, HideHand, Perturbation, scaled
from reach.protocols.blocks import Cup, Protocol

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
