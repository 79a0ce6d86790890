"""Data of people: published numbers with their citations, and curves from a reader's CSV files.

The adaptation index is the compensation minus its baseline, as a fraction of the perturbation: 0 for no compensation, 1
for full compensation. Reach 1 is the first perturbed reach. The numbers are shown next to a learner's; nothing is
fitted to them. About half of a person's compensation for a 45 degree rotation is a strategy (deliberate re-aiming), so
a learner without a strategy is also compared with the implicit part.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Interval = tuple[float, float]
T = TypeVar("T")


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
    """Mean adaptation index of a group by block of reaches: index[k] is the mean over the reaches blocks[k]."""

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
    """A cited result in words; if it gives a range of one of this project's measures, also (metric, low, high)."""

    topic: str
    text: str
    citation: str
    metric: str = ""
    low: float = math.nan
    high: float = math.nan


def fit_of_rate(
    part: str, degrees: float, percent: Sequence[float], asymptote_deg: Sequence[float], citation: str, note: str = ""
) -> HumanFit:
    """Return a fit from published rates and asymptotes, each (value, low, high).

    The rate is the percentage of the remaining error that a trial corrects. For a share r, tau = -1 / ln(1 - r).
    """
    tau, longest, shortest = (-1.0 / math.log(1.0 - rate / 100.0) for rate in percent)
    a, low, high = (value / degrees for value in asymptote_deg)
    return HumanFit(part, degrees, a, (low, high), tau, (shortest, longest), citation, note)


_PUBLISHED: dict[str, Any] = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))


def _entries(kind: str, make: Callable[..., T]) -> tuple[T, ...]:
    """Return the published entries of a kind, each with the citation of its source."""
    sources = _PUBLISHED["sources"]
    entries = [{name: _as_tuple(value) for name, value in entry.items()} for entry in _PUBLISHED[kind]]
    return tuple(make(citation=sources[entry.pop("source")], **entry) for entry in entries)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


CURVES = _entries("curves", HumanCurve)
WHOLE_REACH = CURVES[0]
(FORCE,) = _entries("force", HumanForce)
FITS = _entries("fits", HumanFit) + _entries("fits_of_rate", fit_of_rate)
FACTS = _entries("facts", HumanFact)


def fits(degrees: float) -> tuple[HumanFit, ...]:
    """Return the fits to people under a rotation of this size."""
    return tuple(fit for fit in FITS if fit.degrees == degrees)


def facts(protocol: str) -> tuple[HumanFact, ...]:
    """Return the cited results for a protocol, that is, those whose topic is a prefix of its name."""
    return tuple(fact for fact in FACTS if protocol.startswith(fact.topic))


def place(value: float, interval: Interval) -> str:
    """Return the position of a value relative to an interval: "inside", "below" or "above"; "" for NaN."""
    if math.isnan(value):
        return ""
    low, high = interval
    return "below" if value < low else "above" if value > high else "inside"


# --- curves from files ----------------------------------------------------------------------------------------
# Three kinds of CSV files contain curves of group means by reach: adaptation to a rotation (`trial_after_onset, n,
# ai_mean, ai_sem`), force in channel trials (`fc_trial, n, ai_mean, ai_sem`) and the angle of the hand under an error
# clamp (`target_group, cycle_of_8, hand_angle_deg_mean, hand_angle_deg_sem, n`). Further columns are ignored. Tables of
# fits (`group, reach_asymptote_deg, ...`) and of published numbers (`topic, quantity, value, ...`) in the same folder
# are ignored.

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HumanSeries:
    """Mean of a group of people by reach.

    Attributes:
        name: label in a legend.
        kind: "rotation" (adaptation index), "force" (share of the ideal force in channel trials) or "clamp" (angle of
            the hand, degrees, by cycle of 8 reaches).
        reach: (n,) number of the reach; 1 is the first perturbed reach.
        mean, sem: (n,) mean and standard error over people; sem is NaN where it is missing.
        people: largest number of people in any mean.
        file: name of the file.
    """

    name: str
    kind: str
    reach: Floats
    mean: Floats
    sem: Floats
    people: int
    file: str


# Columns of reach, number of people, mean and standard error, by kind.
KINDS = {
    "rotation": ("trial_after_onset", "n", "ai_mean", "ai_sem"),
    "force": ("fc_trial", "n", "ai_mean", "ai_sem"),
    "clamp": ("cycle_of_8", "n", "hand_angle_deg_mean", "hand_angle_deg_sem"),
}
# Columns of files without a curve, which are ignored.
TABLES = ({"group", "reach_asymptote_deg"}, {"topic", "quantity", "value"})


def read_curves(folder: str | Path) -> tuple[HumanSeries, ...]:
    """Return the curves of all CSV files in a folder, sorted by file name.

    Raises:
        FileNotFoundError: the folder does not exist or has no CSV file.
        ValueError: a file is not a table of these kinds or has an invalid value, or no file contains a curve.
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
    return "; or ".join(map(", ".join, KINDS.values()))


def _read(file: Path) -> list[HumanSeries]:
    try:
        table = pd.read_csv(file, index_col=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"human: expected a CSV file, got {file} ({error})") from error
    columns = set(map(str, table.columns))
    for kind, needed in KINDS.items():
        if columns.issuperset(needed):
            if kind == "clamp" and "target_group" in columns:
                return [_series(file, kind, part, f", {group}") for group, part in table.groupby("target_group")]
            return [_series(file, kind, table)]
    if any(table_columns <= columns for table_columns in TABLES):
        return []
    raise ValueError(f"{file}: expected the columns {_known()}, got {', '.join(map(str, table.columns))}")


def _series(file: Path, kind: str, table: pd.DataFrame, group: str = "") -> HumanSeries:
    """Return the curve of a table; raise ValueError for an invalid value."""
    reach_column, people_column, mean_column, sem_column = KINDS[kind]
    if table.empty:
        raise ValueError(f"{file}: expected one row or more, got none")

    def numbers(column: str, expected: str, is_valid: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        valid = np.isfinite(values) & is_valid(values)
        if column == sem_column:
            valid |= table[column].isna().to_numpy()
        if not valid.all():
            at = int(np.argmin(valid))
            value, row = table[column].tolist()[at], table.index[at] + 1
            raise ValueError(f"{file}: {column} in row {row}: expected {expected}, got {value!r}")
        return values

    reach = numbers(reach_column, "a whole number of 1 or more", lambda values: (values >= 1.0) & (values % 1.0 == 0.0))
    mean = numbers(mean_column, "a number", np.isfinite)
    sem = numbers(sem_column, "0 or more, or nothing", lambda values: values >= 0.0)
    people = numbers(people_column, "1 or more", lambda values: values >= 1.0)
    if np.any(np.diff(reach) <= 0.0):
        raise ValueError(f"{file}: {reach_column}: expected numbers that increase from row to row")
    if kind == "rotation" and (largest := np.max(np.abs(mean))) > 5.0:
        raise ValueError(f"{file}: {mean_column}: expected a fraction (1 is fully corrected), got {largest:g}")
    name = f"people: {file.stem.replace('_', ' ')}{group}"
    return HumanSeries(name, kind, reach, mean, sem, int(np.max(people)), file.name)
