"""Measures in reports: their labels, units and formats (`measures.toml`), and the tables of a study.

Tables are printed in a terminal, and shown on the report's page. Costs have the metric names of NeuroBench (Yik et al.
2025, Nature Communications); energies per operation are those of Horowitz 2014 (ISSCC, "Computing's energy problem",
45 nm).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as PrintedTable
from rich.text import Text

from reach.protocols import PROTOCOLS
from reach.study.statistics import estimate

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
    known = set(summary["metric"][summary["value"].astype(float).notna()])
    return [measure for measure in MEASURES if measure.metric in known and group in ("", measure.group)]


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


# --- tables ---------------------------------------------------------------------------------------------------

# Widths in the printed table, in letters: labels, longest interval, and gap between two columns.
LABEL_LETTERS, COLUMN_LETTERS, COLUMN_GAP = 18, 14, 3
MULTIPLY_ADD_PJ = 4.6  # 32-bit floating point: multiplication 3.7, addition 0.9
ADD_PJ = 0.9
MICROJOULE_PER_TRIAL = "\N{MICRO SIGN}J a trial"
# Operations per trial: label, and energy per operation, pJ, for acting and for learning, by metric. An eligibility
# update and a change of a weight count as an addition.
COUNTS = {
    "effective_macs": ("effective MACs", MULTIPLY_ADD_PJ, 0.0),
    "effective_acs": ("effective ACs", ADD_PJ, 0.0),
    "dense_operations": ("dense operations", 0.0, 0.0),
    "synaptic_operations": ("synaptic operations", 0.0, 0.0),
    "learning_macs": ("MACs to learn", 0.0, MULTIPLY_ADD_PJ),
    "eligibility_updates": ("eligibility updates", 0.0, ADD_PJ),
    "weight_updates": ("weight updates", 0.0, ADD_PJ),
}
# Scale, digits and unit of displayed differences, by headline metric.
OF_THE_MISS = 100.0, 1, "points of the miss"
PAIR_UNITS = {L30: OF_THE_MISS, LATE_ERROR: OF_THE_MISS, T_C: (1000.0, 0, "ms")}
ACTING, LEARNING, ENERGY = "energy_to_act_pj", "energy_to_learn_pj", "energy_pj"
# Labels of properties of a network, by metric.
PROPERTIES = {
    "parameters": "parameters",
    "footprint_bytes": "footprint, bytes",
    "connection_sparsity": "connection sparsity",
    "activation_sparsity": "activation sparsity",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: text, value for sorting, and a smaller text below."""

    text: str
    value: float
    below: str = ""
    best: bool = False

    @property
    def key(self) -> str:
        """Return the number by which the page sorts, as text; "" is sorted last."""
        return "" if math.isnan(self.value) else f"{self.value:.6g}".replace("inf", "Infinity")


