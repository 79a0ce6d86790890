"""The measures as a reader sees them: names, units, meanings, and the table that is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# What a protocol is called; in brackets, what it is.
TITLES = {
    "rotation30": "30° rotation of the seen hand",
    "rotation45": "45° rotation of the seen hand",
    "prism": "prism shift",
    "curl": "curl force field",
    "savings": "savings protocol (a rotation met twice)",
    "interference": "interference protocol (a rotation, its opposite, the rotation again)",
    "recovery": "recovery protocol (a rotation, its opposite for a few reaches, a clamp)",
    "switching": "switching protocol (a rotation that changes its sign)",
    "retention": "retention protocol (a rotation, then reaches unseen)",
    "jump": "cup jump (within the reach)",
    "nudge": "nudge of the arm (within the reach)",
    "generalisation": "generalisation protocol (one direction trained, others probed)",
}


@dataclass(frozen=True)
class Measure:
    """One column of the table.

    better: "low", "high" or "" where neither is. scale: shown = value x scale. no_number: what an infinite value is
    called. group: "reaches" (correction from reach to reach, by the launch), "channel" (the same in a force field, by
    the force in channel trials), "within" (a reach) or "memory".
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


MEASURES: tuple[Measure, ...] = (
    Measure(
        metric="L30",
        label="L30",
        unit="% of the miss",
        digits=0,
        better="low",
        meaning="Mean size of the launch error over the first 30 perturbed reaches, in percent of the miss: the "
        "launch error at the same cups of the same learner with learning off. 100 % learns nothing, 0 % is corrected "
        "at once. The headline.",
        scale=100.0,
    ),
    Measure(
        metric="N63",
        label="N63",
        unit="reaches",
        digits=0,
        better="low",
        meaning="First perturbed reach by which 63 % of the miss is gone: the running median of 4 sizes of the launch "
        "error, each as a share of the miss at its cup, is below 0.368. An overshoot counts as an error. A seed that "
        "never gets there counts with all perturbed reaches; the share of such seeds is given too.",
        no_number="never",
    ),
    Measure(
        metric="A",
        label="A",
        unit="of the miss",
        digits=2,
        better="",
        meaning="How much is corrected in the end (1 = all): asymptote of A (1 - exp(-(n - 1) / tau)), fitted to "
        "1 - |launch error| / miss.",
    ),
    Measure(
        metric="tau",
        label="tau",
        unit="reaches",
        digits=1,
        better="",
        meaning="How many reaches that fit takes for 63 % of A. Undefined where A is near 0.",
    ),
    Measure(
        metric="late_error",
        label="left at the end",
        unit="% of the miss",
        digits=0,
        better="low",
        meaning="As L30, over the last 10 perturbed reaches.",
        scale=100.0,
    ),
    Measure(
        metric="after_effect",
        label="after-effect",
        unit="of the miss",
        digits=2,
        better="",
        meaning="Launch error at the first visit to each cup after the perturbation has gone, by the learner as it was "
        "when the washout began, before any washout learning; as a fraction of the miss, cup by cup. Negative: to the "
        "other side, the sign that something was learned and not merely steered. A person has the first washout reach "
        "alone.",
    ),
    Measure(
        metric="endpoint_early_cm",
        label="endpoint, early",
        unit="cm",
        digits=1,
        better="low",
        meaning="Distance from the cup to the seen hand at its first stop, first 10 perturbed reaches.",
    ),
    Measure(
        metric="endpoint_late_cm",
        label="endpoint, late",
        unit="cm",
        digits=1,
        better="low",
        meaning="The same over the last 10 perturbed reaches.",
    ),
    Measure(
        metric="time_to_success_s",
        label="time to success",
        unit="s",
        digits=2,
        better="low",
        meaning="Mean time until the hand is at the cup, of the perturbed reaches that got there.",
    ),
    Measure(
        metric="on_target",
        label="on target at first",
        unit="%",
        digits=0,
        better="high",
        meaning="Share of perturbed reaches whose first movement ends with the seen hand within 2 cm of the cup: what "
        "was learned, before visual feedback mends the rest.",
        scale=100.0,
    ),
    Measure(
        metric="success",
        label="success within 3 s",
        unit="%",
        digits=0,
        better="",
        meaning="Share of perturbed reaches that ended in success before the trial did. Visual feedback counts: an arm "
        "that learns nothing and is steered slowly to the cup can have 100 %. No measure of learning.",
        scale=100.0,
    ),
    Measure(
        metric="seconds_lost",
        label="seconds lost",
        unit="s a reach",
        digits=2,
        better="",
        meaning="How much longer the first 30 perturbed reaches take than the last of baseline; one without success "
        "counts as its limit of 3 s.",
    ),
    Measure(
        metric="channel_index_early",
        label="channel index, early",
        unit="of the field",
        digits=2,
        better="high",
        meaning="Force against the channel wall as a share of the force that would cancel the field, less its "
        "baseline, mean over the channel trials among the first 30 perturbed reaches. 0: no compensation, 1: full.",
        group="channel",
    ),
    Measure(
        metric="channel_index_late",
        label="channel index, late",
        unit="of the field",
        digits=2,
        better="high",
        meaning="The same over the last 5 channel trials of the perturbed block.",
        group="channel",
    ),
    Measure(
        metric="channel_reaches_to_63",
        label="channel, reaches to 63 %",
        unit="reaches",
        digits=0,
        better="low",
        meaning="Perturbed reaches until 63 % of the field is compensated (running median of 4 channel trials). A seed "
        "that never gets there counts with all perturbed reaches.",
        no_number="never",
        group="channel",
    ),
    Measure(
        metric="channel_asymptote",
        label="channel asymptote",
        unit="of the field",
        digits=2,
        better="",
        meaning="How much of the field is compensated in the end: asymptote of an exponential fitted to the channel "
        "index.",
        group="channel",
    ),
    Measure(
        metric="channel_tau",
        label="channel time constant",
        unit="reaches",
        digits=1,
        better="",
        meaning="How many reaches that fit takes for 63 % of its asymptote. Undefined where the asymptote is near 0.",
        group="channel",
    ),
    Measure(
        metric="T_c",
        label="T_c",
        unit="s",
        digits=3,
        better="low",
        meaning="Mean correction time: integral over 1 s from the onset of the error that remains, as a fraction of "
        "the perturbation, against the same reach without it. A delay d and then an exponential tau give d + "
        "tau.",
        group="within",
    ),
    Measure(
        metric="correction_onset_s",
        label="correction onset",
        unit="s",
        digits=2,
        better="low",
        meaning="From the onset of the perturbation to the first control step (20 ms) in which the movement of the "
        "hand differs from that without a correction, which is the same reach under the commands of the unperturbed "
        "one. Exact. Median over reaches.",
        group="within",
    ),
    Measure(
        metric="t50_s",
        label="t50",
        unit="s",
        digits=2,
        better="low",
        meaning="From the onset until half of the error is left. Median over reaches.",
        no_number="never",
        group="within",
    ),
    Measure(
        metric="t90_s",
        label="t90",
        unit="s",
        digits=2,
        better="low",
        meaning="From the onset until a tenth of the error is left. Median over reaches.",
        no_number="never",
        group="within",
    ),
    Measure(
        metric="overshoot",
        label="overshoot",
        unit="of the error",
        digits=2,
        better="low",
        meaning="How far the correction goes beyond its end, as a fraction of the perturbation.",
        group="within",
    ),
    Measure(
        metric="savings",
        label="savings",
        unit="",
        digits=2,
        better="high",
        meaning="How much less is missed when what was learned and washed out is met again: 1 less the ratio of the "
        "errors of the first 10 reaches. 0: nothing saved.",
        group="memory",
    ),
    Measure(
        metric="retention",
        label="retention",
        unit="",
        digits=2,
        better="high",
        meaning="What is left of the learning in the last 10 reaches without sight of the hand, as a share of it. 1: "
        "all.",
        group="memory",
    ),
    Measure(
        metric="interference",
        label="interference",
        unit="",
        digits=2,
        better="low",
        meaning="How much more is missed in A after its opposite B came between: the ratio of the errors of the first "
        "10 reaches, less 1. 0: B does no harm.",
        group="memory",
    ),
    Measure(
        metric="rebound",
        label="rebound",
        unit="of the miss",
        digits=2,
        better="",
        meaning="Spontaneous recovery: how far what was learned first comes back in clamped reaches after its "
        "opposite, beyond where it begins and beyond 0.",
        group="memory",
    ),
    Measure(
        metric="fastest_switch",
        label="fastest switch",
        unit="reaches",
        digits=0,
        better="low",
        meaning="Fewest reaches between two flips of the perturbation at which less than 37 % of the miss is left "
        "before the next, and at all slower flips too.",
        no_number="none",
        group="memory",
    ),
    *(
        Measure(
            metric=f"{part}_{what}",
            label=f"{part} {what}",
            unit="a reach",
            digits=3,
            better="",
            meaning=f"The {part} process of a two-state model fitted to the reaches: its {what} from reach to reach.",
            group="memory",
        )
        for part in ("fast", "slow")
        for what in ("retention", "rate")
    ),
)
GENERALISATION = "generalisation_"  # then the angle from the trained direction, degrees
SWITCHING = "switching_"  # then the reaches between two flips


