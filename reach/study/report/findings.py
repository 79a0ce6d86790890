"""State the findings of a study in words. A difference whose interval covers zero is called "no difference shown"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reach.study.report.metrics import L30, MINUS, REFERENCE, T_C, plural, protocol_name
from reach.study.statistics import ENOUGH_SEEDS, FEWEST_SEEDS, paired_difference, probability_of_improvement

SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Finding:
    """The fastest learner under one protocol.

    Attributes:
        protocol, metric: what was compared.
        best: fastest learner.
        share: its value as text.
        second: second fastest learner with its value; "" if there is none.
        sure: whether the interval of the lead excludes zero, or there is no second learner.
        lead: the lead in words.
        unlearned: value without learning as text; "" if unknown.
    """

    protocol: str
    metric: str
    best: str
    share: str
    second: str
    sure: bool
    lead: str
    unlearned: str


def headline_metric(summary: pd.DataFrame, protocol: str) -> str:
    """Return the metric that a protocol is judged by: T_c if it perturbs within the reach, else L30; "" for neither."""
    own = summary[summary["protocol"] == protocol]
    for metric in (T_C, L30):
        if np.isfinite(own[own["metric"] == metric]["value"].astype(float)).any():
            return metric
    return ""


def findings(summary: pd.DataFrame, measured: pd.DataFrame) -> list[Finding]:
    """Return one finding per protocol with a learner that learns.

    Args:
        summary: learner, protocol, metric, value, low, high.
        measured: learner, protocol, seed, metric, value.
    """
    results = []
    for protocol in map(str, summary["protocol"].unique()):
        metric = headline_metric(summary, protocol)
        rows = summary[(summary["protocol"] == protocol) & (summary["metric"] == metric)]
        learning = rows[(rows["learner"] != REFERENCE) & np.isfinite(rows["value"].astype(float))]
        if learning.empty:
            continue
        ranked = learning.sort_values("value", kind="stable").to_dict("records")
        best = ranked[0]["learner"]
        second, sure, lead = "", True, ""
        if len(ranked) > 1:
            second = ranked[1]["learner"]
            sure, lead = _lead(measured, protocol, metric, best, second)
            second = f"{second} {_share(metric, ranked[1])}"
        reference = rows[rows["learner"] == REFERENCE].to_dict("records")
        unlearned = _share(metric, reference[0]) if reference and math.isfinite(reference[0]["value"]) else ""
        results.append(Finding(protocol, metric, best, _share(metric, ranked[0]), second, sure, lead, unlearned))
    return results


def sentence(finding: Finding) -> str:
    """Return the finding of one protocol in words."""
    text = f"Under the {protocol_name(finding.protocol)}, "
    text += f"{finding.best} corrected fastest" if finding.sure else "no learner is shown to be the fastest"
    if finding.metric == T_C:
        whose = "its mean correction time" if finding.sure else f"the shortest mean correction time, of {finding.best},"
        text += f": {whose} was {finding.share}"
    else:
        text += ": over the first 30 perturbed reaches, "
        text += ("" if finding.sure else f"{finding.best} had ") + f"{finding.share} of the miss "
        text += "was left on average" if finding.sure else "left on average"
    others = [finding.second, f"without learning {finding.unlearned}" if finding.unlearned else ""]
    others = [other for other in others if other]
    text += f" ({'; '.join(others)})." if others else "."
    return f"{text} {finding.lead}".strip()


def in_short(results: Sequence[Finding]) -> str:
    """Return one paragraph: the finding of the first protocol, and the fastest learner under the others."""
    if not results:
        return ""
    text = sentence(results[0])
    by_best: dict[str, list[str]] = {}
    for finding in results[1:]:
        by_best.setdefault(finding.best if finding.sure else "", []).append(f"the {protocol_name(finding.protocol)}")
    undecided = by_best.pop("", [])
    for best, protocols in by_best.items():
        also = "also " if results[0].sure and best == results[0].best else ""
        text += f" {best} was {also}the fastest under {_joined(protocols)}."
    if undecided:
        text += f" Under {_joined(undecided)}, no learner is shown to be the fastest."
    return text


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _share(metric: str, row: Mapping[Any, Any]) -> str:
    scale, digits, unit = (1.0, 2, "s") if metric == T_C else (100.0, 0, "%")
    text = f"{scale * float(row['value']):.{digits}f}{SPACE}{unit}"
    low, high = scale * float(row["low"]), scale * float(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        text += f" [{low:.{digits}f},{SPACE}{high:.{digits}f}]"
    return text


def _lead(measured: pd.DataFrame, protocol: str, metric: str, first: str, second: str) -> tuple[bool, str]:
    """Return whether the first learner's lead is sure, by the paired difference over seeds, and the lead in words."""
    rows = measured[(measured["protocol"] == protocol) & (measured["metric"] == metric)]
    wide = rows.pivot(index="seed", columns="learner", values="value")
    pairs = wide.reindex(columns=[first, second]).dropna().to_numpy(dtype=np.float64)
    if len(pairs) < FEWEST_SEEDS:
        return False, f"{plural(len(pairs), 'seed')} cannot say whether {first} and {second} differ."
    scale, digits, unit = (1000.0, 0, "ms") if metric == T_C else (100.0, 1, "points")
    difference = paired_difference(pairs[:, 1], pairs[:, 0])
    value, low, high = (scale * part for part in (difference.value, difference.low, difference.high))
    between = f"{value:.{digits}f} {unit} [{low:.{digits}f}, {high:.{digits}f}]".replace("-", MINUS)
    if not (math.isfinite(low) and math.isfinite(high)) or low <= 0.0 <= high:
        return False, f"No difference shown between {first} and {second} by {len(pairs)} seeds: {between}."
    chance = probability_of_improvement(pairs[:, 0], pairs[:, 1])
    odds = f"one of its seeds is better than one of {second} with probability {chance:.2f}"
    return True, f"Its lead over {second} is {between}; {odds}."


def warnings(trials: pd.DataFrame, failures: Mapping[str, str]) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    texts = []
    seeds = int(trials["seed"].nunique())
    if seeds < FEWEST_SEEDS:
        texts.append(
            f"Only {plural(seeds, 'seed')}: no intervals. Use at least {FEWEST_SEEDS}, and {ENOUGH_SEEDS} for a claim."
        )
    elif seeds < ENOUGH_SEEDS:
        texts.append(
            f"{seeds} seeds: a 95 % interval from so few seeds is too narrow (it covers about 90 %). "
            f"Use {ENOUGH_SEEDS} or more for a claim."
        )
    if REFERENCE not in set(trials["learner"]):
        texts.append(f"This study has no learner {REFERENCE!r}: performance without learning is not shown.")
    if failures:
        texts.append(f"{plural(len(failures), 'job')} failed; the errors are at the end of the page.")
    return texts
