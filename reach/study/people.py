"""How fast people correct: group means computed from public data sets, each with its citation.

The adaptation index is the compensation, less its baseline, as a fraction of the perturbation: 0 no change,
1 full. Reach 1 is the first perturbed one. These numbers stand beside a learner's; nothing is fitted to them.
About half of a person's compensation for a 45 degree rotation is a strategy (aiming elsewhere on purpose), so
a learner without a strategy is compared with the implicit part too.
"""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]

# Reaches after onset over which a block mean is taken, first and last.
ROTATION_BLOCKS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 60), (81, 100))

THART_2024 = "'t Hart 2024, data set ExplicitTimeCourse (github.com/thartbm/ExplicitTimeCourse, BSD-3), n = 37"
AVRAHAM_2017 = (
    "Avraham et al. 2017, J Neurophysiol, doi 10.1152/jn.00347.2017, data set "
    "RepresentingDelayedForceFeedback (github.com/guyavr/RepresentingDelayedForceFeedback, MIT), n = 10"
)
MARTIN_1996 = "Martin et al. 1996, Brain 119:1199"


@dataclass(frozen=True)
class HumanCurve:
    """Mean adaptation index of a group by block of reaches, and its fit A (1 - exp(-(n-1)/tau)).

    blocks: (first, last) reach of each block; index: the mean of each. The intervals are 95 %, bootstrapped
    over people; None where no fit was made.
    """

    name: str
    perturbation: str
    citation: str
    blocks: tuple[tuple[int, int], ...]
    index: tuple[float, ...]
    asymptote: float | None = None
    asymptote_interval: Interval | None = None
    tau_reaches: float | None = None
    tau_interval: Interval | None = None
    note: str = ""


@dataclass(frozen=True)
class HumanFact:
    """One cited number in words."""

    protocol: str
    text: str
    citation: str


CURVES: tuple[HumanCurve, ...] = (
    HumanCurve(
        name="people, whole reach",
        perturbation="45° rotation",
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(0.02, 0.08, 0.29, 0.60, 0.78, 0.85, 0.89, 0.97),
        asymptote=0.91,
        asymptote_interval=(0.86, 0.96),
        tau_reaches=7.3,
        tau_interval=(5.3, 9.8),
        note="a single exponential misses the slow tail",
    ),
    HumanCurve(
        name="people, implicit part",
        perturbation="45° rotation",
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(0.24, 0.21, 0.27, 0.38, 0.44, 0.50, 0.52, 0.53),
        asymptote=0.52,
        asymptote_interval=(0.44, 0.61),
        tau_reaches=5.3,
        tau_interval=(3.2, 8.7),
        note="a poor fit: it jumps to .24 after one reach",
    ),
    HumanCurve(
        name="people, aimed part",
        perturbation="45° rotation",
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(-0.01, -0.01, 0.23, 0.42, 0.53, 0.55, 0.56, 0.54),
    ),
)

FACTS: tuple[HumanFact, ...] = (
    HumanFact("prism", "People need 10-30 throws through wedge prisms to hit the target again.", MARTIN_1996),
    HumanFact(
        "curl",
        "In a velocity-dependent force field, people's force in channel trials is .08 of the ideal one at "
        "first, .29 over the first five and .68 over the last five.",
        AVRAHAM_2017,
    ),
)


def curve(name: str) -> HumanCurve:
    """The curve of that name."""
    for one in CURVES:
        if one.name == name:
            return one
    raise KeyError(f"no human curve named {name!r}; known are {[one.name for one in CURVES]}")


def facts(protocol: str) -> tuple[HumanFact, ...]:
    """Cited numbers that belong to a protocol."""
    return tuple(fact for fact in FACTS if fact.protocol == protocol)
