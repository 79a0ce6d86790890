"""How fast people correct: published numbers with their citations, and curves from a reader's CSV files.

The adaptation index is the compensation, less its baseline, as a fraction of the perturbation: 0 no change, 1 full.
Reach 1 is the first perturbed one. These numbers are shown next to a learner's; nothing is fitted to them. About half
of a person's compensation for a 45 degree rotation is a strategy (deliberate re-aiming), so a learner without a
strategy is compared with the implicit part too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """A (1 - exp(-(n - 1) / tau)) fitted to people, with 95 % intervals over people.

    Attributes:
        part: "whole reach" or "implicit part".
        degrees: size of the rotation.
        asymptote, asymptote_interval: A, adaptation index.
        tau_reaches, tau_interval: tau, reaches for 63 % of A.
        citation, note: source, and a remark.
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
    """Force in channel trials as a fraction of the force that would cancel the field.

    `index` holds the mean of the first, of the first five and of the last five channel trials of the block.
    """

    name: str
    citation: str
    index: tuple[float, float, float]


@dataclass(frozen=True)
class HumanFact:
    """One cited result in words; if it is a range of one of our measures, also (metric, low, high)."""

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
    """Return a fit from the percentage of the remainder learned per trial and the asymptote, each (value, low, high).

    If each trial corrects a share r of the remaining error, tau = -1 / ln(1 - r).
    """
    tau, longest, shortest = (-1.0 / math.log(1.0 - rate / 100.0) for rate in percent)
    a, low, high = (value / degrees for value in asymptote_deg)
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
    """Return the curve of that name."""
    for human in CURVES:
        if human.name == name:
            return human
    raise KeyError(f"name: expected one of {[human.name for human in CURVES]}, got {name!r}")


def fits(degrees: float) -> tuple[HumanFit, ...]:
    """Return the fits to people under a rotation of that size."""
    return tuple(fit for fit in FITS if fit.degrees == degrees)


def facts(protocol: str) -> tuple[HumanFact, ...]:
    """Return the cited results for a protocol: those whose topic begins its name."""
    return tuple(fact for fact in FACTS if protocol.startswith(fact.topic))


def place(value: float, interval: Interval) -> str:
    """Return where a value lies relative to an interval: "inside", "below" or "above"; "" for NaN."""
    if math.isnan(value):
        return ""
    low, high = interval
    return "below" if value < low else "above" if value > high else "inside"


# --- curves from files ----------------------------------------------------------------------------------------
# Three kinds of CSV file hold a curve, a group mean by reach: adaptation to a rotation (`trial_after_onset, n, ai_mean,
# ai_sem`), force in channel trials (`fc_trial, n, ai_mean, ai_sem`) and the angle of the hand under an error clamp
# (`target_group, cycle_of_8, hand_angle_deg_mean, hand_angle_deg_sem, n`). Further columns are ignored. A table of fits
# (`group, reach_asymptote_deg, ...`) or of published numbers (`topic, quantity, value, ...`) may lie there too.

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HumanSeries:
    """Mean of a group of people by reach.

    Attributes:
        name: label in a legend.
        kind: "rotation" (adaptation index), "force" (share of the ideal force in channel trials) or "clamp" (angle of
            the hand, degrees, by cycle of 8 reaches).
        degrees: size of the rotation from the file's name ("rot45..."), NaN without one.
        reach: (n,) from 1, the first perturbed one.
        mean, sem: (n,) over people; sem is NaN where it is missing.
        people: largest number of people behind any mean.
        file: its name.
    """

    name: str
    kind: str
    degrees: float
    reach: Floats
    mean: Floats
    sem: Floats
    people: int
    file: str


@dataclass(frozen=True)
class _Kind:
    name: str
    reach: str
    mean: str
    sem: str

    @property
    def columns(self) -> set[str]:
        return {self.reach, "n", self.mean, self.sem}


KINDS = (
    _Kind("rotation", "trial_after_onset", "ai_mean", "ai_sem"),
    _Kind("force", "fc_trial", "ai_mean", "ai_sem"),
    _Kind("clamp", "cycle_of_8", "hand_angle_deg_mean", "hand_angle_deg_sem"),
)
# Files without a curve that may lie in the same folder.
TABLES = ({"group", "reach_asymptote_deg"}, {"topic", "quantity", "value"})


def read_curves(folder: str | Path) -> tuple[HumanSeries, ...]:
    """Return the curves of all CSV files in a folder, sorted by file name.

    Raises:
        FileNotFoundError: the folder does not exist or has no CSV file.
        ValueError: a file is not a table of these kinds or has a wrong value, or no file holds a curve.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"human: expected a folder with CSV files of people, got {str(folder)!r}")
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"human: expected a folder with CSV files, got {str(folder)!r} without any")
    curves = [series for file in files for series in _read(file)]
    if not curves:
        raise ValueError(f"human: expected a curve with the columns {_known()}, got none in {str(folder)!r}")
    return tuple(curves)


def _known() -> str:
    return "; or ".join(", ".join([kind.reach, "n", kind.mean, kind.sem]) for kind in KINDS)


def _read(file: Path) -> list[HumanSeries]:
    try:
        table = pd.read_csv(file, index_col=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as CSV: {error}") from error
    columns = set(map(str, table.columns))
    for kind in KINDS:
        if kind.columns <= columns:
            if kind.name == "clamp" and "target_group" in columns:
                return [_series(file, kind, part, str(group)) for group, part in table.groupby("target_group")]
            return [_series(file, kind, table, "")]
    if any(table_columns <= columns for table_columns in TABLES):
        return []
    raise ValueError(f"{file}: expected the columns {_known()}, got {', '.join(map(str, table.columns))}")


def _series(file: Path, kind: _Kind, table: pd.DataFrame, group: str) -> HumanSeries:
    numbers = {}
    for column in (kind.reach, kind.mean, kind.sem, "n"):
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        expected, wrong = "a number", ~np.isfinite(values)
        if column == kind.sem:
            expected, wrong = "0 or more, or nothing", (wrong & table[column].notna().to_numpy()) | (values < 0.0)
        elif column == kind.reach:
            expected, wrong = "a whole number of 1 or more", wrong | (values < 1.0) | (values % 1.0 != 0.0)
        elif column == "n":
            expected, wrong = "1 or more", wrong | (values < 1.0)
        if np.any(wrong):
            at = int(np.flatnonzero(wrong)[0])
            value, row = table[column].tolist()[at], table.index[at] + 1
            raise ValueError(f"{file}: {column} in row {row}: expected {expected}, got {value!r}")
        numbers[column] = values
    reach = numbers[kind.reach]
    if len(reach) == 0:
        raise ValueError(f"{file} has no rows")
    if np.any(np.diff(reach) <= 0.0):
        raise ValueError(f"{file}: {kind.reach}: expected numbers that increase from row to row")
    if kind.name == "rotation" and np.max(np.abs(numbers[kind.mean])) > 5.0:
        largest = np.max(np.abs(numbers[kind.mean]))
        raise ValueError(f"{file}: {kind.mean}: expected a fraction (1 is fully corrected), got {largest:g}")
    degrees = re.match(r"rot(?:ation)?_?(\d+(?:\.\d+)?)", file.stem)
    name = file.stem.replace("_", " ") + (f", {group}" if group else "")
    return HumanSeries(
        name=f"people: {name}",
        kind=kind.name,
        degrees=float(degrees[1]) if degrees else np.nan,
        reach=reach,
        mean=numbers[kind.mean],
        sem=numbers[kind.sem],
        people=int(np.max(numbers["n"])),
        file=file.name,
    )
