"""Name the measures, protocols and numbers as a reader sees them: labels, units, meanings and formats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reach.protocols import PROTOCOLS

NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
REFERENCE = "none"  # the learner without learning, to which the others are compared
L30, T_C = "L30", "T_c"  # headline measures of correction across reaches, and within a reach
GENERALISATION = "generalisation_"  # followed by the angle from the trained direction, degrees
SWITCHING = "switching_"  # followed by the reaches between two flips


@dataclass(frozen=True)
class Measure:
    """One measure of the summary.

    Attributes:
        metric: name in the summary.
        label: column header.
        unit: of the number that is shown.
        digits: after the decimal point.
        better: "low", "high", or "" if neither is better.
        meaning: definition, for the reader of the report.
        scale: shown number = value x scale.
        no_number: text for an infinite value.
        group: "reaches" (correction across reaches, by launch error), "channel" (the same in a force field, by the
            force in channel trials), "within" (correction within a reach) or "memory".
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
    Measure("L30", "L30", "% of the miss", 0, "low",
        "Mean size of the launch error over the first 30 perturbed reaches, in percent of the miss. The miss is the "
        "launch error of the same learner without learning, at the same cups. 100 %: nothing is learned; 0 %: "
        "corrected at once. The headline measure.", scale=100.0),
    Measure("N63", "N63", "reaches", 0, "low",
        "First perturbed reach by which 63 % of the miss is corrected: the running median over 4 reaches of the size "
        "of the launch error, as a share of the miss at its cup, is below 0.368. An overshoot counts as an error. A "
        "seed that never gets there counts with all perturbed reaches; the share of such seeds is shown too.",
        no_number="never"),
    Measure("A", "A", "of the miss", 2, "",
        "Share of the miss that is corrected in the end (1: all): asymptote of A (1 - exp(-(n - 1) / tau)), fitted to "
        "1 - |launch error| / miss."),
    Measure("tau", "tau", "reaches", 1, "",
        "Reaches until 63 % of A, from the same fit. Undefined if A is near 0."),
    Measure("late_error", "left at the end", "% of the miss", 0, "low",
        "L30 over the last 10 perturbed reaches instead of the first 30.", scale=100.0),
    Measure("after_effect", "after-effect", "of the miss", 2, "",
        "Launch error at the first visit to each cup after the perturbation, as a share of the miss at that cup, "
        "measured before any washout learning. Negative (to the other side) means that something was learned and not "
        "merely steered. For a person, only the first washout reach counts."),
    Measure("endpoint_early_cm", "endpoint, early", "cm", 1, "low",
        "Distance between the cup and the seen hand at its first stop, mean over the first 10 perturbed reaches."),
    Measure("endpoint_late_cm", "endpoint, late", "cm", 1, "low",
        "The same over the last 10 perturbed reaches."),
    Measure("time_to_success_s", "time to success", "s", 2, "low",
        "Mean time until the hand is at the cup, over the perturbed reaches that succeeded."),
    Measure("on_target", "on target at first", "%", 0, "high",
        "Share of perturbed reaches whose first movement ends with the seen hand within 2 cm of the cup. Shows what "
        "was learned, before visual feedback corrects the rest.", scale=100.0),
    Measure("success", "success within 3 s", "%", 0, "",
        "Share of perturbed reaches that succeed within the time limit. Visual feedback counts: an arm that learns "
        "nothing and is steered slowly to the cup can have 100 %. Not a measure of learning.", scale=100.0),
    Measure("seconds_lost", "seconds lost", "s a reach", 2, "",
        "How much longer the first 30 perturbed reaches take than the last baseline reaches. A reach without success "
        "counts with its limit of 3 s."),
    Measure("channel_index_early", "channel index, early", "of the field", 2, "high",
        "Force against the channel wall as a share of the force that would cancel the field, minus its baseline; mean "
        "over the channel trials among the first 30 perturbed reaches. 0: no compensation; 1: full compensation.",
        group="channel"),
    Measure("channel_index_late", "channel index, late", "of the field", 2, "high",
        "The same over the last 5 channel trials of the perturbed block.", group="channel"),
    Measure("channel_reaches_to_63", "channel, reaches to 63 %", "reaches", 0, "low",
        "Perturbed reaches until 63 % of the field is compensated (running median of 4 channel trials). A seed that "
        "never gets there counts with all perturbed reaches.", no_number="never", group="channel"),
    Measure("channel_asymptote", "channel asymptote", "of the field", 2, "",
        "Share of the field that is compensated in the end: asymptote of an exponential fitted to the channel index.",
        group="channel"),
    Measure("channel_tau", "channel time constant", "reaches", 1, "",
        "Reaches until 63 % of that asymptote, from the same fit. Undefined if the asymptote is near 0.",
        group="channel"),
    Measure("T_c", "T_c", "s", 3, "low",
        "Mean correction time: integral over 1 s from onset of the remaining error, as a share of the perturbation, "
        "relative to the same reach without it. A delay d followed by an exponential tau gives d + tau.",
        group="within"),
    Measure("correction_onset_s", "correction onset", "s", 2, "low",
        "Time from the onset of the perturbation to the first control step (20 ms) in which the hand moves "
        "differently than without a correction, that is, than under the commands of the unperturbed reach. Exact. "
        "Median over reaches.", group="within"),
    Measure("t50_s", "t50", "s", 2, "low",
        "Time from onset until half of the error is left. Median over reaches.", no_number="never", group="within"),
    Measure("t90_s", "t90", "s", 2, "low",
        "Time from onset until a tenth of the error is left. Median over reaches.", no_number="never", group="within"),
    Measure("overshoot", "overshoot", "of the error", 2, "low",
        "How far the correction goes beyond its end, as a share of the perturbation.", group="within"),
    Measure("savings", "savings", "", 2, "high",
        "Reduction of the error when a perturbation that was learned and washed out is met again: 1 minus the ratio "
        "of the errors over the first 10 reaches. 0: no savings.", group="memory"),
    Measure("retention", "retention", "", 2, "high",
        "Share of the learning that is left in the last 10 reaches without sight of the hand. 1: all.",
        group="memory"),
    Measure("interference", "interference", "", 2, "low",
        "Increase of the error in A after its opposite B came between: the ratio of the errors over the first 10 "
        "reaches, minus 1. 0: B does no harm.", group="memory"),
    Measure("rebound", "rebound", "of the miss", 2, "",
        "Spontaneous recovery: how far the first learning comes back in clamped reaches after its opposite, beyond "
        "where it starts and beyond 0.", group="memory"),
    Measure("fastest_switch", "fastest switch", "reaches", 0, "low",
        "Fewest reaches between two flips of the perturbation at which less than 37 % of the miss is left before the "
        "next flip, and at all slower flips too.", no_number="none", group="memory"),
    *(
        Measure(f"{part}_{what}", f"{part} {what}", "a reach", 3, "",
            f"{what.capitalize()} per reach of the {part} process of a two-state model fitted to the reaches.",
            group="memory")
        for part in ("fast", "slow")
        for what in ("retention", "rate")
    ),
]  # fmt: skip


