"""Parts of the report that look across protocols: who beats whom, what a correction costs, speed against step size.

Performance profiles and the probability of improvement follow Agarwal et al. 2021 (NeurIPS, "Deep reinforcement
learning at the edge of the statistical precipice"); costs have the metric names of NeuroBench (Yik et al. 2025, Nature
Communications); energies per operation are those of Horowitz 2014 (ISSCC, "Computing's energy problem", 45 nm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from reach.study.charts import Series, line_chart
from reach.study.figures import Chart, Looks, anchor
from reach.study.marks import Look, shown
from reach.study.profiles import improvement, performance_profile
from reach.study.statistics import estimate

MULTIPLY_ADD_PJ = 4.6  # 32-bit floating point: multiplication 3.7, addition 0.9
ADD_PJ = 0.9
MEASURE = "L30"
THRESHOLDS = np.linspace(0.0, 1.2, 61)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: as written, and as sorted ("" is sorted last)."""

    text: str
    value: float
    below: str = ""
    best: bool = False

    @property
    def key(self) -> str:
        """What the page sorts by."""
        return "" if math.isnan(self.value) else f"{self.value:.6g}".replace("inf", "Infinity")


@dataclass(frozen=True)
class Line:
    """A learner's row of a table."""

    learner: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table of the page; heads: label and unit of each column after the first."""

    title: str
    heads: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


# Counts of operations, given a trial: metric -> label, pJ each to act and to learn. A pair term that spikes add, and
# the change of a weight, is an addition.
COUNTS = {
    "effective_macs": ("effective MACs", MULTIPLY_ADD_PJ, 0.0),
    "effective_acs": ("effective ACs", ADD_PJ, 0.0),
    "dense_operations": ("dense operations", 0.0, 0.0),
    "synaptic_operations": ("synaptic operations", 0.0, 0.0),
    "learning_macs": ("MACs to learn", 0.0, MULTIPLY_ADD_PJ),
    "eligibility_updates": ("eligibility updates", 0.0, ADD_PJ),
    "weight_updates": ("weight updates", 0.0, ADD_PJ),
}
ACTING, LEARNING, ENERGY = "energy_to_act_pj", "energy_to_learn_pj", "energy_pj"
# Properties of a network, given as they are.
PROPERTIES = {
    "parameters": "parameters",
    "footprint_bytes": "footprint, bytes",
    "connection_sparsity": "connection sparsity",
    "activation_sparsity": "activation sparsity",
}


def profile(measured: pd.DataFrame, looks: Looks) -> Chart | None:
    """Share of runs (protocol, seed) whose L30 is below a threshold; None of fewer than two learners."""
    kept = measured[(measured["metric"] == MEASURE) & measured["value"].notna()]
    series, lines = [], []
    quarters = (0.25, 0.5, 0.75, 1.0)
    for learner, look in looks.items():
        own = kept[kept["learner"] == learner]
        if own.empty:
            continue
        found = performance_profile(own["value"].to_numpy(np.float64), THRESHOLDS, strata=own["protocol"].tolist())
        series.append(Series(learner, look, 100.0 * THRESHOLDS, found.share, found.low, found.high))
        lines.append((learner, *(shown(float(np.interp(q, THRESHOLDS, found.share))) for q in quarters)))
    if len(series) < 2:
        return None
    svg = line_chart(
        series,
        name="profile",
        alternative="Share of runs by how much of the miss they leave at most, a line a learner.",
        x_label="of the miss left at most, %",
        y_label="share of runs",
        guides=(),
        y_range=(-0.02, 1.04),
    )
    heads = ("learner", *(f"below {100 * q:.0f} %" for q in quarters))
    return Chart("Performance profile", Markup(svg), heads, tuple(lines), "Share of runs, by what they leave at most.")


def improvement_table(measured: pd.DataFrame, looks: Looks) -> Table | None:
    """Probability that a seed of one learner leaves less of the miss than one of another, mean over protocols."""
    kept = measured[(measured["metric"] == MEASURE) & measured["value"].notna()]
    learners = [learner for learner in looks if learner in set(kept["learner"])]
    if len(learners) < 2:
        return None
    runs = {learner: kept[kept["learner"] == learner] for learner in learners}
    found: dict[tuple[str, str], Cell] = {}
    for one, other in combinations(learners, 2):
        shared = set(runs[one]["protocol"]) & set(runs[other]["protocol"])
        pair = [own[own["protocol"].isin(shared)] for own in (runs[one], runs[other])]
        scores = [own["value"].to_numpy(np.float64) for own in pair]
        chance = improvement(scores[0], scores[1], strata=(pair[0]["protocol"].tolist(), pair[1]["protocol"].tolist()))
        found[one, other] = _chance(chance.value, chance.low, chance.high)
        found[other, one] = _chance(1.0 - chance.value, 1.0 - chance.high, 1.0 - chance.low)
    blank = Cell("", math.nan)
    lines = [Line(one, tuple(found.get((one, other), blank) for other in learners)) for one in learners]
    return Table("Probability of improvement", tuple((learner, "") for learner in learners), tuple(lines))


def _chance(value: float, low: float, high: float) -> Cell:
    if math.isnan(value):
        return Cell("\N{EN DASH}", math.nan)
    return Cell(f"{value:.2f}", value, "" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]")


def cost_table(trials: pd.DataFrame, costs: pd.DataFrame | None) -> Table | None:
    """What a trial costs, a row a learner: operations and energy.

    costs: learner, protocol, seed, metric, value, of whole runs.
    """
    found = cost_per_trial(trials, costs)
    columns = [
        *((metric, label, "a trial", 1.0) for metric, (label, _, _) in COUNTS.items()),
        (ACTING, "energy to act", "\N{MICRO SIGN}J a trial", 1e-6),
        (LEARNING, "energy to learn", "\N{MICRO SIGN}J a trial", 1e-6),
        *((metric, label, "", 1.0) for metric, label in PROPERTIES.items()),
    ]
    columns = [column for column in columns if any(column[0] in own for own in found.values())]
    if not columns:
        return None
    lines = []
    for learner in trials["learner"].unique():
        values = [scale * found.get(learner, {}).get(metric, math.nan) for metric, _, _, scale in columns]
        if any(math.isfinite(value) for value in values):
            texts = (shown(value) or "\N{EN DASH}" for value in values)
            lines.append(Line(str(learner), tuple(map(Cell, texts, values))))
    return Table("Cost of a trial", tuple((label, unit) for _, label, unit, _ in columns), tuple(lines))


def cost_per_trial(trials: pd.DataFrame, costs: pd.DataFrame | None) -> dict[str, dict[str, float]]:
    """Learner -> metric -> its median over runs, a trial where it is a count; with its energy where it can be told."""
    keys = ["learner", "protocol", "seed"]
    trials_a_run = trials.groupby(keys).size().rename("trials").reset_index()
    found: dict[str, dict[str, float]] = {}
    if costs is not None and not costs.empty:
        rows = costs[[*keys, "metric", "value"]].merge(trials_a_run, on=keys)
        for (learner, metric), own in rows.groupby(["learner", "metric"], sort=False):
            value = own["value"].astype(float)
            value = value / own["trials"] if metric in COUNTS else value
            if value.notna().any():
                found.setdefault(str(learner), {})[str(metric)] = float(value.median())
    for counts in found.values():
        known = [(counts[metric], act, learn) for metric, (_, act, learn) in COUNTS.items() if metric in counts]
        if any(act or learn for _, act, learn in known):
            counts[ACTING] = sum(count * act for count, act, _ in known)
            counts[LEARNING] = sum(count * learn for count, _, learn in known)
            counts[ENERGY] = counts[ACTING] + counts[LEARNING]
    return found


def speed_against_energy(summary: pd.DataFrame, costs: Mapping[str, Mapping[str, float]], looks: Looks) -> Chart | None:
    """What is left of the miss under the first protocol with L30, by energy a trial; None of fewer than two."""
    rows = summary[(summary["metric"] == MEASURE) & summary["value"].notna()]
    if rows.empty:
        return None
    rows = rows[rows["protocol"] == rows["protocol"].iloc[0]].set_index("learner")
    series = []
    for learner, look in looks.items():
        energy = costs.get(learner, {}).get(ENERGY, 0.0) * 1e-6
        if learner in rows.index and energy > 0.0:
            value, low, high = (np.array([100.0 * float(rows[key][learner])]) for key in ("value", "low", "high"))
            series.append(Series(learner, look, np.array([energy]), value, low, high, "marks"))
    if len(series) < 2:
        return None
    svg = line_chart(
        series,
        name="energy",
        alternative="Share of the miss that is left, by energy a trial, a mark a learner.",
        x_label="energy a trial, \N{MICRO SIGN}J (arithmetic alone)",
        y_label="of the miss left, %",
        log_x=True,
    )
    lines = tuple((one.name, shown(float(one.x[0])), shown(float(one.y[0]))) for one in series)
    heads = ("learner", "energy, \N{MICRO SIGN}J", "left, %")
    return Chart("Speed against energy", Markup(svg), heads, lines, "Lower left is better.")


def alignment_table(costs: pd.DataFrame | None) -> Table | None:
    """Angles between a rule's step and the gradient that a learner tells of with its costs, by layer.

    costs: those whose metric begins with `alignment`, degrees; a seed's value is the mean over protocols.
    """
    if costs is None or costs.empty:
        return None
    kept = costs[costs["metric"].str.startswith("alignment") & costs["value"].notna()]
    if kept.empty:
        return None
    means = kept.groupby(["learner", "metric", "seed"], sort=False)["value"].mean()
    seeds = {names: one.to_numpy(np.float64) for names, one in means.groupby(["learner", "metric"], sort=False)}
    layers = list(map(str, kept["metric"].unique()))
    lines = []
    for learner in map(str, kept["learner"].unique()):
        cells = []
        for layer in layers:
            one = estimate(seeds.get((learner, layer), np.zeros(0)))
            below = f"[{one.low:.0f}, {one.high:.0f}]" if math.isfinite(one.low) else ""
            cells.append(Cell(f"{one.value:.0f}" if one.seeds else "\N{EN DASH}", one.value, below))
        lines.append(Line(learner, tuple(cells)))
    heads = [(layer.removeprefix("alignment").strip("/_").removesuffix("_degrees"), "degrees") for layer in layers]
    return Table("Angle between step and gradient", tuple(heads), tuple(lines))


def step_sizes(tuning: Mapping[str, Mapping[str, Any]], looks: Looks) -> list[Chart]:
    """What is left of the miss by step size, a chart for each setting that was tuned.

    tuning: learner -> {"history": [{setting: value, "left_of_the_miss": value, "pruned": bool}, ...], ...}; tries that
    were given up early (pruned) are left out.
    """
    curves: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {}
    for learner, one in tuning.items():
        tries: dict[str, list[tuple[float, float]]] = {}
        for tried in one.get("history", ()):
            left = tried.get("left_of_the_miss")
            if tried.get("pruned") or left is None:
                continue
            for setting, value in tried.items():
                numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
                if setting != "left_of_the_miss" and numeric and value > 0:
                    tries.setdefault(setting, []).append((float(value), 100.0 * float(left)))
        for setting, points in tries.items():
            curves.setdefault(setting, []).append((learner, sorted(points)))
    charts = []
    for setting, found in curves.items():
        series, lines = [], []
        for learner, points in found:
            x, y = (np.array(column) for column in zip(*points, strict=True))
            series.append(Series(learner, looks.get(learner, Look("#555555")), x, y))
            best = int(np.argmin(y))
            lines.append(
                (learner, shown(float(x[best])), shown(float(y[best])), f"{shown(x[0])}\N{EN DASH}{shown(x[-1])}")
            )
        title = setting.replace("_", " ")
        svg = line_chart(
            series,
            name=f"step-{anchor(setting)}",
            alternative=f"Share of the miss that is left, by {title}: {', '.join(learner for learner, _ in found)}.",
            x_label=f"{title} (logarithmic)",
            y_label="of the miss left, %",
            guides=(0.0, 100.0),
            log_x=True,
        )
        heads = ("learner", f"best {title}", "left, %", "tried")
        charts.append(Chart(f"By {title}", Markup(svg), heads, tuple(lines), "Best of what was tried."))
    return charts
