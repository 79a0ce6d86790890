"""Comparisons under a name, for `scripts/compare.py --preset`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A comparison: which learners, through which protocols, over how many seeds.

    The first protocol is the one the report opens with and films; learner `none` is the measure of the others.
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
    # A look at the whole way from training to report, in minutes; five seeds give intervals and no claim.
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
    # What can still follow a perturbation that turns: synapses, cells' activity, and synapses that come and go.
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
