"""Parts of the report that look across protocols: who beats whom, what a correction costs, speed against step size.

Performance profiles and the probability of improvement follow Agarwal et al. 2021 (NeurIPS, "Deep reinforcement
learning at the edge of the statistical precipice"); costs have the metric names of NeuroBench (Yik et al. 2025, Nature
Communications); energies per operation are those of Horowitz 2014 (ISSCC, "Computing's energy problem", 45 nm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as PrintedTable
from rich.text import Text

from reach.study.report.charts import Looks
from reach.study.report.metrics import (
    MEASURES,
    NO_NUMBER,
    Measure,
    capital,
    counted,
    lookup,
    named_protocol,
    number,
    short_protocol,
    shown,
    shown_measures,
    written,
)
from reach.study.statistics import estimate, improvement

MULTIPLY_ADD_PJ = 4.6  # 32-bit floating point: multiplication 3.7, addition 0.9
ADD_PJ = 0.9
MEASURE = "L30"


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


def measure_tables(summary: pd.DataFrame, group: str, kind: str = "") -> list[Table]:
    """Return one table a protocol with the measures of a group; `kind` is added to their titles."""
    rows = lookup(summary)
    tables = []
    for protocol in summary["protocol"].unique():
        mine = summary[summary["protocol"] == protocol]
        measures = shown_measures(mine, group)
        if not measures:
            continue
        best = {measure.metric: _best(measure, mine[mine["metric"] == measure.metric]) for measure in measures}
        lines = []
        for learner in mine["learner"].unique():
            found = [(measure, rows.get((protocol, learner, measure.metric))) for measure in measures]
            lines.append(Line(str(learner), tuple(_cell(measure, row, best[measure.metric]) for measure, row in found)))
        parts = [capital(named_protocol(protocol)), kind, counted(int(mine["seeds"].max()), "seed")]
        title = ", ".join(filter(None, parts))
        tables.append(Table(title, tuple((measure.label, measure.unit) for measure in measures), tuple(lines)))
    return tables


def across_protocols(summary: pd.DataFrame, wanted: Sequence[tuple[str, str]], title: str) -> Table | None:
    """One table of learners by measures of several protocols; wanted: (protocol, metric) pairs, "" for no metric."""
    known = {measure.metric: measure for measure in MEASURES}
    rows = lookup(summary)
    pairs = [(protocol, known[metric]) for protocol, metric in wanted if metric]
    pairs = [(p, m) for p, m in pairs if m in shown_measures(summary[summary["protocol"] == p])]
    if not pairs:
        return None
    lines = []
    for learner in summary["learner"].unique():
        cells = []
        for protocol, measure in pairs:
            here = summary[(summary["protocol"] == protocol) & (summary["metric"] == measure.metric)]
            cells.append(_cell(measure, rows.get((protocol, learner, measure.metric)), _best(measure, here)))
        if any(not np.isnan(cell.value) for cell in cells):
            lines.append(Line(str(learner), tuple(cells)))
    heads = [(capital(short_protocol(p)), f"{m.label}, {m.unit}" if m.unit else m.label) for p, m in pairs]
    return Table(title, tuple(heads), tuple(lines))


def _cell(measure: Measure, row: Mapping[str, Any] | None, best: str) -> Cell:
    text, below = written(measure, row)
    never = row is not None and text == measure.no_number != NO_NUMBER
    value = np.inf if never else np.nan if row is None or row["value"] is None else float(row["value"])
    return Cell(text, value, below, bool(best) and text == best)


def _best(measure: Measure, rows: pd.DataFrame) -> str:
    """The best number of a measure as it is shown; "" where none is better than another."""
    values = rows["value"].astype(float)
    values = values[np.isfinite(values)]
    if not measure.better or len(values) < 2:
        return ""
    best, worst = sorted([values.min(), values.max()], reverse=measure.better == "high")
    return "" if number(measure, best) == number(measure, worst) else number(measure, best)


# Width of the printed table, letters: a label, the longest interval, and the gap between two columns.
LABEL_LETTERS, COLUMN_LETTERS, COLUMN_GAP = 18, 14, 3


def print_table(summary: pd.DataFrame, console: Console | None = None) -> None:
    """Print a table a protocol: measures down, learners across, each number with its interval below it.

    More learners than there is room for are in further tables of the same protocol.
    """
    console = console or Console()
    rows = lookup(summary)
    for protocol in summary["protocol"].unique():
        mine = summary[summary["protocol"] == protocol]
        learners = [str(learner) for learner in mine["learner"].unique()]
        title = f"{named_protocol(protocol)}, {counted(int(mine['seeds'].max()), 'seed')}, 95 % intervals"
        for few in _beside_each_other(learners, console.width):
            table = PrintedTable(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
            table.add_column("")
            for learner in few:
                table.add_column(learner, justify="right", overflow="fold")
            for measure in shown_measures(mine):
                cells = [Text(f"{measure.label}\n{measure.unit}")]
                for learner in few:
                    value, below = written(measure, rows.get((protocol, learner, measure.metric)))
                    cells.append(Text.assemble(value, "\n", (below, "dim")))
                table.add_row(*cells)
            console.print(table)
            title = f"{named_protocol(protocol)}, further learners"


def _beside_each_other(learners: Sequence[str], width: int) -> list[list[str]]:
    """As many at a time as there is room for in so many letters, one at least."""
    groups: list[list[str]] = []
    left = 0
    for learner in learners:
        wanted = max(len(learner), COLUMN_LETTERS) + COLUMN_GAP
        if not groups or wanted > left:
            groups.append([])
            left = width - LABEL_LETTERS
        groups[-1].append(learner)
        left -= wanted
    return groups
