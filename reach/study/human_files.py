"""Curves of people from files that a reader has: group means by reach, as CSV, told apart by their columns.

Three kinds of file hold a curve: adaptation to a rotation (`trial_after_onset, n, ai_mean, ai_sem`), force in channel
trials (`fc_trial, n, ai_mean, ai_sem`) and the hand's angle under an error clamp (`target_group, cycle_of_8,
hand_angle_deg_mean, hand_angle_deg_sem, n`). Further columns are let be; a table of fits (`group,
reach_asymptote_deg, ...`) or of published numbers (`topic, quantity, value, ...`) may lie beside them. The study
carries no such file itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HumanSeries:
    """A group's mean by reach.

    Attributes:
        name: what it is called in a legend.
        kind: "rotation" (adaptation index), "force" (share of the ideal force in channel trials) or "clamp" (angle of
            the hand, degrees, by cycle of 8 reaches).
        degrees: size of the rotation as the file's name says it ("rot45..."), NaN if it does not.
        reach: (n,) from 1, the first perturbed one.
        mean, sem: (n,) over people; sem is NaN where it is not given.
        people: most people that any mean rests on.
        file: where it comes from.
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
    """The curves of all CSV files in a folder, by file name.

    Raises:
        FileNotFoundError: folder is none, or has no CSV file.
        ValueError: a file is no table of these kinds, or holds what is no number; or no file holds a curve.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"human={str(folder)!r} is no folder; a folder with CSV files of people is allowed")
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"human={str(folder)!r} has no file *.csv")
    found = [series for file in files for series in _read(file)]
    if not found:
        raise ValueError(f"human={str(folder)!r}: no file holds a curve; one has the columns {_known()}")
    return tuple(found)


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
    if any(named <= columns for named in TABLES):
        return []
    raise ValueError(f"{file} has the columns {', '.join(map(str, table.columns))}; a curve has {_known()}")


def _series(file: Path, kind: _Kind, table: pd.DataFrame, group: str) -> HumanSeries:
    numbers = {}
    for column in (kind.reach, kind.mean, kind.sem, "n"):
        found = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        allowed, wrong = "a number", ~np.isfinite(found)
        if column == kind.sem:
            allowed, wrong = "0 or more, or nothing,", (wrong & table[column].notna().to_numpy()) | (found < 0.0)
        elif column == kind.reach:
            allowed, wrong = "a whole number of 1 or more", wrong | (found < 1.0) | (found % 1.0 != 0.0)
        elif column == "n":
            allowed, wrong = "1 or more", wrong | (found < 1.0)
        if np.any(wrong):
            at = int(np.flatnonzero(wrong)[0])
            value, row = table[column].tolist()[at], table.index[at] + 1
            raise ValueError(f"{file}: {column} in row {row} is {value!r}; {allowed} is allowed")
        numbers[column] = found
    reach = numbers[kind.reach]
    if len(reach) == 0:
        raise ValueError(f"{file} has no rows")
    if np.any(np.diff(reach) <= 0.0):
        raise ValueError(f"{file}: {kind.reach} must count upwards from 1, the first perturbed reach")
    if kind.name == "rotation" and np.max(np.abs(numbers[kind.mean])) > 5.0:
        raise ValueError(f"{file}: {kind.mean} reaches {np.max(np.abs(numbers[kind.mean])):g}; 1 is fully corrected")
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