def register(measure: Measure) -> Measure:
    """Add a measure to tables and reports; `reach.study.run.measures.register` adds what computes it.

    A measure that is not added here is in `summary.csv` and `summary.json` alone.

    Raises:
        ValueError: a measure of this name is known.
    """
    if any(known.metric == measure.metric for known in MEASURES):
        raise ValueError(f"expected a new measure, got {measure.metric!r}, which is registered")
    MEASURES.append(measure)
    return measure


def protocol_title(protocol: str) -> str:
    """Return the title of a protocol with its description."""
    return PROTOCOLS[protocol].title or protocol if protocol in PROTOCOLS else protocol


def protocol_name(protocol: str) -> str:
    """Return the name of a protocol within a sentence."""
    return protocol_title(protocol).partition(" (")[0]


def plural(n: int, noun: str) -> str:
    """Return a number with its noun."""
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
    """Return a value of a measure as it is shown."""
    if value is None or math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return measure.no_number
    text = f"{float(value) * measure.scale:.{measure.digits}f}"
    return text.replace("-", MINUS) if float(text) != 0.0 else text.lstrip("-")


def format_interval(measure: Measure, low: Any, high: Any) -> str:
    """Return an interval as it is shown; "" if there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high) or math.isinf(low):
        return ""
    return f"[{format_value(measure, low)}, {format_value(measure, high)}]"


def format_row(measure: Measure, row: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a summary row as it is shown: its number, and its interval with the share of seeds that failed.

    If all seeds failed there is no number, although the restricted mean has a value.
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
    """Return the measures that a summary has a number for, infinity included; of one group, or all."""
    held = set(summary["metric"][summary["value"].astype(float).notna()])
    return [measure for measure in MEASURES if measure.metric in held and group in ("", measure.group)]


def rows_by_key(summary: pd.DataFrame) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    """Return (protocol, learner, metric) -> row of a summary."""
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in summary.to_dict("records")]
    return {(row["protocol"], row["learner"], row["metric"]): row for row in rows}
