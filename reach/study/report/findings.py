"""The findings of a study in words, made from its numbers. A difference whose interval covers zero is called none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reach.study.report.metrics import MINUS, counted, short_protocol
from reach.study.statistics import paired_difference, probability_of_improvement

REFERENCE = "none"  # the learner that does not learn: the measure of the others
FEW_SEEDS, ENOUGH_SEEDS = 5, 10
SPACE = "\N{NO-BREAK SPACE}"
BETWEEN, WITHIN = "L30", "T_c"  # the headline of a protocol from reach to reach, and of one within the reach


@dataclass(frozen=True)
class Finding:
    """Who corrected fastest under one protocol.

    lead: in words; sure: whether its interval leaves out zero, or no other learner was there to lead.
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
    """What a protocol is judged by: T_c where it perturbs within the reach, else L30; "" where there is neither."""
    mine = summary[summary["protocol"] == protocol]
    for metric in (WITHIN, BETWEEN):
        if np.isfinite(mine[mine["metric"] == metric]["value"].astype(float)).any():
            return metric
    return ""


def findings(summary: pd.DataFrame, measured: pd.DataFrame) -> list[Finding]:
    """One for each protocol in which a learner was measured. measured: learner, protocol, seed, metric, value."""
    found = []
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
        still = rows[rows["learner"] == REFERENCE].to_dict("records")
        unlearned = _share(metric, still[0]) if still and math.isfinite(still[0]["value"]) else ""
        found.append(Finding(protocol, metric, best, _share(metric, ranked[0]), second, sure, lead, unlearned))
    return found


def sentence(finding: Finding) -> str:
    """One protocol's finding."""
    text = f"Under the {short_protocol(finding.protocol)}, "
    text += f"{finding.best} corrected fastest" if finding.sure else "no learner is shown to be the fastest"
    if finding.metric == WITHIN:
        whose = "its mean correction time" if finding.sure else f"the shortest mean correction time, of {finding.best},"
        text += f": {whose} was {finding.share}"
    else:
        text += ": over the first 30 perturbed reaches, "
        text += ("" if finding.sure else f"{finding.best} had ") + f"{finding.share} of the miss "
        text += "was left on average" if finding.sure else "left on average"
    others = [finding.second] if finding.second else []
    others += [f"without learning {finding.unlearned}"] if finding.unlearned else []
    text += f" ({'; '.join(others)})." if others else "."
    return f"{text} {finding.lead}".strip()


def answer(summary: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """The study's findings, a sentence or two a protocol, in the order of the protocols."""
    return [sentence(finding) for finding in findings(summary, measured)]


def in_short(found: Sequence[Finding]) -> str:
    """The answer in one paragraph: the first protocol whole, the others by who was fastest."""
    if not found:
        return ""
    text = sentence(found[0])
    by_best: dict[str, list[str]] = {}
    for finding in found[1:]:
        by_best.setdefault(finding.best if finding.sure else "", []).append(f"the {short_protocol(finding.protocol)}")
    undecided = by_best.pop("", [])
    for best, where in by_best.items():
        text += f" {best} was " + ("also " if found[0].sure and best == found[0].best else "")
        text += f"the fastest under {_listed(where)}."
    if undecided:
        text += f" Under {_listed(undecided)}, no learner is shown to be the fastest."
    return text


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _share(metric: str, row: Mapping[Any, Any]) -> str:
    scale, digits, unit = (1.0, 2, "s") if metric == WITHIN else (100.0, 0, "%")
    text = f"{scale * float(row['value']):.{digits}f}{SPACE}{unit}"
    low, high = scale * float(row["low"]), scale * float(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        text += f" [{low:.{digits}f},{SPACE}{high:.{digits}f}]"
    return text


def _lead(measured: pd.DataFrame, protocol: str, metric: str, first: str, second: str) -> tuple[bool, str]:
    """Whether the lead of one learner over another is sure, by their paired difference over seeds; and in words."""
    kept = measured[(measured["protocol"] == protocol) & (measured["metric"] == metric)]
    wide = kept.pivot(index="seed", columns="learner", values="value")
    pairs = wide.reindex(columns=[first, second]).dropna().to_numpy(dtype=np.float64)
    if len(pairs) < FEW_SEEDS:
        return False, f"{counted(len(pairs), 'seed')} cannot say whether {first} and {second} differ."
    scale, digits, unit = (1000.0, 0, "ms") if metric == WITHIN else (100.0, 1, "points")
    value, low, high = (scale * part for part in paired_difference(pairs[:, 1], pairs[:, 0]))
    between = f"{value:.{digits}f} {unit} [{low:.{digits}f}, {high:.{digits}f}]".replace("-", MINUS)
    if not (math.isfinite(low) and math.isfinite(high)) or low <= 0.0 <= high:
        return False, f"Between {first} and {second} there is no difference that {len(pairs)} seeds show: {between}."
    chance = probability_of_improvement(pairs[:, 0], pairs[:, 1])
    odds = f"a seed of it is better than one of {second} with probability {chance:.2f}"
    return True, f"Its lead over {second} is {between}; {odds}."


def warnings(trials: pd.DataFrame, failures: Mapping[str, str]) -> list[str]:
    """What a reader must know before believing the numbers."""
    said = []
    seeds = int(trials["seed"].nunique())
    if seeds < FEW_SEEDS:
        said.append(
            f"Only {counted(seeds, 'seed')}: no interval. Use {FEW_SEEDS} at least, {ENOUGH_SEEDS} for a claim."
        )
    elif seeds < ENOUGH_SEEDS:
        said.append(
            f"{seeds} seeds: a 95 % interval from so few is somewhat too narrow (it covers about 90 %). "
            f"Use {ENOUGH_SEEDS} or more for a claim."
        )
    if REFERENCE not in set(trials["learner"]):
        said.append(f"The learner {REFERENCE!r} is not in this study: the arm that does not learn is not shown.")
    if failures:
        said.append(f"{counted(len(failures), 'job')} failed; what went wrong stands at the end of the page.")
    return said
