"""Labels, units and formats of measures (`measures.toml`), protocols and numbers in reports."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reach.protocols import PROTOCOLS

NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
REFERENCE = "none"  # the learner without learning, to which the others are compared
# Headline measures: of correction across reaches, of the late error if learning takes long, and within a reach.
L30, LATE_ERROR, T_C = "L30", "late_error", "T_c"
GENERALISATION = "generalisation_"  # followed by the angle from the trained direction, degrees
SWITCHING = "switching_"  # followed by the reaches between two flips


@dataclass(frozen=True)
class Measure:
    """One measure of the summary.

    Attributes:
        metric: name in the summary.
        label: column header.
        unit: unit of the displayed number.
        digits: number of decimals.
        better: "low", "high", or "" if neither is better.
        meaning: definition, for the reader of the report.
        scale: displayed number = value x scale.
        no_number: text for an infinite value.
        group: "reaches" (correction across reaches, by launch error), "channel" (correction across reaches in a force
            field, by force in channel trials), "within" (correction within a reach) or "memory".
    """

    metric: str
    label: str
    unit: str
    digits: int
    better: str
    meaning: str
    scale: float = 1.0
    no_number: str = NO_NUMBER
    group: str = "reaches"


MEASURES: list[Measure] = [
    Measure(**entry)
    for entry in tomllib.loads(Path(__file__).with_name("measures.toml").read_text(encoding="utf-8"))["measures"]
]


def register(measure: Measure) -> Measure:
    """Add a measure to tables and reports; `reach.study.measures.register` adds the function that computes it.

    A measure that is not added here appears only in `summary.csv` and `summary.json`.

    Raises:
        ValueError: a measure with this name exists.
    """
    if any(known.metric == measure.metric for known in MEASURES):
        raise ValueError(f"expected a new measure, got {measure.metric!r}, which is registered")
    MEASURES.append(measure)
    return measure


def protocol_title(protocol: str) -> str:
    """Return the title of a protocol with its description."""
    return PROTOCOLS[protocol].title or protocol if protocol in PROTOCOLS else protocol


def protocol_name(protocol: str) -> str:
    """Return the name of a protocol for use in a sentence."""
    return protocol_title(protocol).partition(" (")[0]


def plural(n: int, noun: str) -> str:
    """Return a number with a noun in singular or plural."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def capital(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]


def short_number(value: float) -> str:
    """Return a number with three significant digits; "never" for infinity, "" for NaN."""
    if not math.isfinite(value):
        return "never" if value > 0 else ""
    if value == 0.0:
        return "0"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    return text.replace("-", MINUS)


def format_value(measure: Measure, value: Any) -> str:
    """Return a value of a measure as text."""
    if value is None or math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return measure.no_number
    text = f"{float(value) * measure.scale:.{measure.digits}f}"
    return text.replace("-", MINUS) if float(text) != 0.0 else text.lstrip("-")


def format_interval(measure: Measure, low: Any, high: Any) -> str:
    """Return an interval as text; "" if there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high) or math.isinf(low):
        return ""
    return f"[{format_value(measure, low)}, {format_value(measure, high)}]"


def format_row(measure: Measure, row: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a summary row as text: the number, and the interval with the share of seeds that failed.

    If all seeds failed, no number is shown, although the restricted mean has a value.
    """
    if row is None or row["value"] is None:
        return NO_NUMBER, ""
    failed = row.get("failed") or 0.0
    if failed >= 1.0:
        return measure.no_number, ""
    parts = [
        format_interval(measure, row["low"], row["high"]),
        f"never in {100 * failed:.0f} %" if failed > 0.0 else "",
    ]
    return format_value(measure, row["value"]), ", ".join(filter(None, parts))


def measures_in(summary: pd.DataFrame, group: str = "") -> list[Measure]:
    """Return the measures, of one group or all, for which a summary has a number or infinity."""
    held = set(summary["metric"][summary["value"].astype(float).notna()])
    return [measure for measure in MEASURES if measure.metric in held and group in ("", measure.group)]


def rows_by_key(summary: pd.DataFrame) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    """Return the rows of a summary by (protocol, learner, metric)."""
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in summary.to_dict("records")]
    return {(row["protocol"], row["learner"], row["metric"]): row for row in rows}


def headline_metrics(summary: pd.DataFrame) -> dict[str, str]:
    """Return the headline metric of each protocol; protocols without one are left out.

    It is T_c for perturbations within the reach, else L30, or the late error if there is no L30 because lamps determine
    the side of the perturbation.
    """
    known = summary[np.isfinite(summary["value"].astype(float))]
    headlines = {}
    for protocol, metrics in known.groupby("protocol", sort=False)["metric"]:
        present = [metric for metric in (T_C, L30, LATE_ERROR) if metric in set(metrics)]
        if present:
            headlines[str(protocol)] = present[0]
    return headlines
