"""Preset comparisons for `scripts/compare.py --preset`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A comparison.

    Attributes:
        learners: names; `none` is the reference for the others.
        protocols: names; the report opens with the first one and shows films of it.
        seeds: number of seeds.
    """

    learners: tuple[str, ...]
    protocols: tuple[str, ...]
    seeds: int


PRESETS: dict[str, Preset] = {
    "standard": Preset(
        learners=("none", "error-shallow", "error-bp", "error-dfa", "error-stdp"),
        protocols=("rotation30", "prism"),
        seeds=10,
    ),
    # From training to report in minutes; five seeds give intervals, but are too few for a claim.
    "quick": Preset(learners=("none", "error-bp", "error-dfa"), protocols=("prism",), seeds=5),
    "paper": Preset(
        learners=(
            "none",
            "error-shallow",
            "error-bp",
            "error-fa",
            "error-dfa",
            "error-ifa",
            "error-lstm-bp",
            "error-memory-bp",
            "error-memory-shallow",
            "error-stdp",
        ),
        protocols=("rotation30", "prism", "curl", "savings", "interference", "retention", "switching", "jump"),
        seeds=10,
    ),
    # Which memory follows a switching perturbation: synapses, activity of cells, or structural plasticity.
    "switching": Preset(
        learners=(
            "none",
            "error-bp",
            "error-memory-bp",
            "error-memory-shallow",
            "error-stdp",
            "error-sparse-stdp",
            "error-structural-stdp",
        ),
        protocols=("switching",),
        seeds=10,
    ),
}