BLANK = Cell("", math.nan)


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: caption.
        header: label and unit of each column after the first.
        rows: rows of a learner and its cells.
    """

    title: str
    header: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def print_table(summary: pd.DataFrame) -> None:
    """Print a table per protocol: one row per measure, one column per learner, each number with its interval below.

    If the columns of all learners are too wide for the terminal, several tables are printed.
    """
    console = Console()
    rows = rows_by_key(summary)
    for protocol in summary["protocol"].unique():
        protocol_rows = summary[summary["protocol"] == protocol]
        learners = [str(learner) for learner in protocol_rows["learner"].unique()]
        title = f"{protocol_title(protocol)}, {plural(int(protocol_rows['seeds'].max()), 'seed')}, 95 % intervals"
        for group in _side_by_side(learners, console.width):
            table = PrintedTable(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
            table.add_column("")
            for learner in group:
                table.add_column(learner, justify="right", overflow="fold")
            for measure in measures_in(protocol_rows):
                cells = [Text(f"{measure.label}\n{measure.unit}")]
                for learner in group:
                    value, below = format_row(measure, rows.get((protocol, learner, measure.metric)))
                    cells.append(Text.assemble(value, "\n", (below, "dim")))
                table.add_row(*cells)
            console.print(table)
            title = f"{protocol_title(protocol)}, further learners"


def _side_by_side(learners: Sequence[str], width: int) -> list[list[str]]:
    """Split learners into groups of at least one that fit into `width` letters."""
    groups: list[list[str]] = []
    left = 0
    for learner in learners:
        needed = max(len(learner), COLUMN_LETTERS) + COLUMN_GAP
        if not groups or needed > left:
            groups.append([])
            left = width - LABEL_LETTERS
        groups[-1].append(learner)
        left -= needed
    return groups


def measure_tables(summary: pd.DataFrame, group: str, kind: str = "") -> list[Table]:
    """Return one table per protocol with the measures of a group; `kind` is added to their titles."""
    tables = []
    for protocol in summary["protocol"].unique():
        protocol_rows = summary[summary["protocol"] == protocol]
        if measures := measures_in(protocol_rows, group):
            parts = [capital(protocol_title(protocol)), kind, plural(int(protocol_rows["seeds"].max()), "seed")]
            header = tuple((measure.label, measure.unit) for measure in measures)
            rows = _learner_rows(protocol_rows, [(protocol, measure) for measure in measures])
            tables.append(Table(", ".join(filter(None, parts)), header, tuple(rows)))
    return tables


def across_protocols(summary: pd.DataFrame, columns: Sequence[tuple[str, str]], title: str) -> Table | None:
    """Return one table with measures of several protocols; `columns` are (protocol, metric), metric "" for none."""
    measures = {measure.metric: measure for measure in MEASURES}
    pairs = [(protocol, measures[metric]) for protocol, metric in columns if metric]
    pairs = [(p, m) for p, m in pairs if m in measures_in(summary[summary["protocol"] == p])]
    if not pairs:
        return None
    rows = [row for row in _learner_rows(summary, pairs) if not all(math.isnan(cell.value) for cell in row[1])]
    header = tuple((capital(protocol_name(p)), f"{m.label}, {m.unit}" if m.unit else m.label) for p, m in pairs)
    return Table(title, header, tuple(rows))


def _learner_rows(summary: pd.DataFrame, pairs: Sequence[tuple[str, Measure]]) -> list[tuple[str, tuple[Cell, ...]]]:
    """Return each learner with its cells for the pairs (protocol, measure)."""
    rows = rows_by_key(summary)
    columns = [(p, measure, _best(measure, summary[summary["protocol"] == p])) for p, measure in pairs]
    return [
        (learner, tuple(_cell(m, rows.get((protocol, learner, m.metric)), best) for protocol, m, best in columns))
        for learner in map(str, summary["learner"].unique())
    ]


def _cell(measure: Measure, row: Mapping[str, Any] | None, best: str) -> Cell:
    text, below = format_row(measure, row)
    never = row is not None and text == measure.no_number != NO_NUMBER
    value = math.inf if never else math.nan if row is None or row["value"] is None else float(row["value"])
    return Cell(text, value, below, bool(best) and text == best)


def _best(measure: Measure, rows: pd.DataFrame) -> str:
    """Return the best number of a measure as text; "" if no number is better than another."""
    values = rows["value"][rows["metric"] == measure.metric].astype(float)
    values = values[np.isfinite(values)]
    if not measure.better or len(values) < 2:
        return ""
    best, worst = sorted([values.min(), values.max()], reverse=measure.better == "high")
    shown_best, shown_worst = format_value(measure, best), format_value(measure, worst)
    return "" if shown_best == shown_worst else shown_best


def estimate_cell(value: float, low: float, high: float, digits: int) -> Cell:
    """Return a cell with a value and its interval; both may be NaN."""
    text = f"{value:.{digits}f}" if math.isfinite(value) else NO_NUMBER
    return Cell(text, value, f"[{low:.{digits}f}, {high:.{digits}f}]" if math.isfinite(low) else "")


def paired_tables(pairs: pd.DataFrame) -> list[Table]:
    """Return a table for each protocol: the row's learner minus the column's, in the protocol's headline metric.

    Args:
        pairs: result of `reach.study.statistics.paired_differences`.
    """
    results = []
    for (protocol, metric), protocol_pairs in pairs.groupby(["protocol", "metric"], sort=False):
        scale, digits, unit = PAIR_UNITS[str(metric)]
        cells: dict[tuple[str, str], Cell] = {}
        for row in protocol_pairs.to_dict("records"):
            value, low, high = (scale * float(row[key]) for key in ("value", "low", "high"))
            cells[row["first"], row["second"]] = _difference(value, low, high, digits)
            cells[row["second"], row["first"]] = _difference(-value, -high, -low, digits)
        learners = list(dict.fromkeys([*protocol_pairs["first"], *protocol_pairs["second"]]))
        rows = tuple((row, tuple(cells.get((row, column), BLANK) for column in learners)) for row in learners)
        header = tuple((learner, "") for learner in learners)
        results.append(Table(f"{capital(protocol_title(str(protocol)))}: row less column, {unit}", header, rows))
    return results


def _difference(value: float, low: float, high: float, digits: int) -> Cell:
    """Return a cell with a difference, marked as best if its interval lies below 0."""
    return replace(estimate_cell(value + 0.0, low, high, digits), best=high < 0.0)


def cost_table(by_learner: Mapping[str, Mapping[str, float]], learners: Sequence[str]) -> Table | None:
    """Return a table of operations and energy per trial, one row per learner; `by_learner` from `cost_per_trial`."""
    columns = [
        *((metric, label, "a trial", 1.0) for metric, (label, _, _) in COUNTS.items()),
        (ACTING, "energy to act", MICROJOULE_PER_TRIAL, 1e-6),
        (LEARNING, "energy to learn", MICROJOULE_PER_TRIAL, 1e-6),
        *((metric, label, "", 1.0) for metric, label in PROPERTIES.items()),
    ]
    columns = [column for column in columns if any(column[0] in metrics for metrics in by_learner.values())]
    rows = []
    for learner in learners:
        values = [scale * by_learner.get(learner, {}).get(metric, math.nan) for metric, _, _, scale in columns]
        if any(math.isfinite(value) for value in values):
            rows.append((learner, tuple(Cell(short_number(value) or NO_NUMBER, value) for value in values)))
    header = tuple((label, unit) for _, label, unit, _ in columns)
    return Table("Cost of a trial", header, tuple(rows)) if columns else None


def cost_per_trial(trials: pd.DataFrame, costs: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return medians over runs by learner and metric; counts and energies are per trial.

    Args:
        trials: one row per trial.
        costs: table with columns learner, protocol, seed, metric, value, for whole runs.
    """
    keys = ["learner", "protocol", "seed"]
    trials_per_run = trials.groupby(keys).size().rename("trials").reset_index()
    by_learner: dict[str, dict[str, float]] = {}
    if not costs.empty:
        rows = costs[[*keys, "metric", "value"]].merge(trials_per_run, on=keys)
        for (learner, metric), learner_costs in rows.groupby(["learner", "metric"], sort=False):
            value = learner_costs["value"].astype(float)
            value = value / learner_costs["trials"] if metric in COUNTS else value
            if value.notna().any():
                by_learner.setdefault(str(learner), {})[str(metric)] = float(value.median())
    for counts in by_learner.values():
        known = [(counts[metric], act, learn) for metric, (_, act, learn) in COUNTS.items() if metric in counts]
        if any(act or learn for _, act, learn in known):
            counts[ACTING] = sum(count * act for count, act, _ in known)
            counts[LEARNING] = sum(count * learn for count, _, learn in known)
            counts[ENERGY] = counts[ACTING] + counts[LEARNING]
    return by_learner