def named_protocol(protocol: str) -> str:
    """What a protocol is called, with what it is."""
    return TITLES.get(protocol, protocol)


def short_protocol(protocol: str) -> str:
    """What a protocol is called in a sentence."""
    return named_protocol(protocol).partition(" (")[0]


def counted(n: int, thing: str) -> str:
    """A number of things in words."""
    return f"{n} {thing}" + ("" if n == 1 else "s")


def number(measure: Measure, value: Any) -> str:
    """A value as it is shown."""
    if value is None or math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return measure.no_number
    text = f"{float(value) * measure.scale:.{measure.digits}f}"
    return text.replace("-", MINUS) if float(text) != 0.0 else text.lstrip("-")


def interval(measure: Measure, low: Any, high: Any) -> str:
    """An interval as it is shown; empty when there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high) or math.isinf(low):
        return ""
    return f"[{number(measure, low)}, {number(measure, high)}]"


def written(measure: Measure, row: Mapping[str, Any] | None) -> tuple[str, str]:
    """A row of a summary as it is shown: its number, and below it its interval and how many seeds never got there.

    Where no seed did there is no number, though a restricted mean has one.
    """
    if row is None or row["value"] is None:
        return number(measure, None), ""
    failed = row.get("failed", 0.0)
    if failed is not None and failed >= 1.0:
        return measure.no_number, ""
    never = f"never in {100 * failed:.0f} %" if failed is not None and failed > 0.0 else ""
    between = interval(measure, row["low"], row["high"])
    return number(measure, row["value"]), ", ".join(filter(None, [between, never]))


def shown_measures(summary: pd.DataFrame, group: str = "") -> list[Measure]:
    """The measures of MEASURES that the summary has a number for, infinity among them; those of one group, or all."""
    held = set(summary["metric"][summary["value"].astype(float).notna()])
    return [measure for measure in MEASURES if measure.metric in held and group in ("", measure.group)]


def lookup(summary: pd.DataFrame) -> Mapping[tuple[str, str, str], Mapping[str, Any]]:
    """(protocol, learner, metric) -> row."""
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in summary.to_dict("records")]
    return {(row["protocol"], row["learner"], row["metric"]): row for row in rows}


def shown(value: float) -> str:
    """A number with three significant digits; "" where there is none."""
    if not math.isfinite(value):
        return "never" if value > 0 else ""
    if value == 0.0:
        return "0"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
