"""How fast people correct: group means and published numbers, each with its citation.

The adaptation index is the compensation, less its baseline, as a fraction of the perturbation: 0 no change, 1 full.
Reach 1 is the first perturbed one. These numbers stand beside a learner's; nothing is fitted to them. About half of a
person's compensation for a 45 degree rotation is a strategy (aiming elsewhere on purpose), so a learner without a
strategy is compared with the implicit part too. Full curves, where a reader has them, come from
`reach.study.human_files`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Interval = tuple[float, float]

# Reaches after onset over which a block mean is taken, first and last.
ROTATION_BLOCKS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 60), (81, 100))

THART_2024 = "'t Hart 2024, data set ExplicitTimeCourse (github.com/thartbm/ExplicitTimeCourse, BSD-3), n = 37"
THART_2023 = "'t Hart 2023, data set ImplicitTimecourse (github.com/thartbm/ImplicitTimecourse, BSD-3)"
AVRAHAM_2017 = (
    "Avraham et al. 2017, J Neurophysiol, doi 10.1152/jn.00347.2017, data set "
    "RepresentingDelayedForceFeedback (github.com/guyavr/RepresentingDelayedForceFeedback, MIT), n = 10"
)
MARTIN_1996 = "Martin et al. 1996, Brain 119:1199"
SPANG = "Spang, Wischhusen, Heppner and Fahle, ECVP abstract 416"
FERNANDEZ_RUIZ_1999 = "Fernandez-Ruiz and Diaz 1999, Learn Mem 6:47"
HAITH_2022 = "Haith et al. 2022, published data of one hand, n = 13"
BRENNER_1997 = "Brenner and Smeets 1997, J Mot Behav, as stated in Brenner et al. 1998, doi 10.1068/v970104"
AIVAR_2008 = "Aivar, Brenner and Smeets 2008, Exp Brain Res 190:251, doi 10.1007/s00221-008-1475-9"
MON_WILLIAMS = "Mon-Williams, Murphy and Hibbard, tactics and timing of smooth corrections"
PAULIGNAN_1991 = "Paulignan et al. 1991, Exp Brain Res 83:502, doi 10.1007/BF00229827"
RUTTLE_2021 = "Ruttle, 't Hart and Henriques 2021, Sci Rep, doi 10.1038/s41598-021-81031-y"
HUBERDEAU_2015 = "Huberdeau, Haith and Krakauer 2015, J Neurophysiol 114:969, doi 10.1152/jn.00369.2015"
AVRAHAM_2021 = "Avraham et al. 2021, PLoS Biol 19:e3001147"
WASHOUT_2025 = "npj Sci Learn 2025, doi s41539-025-00352-z"
FRONTIERS_2021 = "Front Hum Neurosci 2021, doi 10.3389/fnhum.2021.692181"
CREVECOEUR_2020 = "Crevecoeur, Thonnard and Lefevre 2020, eNeuro 7"


@dataclass(frozen=True)
class HumanFit:
    """A (1 - exp(-(n - 1) / tau)) as fitted to people, with 95 % intervals over people.

    part: "whole reach" or "implicit part". asymptote: adaptation index. tau_reaches: reaches for 63 % of it.
    """

    part: str
    degrees: float
    asymptote: float
    asymptote_interval: Interval
    tau_reaches: float
    tau_interval: Interval
    citation: str
    note: str = ""


@dataclass(frozen=True)
class HumanCurve:
    """Mean adaptation index of a group by block of reaches: index[k] is the mean of the reaches blocks[k]."""

    name: str
    degrees: float
    citation: str
    blocks: tuple[tuple[int, int], ...]
    index: tuple[float, ...]

    @property
    def perturbation(self) -> str:
        return f"{self.degrees:g}° rotation"


@dataclass(frozen=True)
class HumanForce:
    """Force in channel trials as a fraction of the force that would cancel the field: mean of the first, the first five
    and the last five channel trials of the block."""

    name: str
    citation: str
    index: tuple[float, float, float]


@dataclass(frozen=True)
class HumanFact:
    """One cited number in words; where it is a range of a measure of ours, that too (metric, low, high)."""

    topic: str
    text: str
    citation: str
    metric: str = ""
    low: float = math.nan
    high: float = math.nan


def fit_of_rate(
    part: str,
    degrees: float,
    percent: tuple[float, float, float],
    asymptote_deg: tuple[float, float, float],
    note: str = "",
) -> HumanFit:
    """A fit given as percent of the rest learned per trial and asymptote in degrees, each as value, low, high.

    With a share r learned of what is left at each trial, tau = -1 / ln(1 - r).
    """
    tau, longest, shortest = (-1.0 / math.log(1.0 - one / 100.0) for one in percent)
    a, low, high = (one / degrees for one in asymptote_deg)
    return HumanFit(part, degrees, a, (low, high), tau, (shortest, longest), THART_2023, note)


CURVES: tuple[HumanCurve, ...] = (
    HumanCurve(
        name="people, whole reach",
        degrees=45.0,
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(0.02, 0.08, 0.29, 0.60, 0.78, 0.85, 0.89, 0.97),
    ),
    HumanCurve(
        name="people, implicit part",
        degrees=45.0,
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(0.24, 0.21, 0.27, 0.38, 0.44, 0.50, 0.52, 0.53),
    ),
    HumanCurve(
        name="people, aimed part",
        degrees=45.0,
        citation=THART_2024,
        blocks=ROTATION_BLOCKS,
        index=(-0.01, -0.01, 0.23, 0.42, 0.53, 0.55, 0.56, 0.54),
    ),
)

FORCE = HumanForce("people, field of 6 N s/m", AVRAHAM_2017, (0.08, 0.29, 0.68))

FITS: tuple[HumanFit, ...] = (
    HumanFit(
        part="whole reach",
        degrees=45.0,
        asymptote=0.91,
        asymptote_interval=(0.86, 0.96),
        tau_reaches=7.3,
        tau_interval=(5.3, 9.8),
        citation=THART_2024,
        note="a single exponential misses the slow tail (late index .97)",
    ),
    HumanFit(
        part="implicit part",
        degrees=45.0,
        asymptote=0.52,
        asymptote_interval=(0.44, 0.61),
        tau_reaches=5.3,
        tau_interval=(3.2, 8.7),
        citation=THART_2024,
        note="a poor fit: it jumps to .24 after one reach",
    ),
    fit_of_rate("whole reach", 30.0, (16.8, 13.2, 21.3), (18.5, 16.7, 20.4), "n = 47"),
    fit_of_rate("implicit part", 30.0, (20.7, 16.1, 26.4), (20.1, 18.7, 21.5), "n = 47, reaches without a cursor"),
)

FACTS: tuple[HumanFact, ...] = (
    HumanFact("prism", "10 to 30 throws through wedge prisms until the target is hit again", MARTIN_1996),
    HumanFact("prism", "with 17° prisms an error is left after more than 100 throws; pointing shows none", SPANG),
    HumanFact(
        "prism",
        "the after-effect goes with the amount of adaptation, and depends on the number of throws, not on time",
        FERNANDEZ_RUIZ_1999,
    ),
    HumanFact(
        "rotation", "the implicit after-effect is near its asymptote after 1 to 3 rotated trials (n = 143)", RUTTLE_2021
    ),
    HumanFact("savings", "5 trials or more of practice are needed for savings on the next day (30°)", HUBERDEAU_2015),
    HumanFact(
        "savings",
        "savings are carried by re-aiming; the implicit part is weaker when learned again (n = 24)",
        AVRAHAM_2021,
    ),
    HumanFact(
        "savings",
        "washout by abrupt, large errors removes savings; gradual washout, or none seen, leaves them (24°)",
        WASHOUT_2025,
    ),
    HumanFact(
        "curl",
        "force in channel trials as a fraction of the ideal: .08 at first, .29 over the first five channel trials, .68 "
        "over the last five (a velocity-dependent field of 6 N s/m)",
        AVRAHAM_2017,
    ),
    HumanFact("curl", "savings after 24 hours and after a week (n = 28)", FRONTIERS_2021),
    HumanFact("curl", "an unexpected field is adapted to within the movement", CREVECOEUR_2020),
    HumanFact(
        "jump",
        "latency 128 ± 13 ms for a jump of 1.5 cm, 141 ± 13 ms for 3 cm, extrapolated from 25 and 75 % of the lateral "
        "speed, which is later than the onset that a twin shows",
        HAITH_2022,
    ),
    HumanFact(
        "jump",
        "half corrected after 330 ms (1.5 cm) and 392 ms (3 cm)",
        HAITH_2022,
        metric="t50_s",
        low=0.330,
        high=0.392,
    ),
    HumanFact(
        "jump",
        "90 % corrected after 470 ms (1.5 cm) and 570 ms (3 cm)",
        HAITH_2022,
        metric="t90_s",
        low=0.470,
        high=0.570,
    ),
    HumanFact("jump", "the direction of the hand changes after about 110 ms at least", BRENNER_1997),
    HumanFact("jump", "latency about 120 ms when the place of the target or of the seen hand changes", AIVAR_2008),
    HumanFact("jump", "about 200 ms until an obstacle that moved is avoided", AIVAR_2008),
    HumanFact(
        "jump", "the trajectory can be changed from 110 ms on; corrections come at about 230 ms", MON_WILLIAMS
    ),
    HumanFact(
        "jump",
        "the wrist turns within 100 ms when the object moves as the reach begins, after about 300 if it moved before",
        PAULIGNAN_1991,
    ),
)  # fmt: skip


def curve(name: str) -> HumanCurve:
    """The curve of that name."""
    for one in CURVES:
        if one.name == name:
            return one
    raise KeyError(f"no human curve named {name!r}; known are {[one.name for one in CURVES]}")


def fits(degrees: float) -> tuple[HumanFit, ...]:
    """The fits to people under a rotation of that size."""
    return tuple(one for one in FITS if one.degrees == degrees)


def facts(protocol: str) -> tuple[HumanFact, ...]:
    """Cited numbers that belong to a protocol: those whose topic its name begins with."""
    return tuple(fact for fact in FACTS if protocol.startswith(fact.topic))


def place(value: float, interval: Interval) -> str:
    """Where a value lies to an interval: "inside", "below" or "above"; "" of no number (infinity is above)."""
    if math.isnan(value):
        return ""
    low, high = interval
    return "below" if value < low else "above" if value > high else "inside"