# Measures of layers among the costs: prefix and suffix of the metric, title, unit, and factor and digits of a cell.
LAYER_READINGS = (
    ("movement", "", "Change of each layer's weights", "% of their norm", 100.0, 1),
    ("alignment", "_degrees", "Angle between step and gradient", "degrees", 1.0, 0),
)


def layer_tables(costs: pd.DataFrame) -> list[Table]:
    """Return tables by layer of the change of weights, and of the angle between the last step and the gradient.

    A seed's value is the mean over protocols.
    """
    tables: list[Table] = []
    for prefix, suffix, title, unit, factor, digits in LAYER_READINGS:
        if costs.empty:
            continue
        readings = costs[costs["metric"].str.startswith(prefix) & costs["value"].notna()]
        if readings.empty:
            continue
        means = factor * readings.groupby(["learner", "metric", "seed"], sort=False)["value"].mean()
        seeds = {
            names: values.to_numpy(np.float64) for names, values in means.groupby(["learner", "metric"], sort=False)
        }
        layers = list(map(str, readings["metric"].unique()))
        rows = []
        for learner in map(str, readings["learner"].unique()):
            cells = [estimate(seeds.get((learner, layer), np.zeros(0))) for layer in layers]
            rows.append((learner, tuple(estimate_cell(cell.value, cell.low, cell.high, digits) for cell in cells)))
        header = [(layer.removeprefix(prefix).strip("/_").removesuffix(suffix), unit) for layer in layers]
        tables.append(Table(title, tuple(header), tuple(rows)))
    return tables
