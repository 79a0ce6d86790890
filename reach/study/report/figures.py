"""The report's figures of trials and measures: each a chart with a title and a table of the same in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from reach.study.people.human_data import HumanFact, facts
from reach.study.report.charts import Look, Looks, Row, Series, Shade, line_chart, value_chart
from reach.study.report.metrics import (
    GENERALISATION,
    SWITCHING,
    Measure,
    capital,
    named_protocol,
    short_protocol,
    shown,
    written,
)
from reach.study.report.tables import ENERGY, MEASURE
from reach.study.statistics import mean_band, performance_profile

Floats = NDArray[np.float64]

BLOCK_TITLES = {
    "baseline": "before",
    "washout": "after",
    "relearned": "again",
    "clamp": "clamped",
}
UNPERTURBED = ("baseline", "washout", "clamp", "unseen", "probed")
FIRST, LAST = 4, 10  # reaches of a block whose means the table gives
TABLED_BLOCKS = 6  # a schedule that changes more often is not tabled to its end
PER_REACH = "correction_time_s"


@dataclass(frozen=True)
class Chart:
    """A chart; heads and lines: the same as a table, each line the name and its cells."""

    title: str
    svg: Markup
    heads: tuple[str, ...] = ()
    lines: tuple[tuple[str, ...], ...] = ()
    note: str = ""


def anchor(text: str) -> str:
    """A name as part of an id."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def values_by_learner(
    summary: pd.DataFrame, measured: pd.DataFrame, looks: Looks, protocol: str, measure: Measure
) -> Chart | None:
    """One measure under one protocol, a row a learner, the best on top; None where no learner has a number.

    summary: protocol, learner, metric, value, low, high and maybe failed. measured: protocol, learner, metric, value.
    """
    mine = summary[(summary["protocol"] == protocol) & (summary["metric"] == measure.metric)]
    single = measured[(measured["protocol"] == protocol) & (measured["metric"] == measure.metric)]
    if not mine["value"].astype(float).notna().any():
        return None
    known = mine[mine["value"].astype(float).notna()]
    rows = []
    for row in known.sort_values("value", kind="stable", ascending=measure.better != "high").to_dict("records"):
        seeds = single[single["learner"] == row["learner"]]["value"].to_numpy(np.float64)
        unit = " %" if measure.unit.startswith("%") else f" {measure.unit}" if measure.unit == "s" else ""
        value, below = written(measure, {str(key): part for key, part in row.items()})
        text = " ".join(filter(None, [value + ("" if value == measure.no_number else unit), below]))
        middle, low, high = (float(row[key]) * measure.scale for key in ("value", "low", "high"))
        if value == measure.no_number:
            middle = low = high = math.nan
        learner = str(row["learner"])
        rows.append(Row(learner, looks[learner], middle, low, high, measure.scale * seeds, text))
    title = f"{capital(short_protocol(protocol))}: {measure.label}"
    ranges = [fact for fact in facts(protocol) if fact.metric == measure.metric]
    svg = value_chart(
        rows,
        name=f"value-{anchor(protocol)}-{anchor(measure.metric)}",
        alternative=f"{title}. " + "; ".join(f"{row.name} {row.text}" for row in rows),
        x_label=f"{measure.label}, {measure.unit}" if measure.unit else measure.label,
        guide=(100.0, "learns nothing") if measure.metric == "L30" else None,
        band=(ranges[0].low, ranges[0].high, "people") if ranges else None,
    )
    return Chart(title, Markup(svg))


def spans(trials: pd.DataFrame) -> list[tuple[str, float, float]]:
    """The blocks of one protocol in order: name, first and last trial."""
    order = trials.drop_duplicates("trial").sort_values("trial")
    key = order["block_number"] if "block_number" in order else (order["block"] != order["block"].shift()).cumsum()
    groups = order.groupby(key.to_numpy(), sort=True)
    return [(str(rows["block"].iloc[0]), float(rows["trial"].min()), float(rows["trial"].max())) for _, rows in groups]


def shades(blocks: Sequence[tuple[str, float, float]]) -> list[Shade]:
    """Blocks as stretches of a chart's axis; of several alike in a row the first is named."""
    found = []
    before = ""
    for block, first, last in blocks:
        title = BLOCK_TITLES.get(block, block) if block != before else ""
        found.append(Shade(first - 0.5, last + 0.5, title, block not in UNPERTURBED))
        before = block
    return found


def by_seed(trials: pd.DataFrame, column: str, by: str = "trial") -> tuple[Floats, Floats]:
    """Trial numbers (n,) and the column as (seeds, n)."""
    table = trials.pivot_table(index="seed", columns=by, values=column, aggfunc="mean", dropna=False)
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def learning_curve(trials: pd.DataFrame, protocol: str, looks: Looks) -> Chart | None:
    """A measure of each reach by reach: the launch error, or the correction time where there is one within reaches.

    trials: with launch errors less their baseline, probes left out.
    """
    mine = trials[trials["protocol"] == protocol]
    within = PER_REACH in mine and mine[PER_REACH].notna().any()
    column = PER_REACH if within else "launch_error_deg"
    label = "correction time, s" if within else "launch error, degrees"
    blocks = spans(mine)
    series, lines = [], []
    for learner, look in looks.items():
        own = mine[mine["learner"] == learner]
        if own.empty or not own[column].notna().any():
            continue
        reach, values = by_seed(own, column)
        mean, low, high = mean_band(values)
        series.append(Series(learner, look, reach, mean, low, high))
        lines.append((learner, *_block_means(reach, mean, blocks)))
    if not series:
        return None
    title = capital(named_protocol(protocol))
    heads = ("learner", *(head for block, first, last in blocks[:TABLED_BLOCKS] for head in _heads(block, first, last)))
    svg = line_chart(
        series,
        name=f"curve-{anchor(protocol)}",
        alternative=f"{title}: {label.split(',')[0]} by reach for {', '.join(one.name for one in series)}.",
        x_label="reach",
        y_label=label,
        shades=shades(blocks),
    )
    return Chart(title, Markup(svg), heads, tuple(lines), f"{capital(label)}, mean over seeds.")


def _parts(first: float, last: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (first, min(first + FIRST - 1, last)), (max(last - LAST + 1, first), last)


def _heads(block: str, first: float, last: float) -> list[str]:
    return [f"{BLOCK_TITLES.get(block, block)}, {a:.0f}\N{EN DASH}{b:.0f}" for a, b in _parts(first, last)]


def _block_means(reach: Floats, mean: Floats, blocks: Sequence[tuple[str, float, float]]) -> list[str]:
    found = []
    for _, first, last in blocks[:TABLED_BLOCKS]:
        for a, b in _parts(first, last):
            inside = mean[(reach >= a) & (reach <= b) & np.isfinite(mean)]
            found.append(shown(round(float(np.mean(inside)), 2)) if len(inside) else "")
    return found


def correction_trace(traces: pd.DataFrame, protocol: str, block: str, looks: Looks) -> Chart | None:
    """What remains of the error in the second after the onset of a perturbation within the reach.

    traces: learner, protocol, seed, block, time_s, remaining (1 = all of the perturbation).
    """
    mine = traces[(traces["protocol"] == protocol) & (traces["block"] == block) & traces["remaining"].notna()]
    series, lines = [], []
    times = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
    for learner, look in looks.items():
        own = mine[mine["learner"] == learner]
        if own.empty:
            continue
        time, values = by_seed(own, "remaining", "time_s")
        mean, low, high = mean_band(values)
        series.append(Series(learner, look, time, mean, low, high))
        lines.append((learner, *(shown(float(np.interp(at, time, mean))) for at in times)))
    if not series:
        return None
    title = f"{capital(short_protocol(protocol))}, {BLOCK_TITLES.get(block, block)}"
    svg = line_chart(
        series,
        name=f"trace-{anchor(protocol)}-{anchor(block)}",
        alternative=f"{title}: share of the perturbation that remains, by time from its onset.",
        x_label="time from onset, s",
        y_label="error that remains, 1 = all",
        guides=(0.0, 1.0),
    )
    heads = ("learner", *(f"after {at:g} s" for at in times))
    return Chart(title, Markup(svg), heads, tuple(lines), "Error that remains, as a fraction of the perturbation.")


@dataclass(frozen=True)
class Sweep:
    """Measures whose names end in a number: prefix and what the chart says of them."""

    prefix: str
    what: str
    x_label: str
    y_label: str
    head: str
    guides: tuple[float, ...]
    log_x: bool = False


SWEEPS = (
    Sweep(
        GENERALISATION,
        "share of what was learned that shows in other directions",
        "degrees from the trained direction",
        "share that shows",
        "{:g}°",
        (0.0, 1.0),
    ),
    Sweep(
        SWITCHING,
        "mean error while the perturbation flips, as a share of the miss",
        "reaches between two flips",
        "of the miss left",
        "{:g} reaches",
        (0.0, 1.0),
        log_x=True,
    ),
)


def sweep(summary: pd.DataFrame, protocol: str, looks: Looks, of: Sweep) -> Chart | None:
    """Measures by the number in their names, a line a learner; None where the protocol has none of them."""
    mine = summary[(summary["protocol"] == protocol) & summary["metric"].str.startswith(of.prefix)]
    mine = mine.assign(at=mine["metric"].str.removeprefix(of.prefix).astype(float)).sort_values("at", kind="stable")
    places: list[float] = sorted(mine["at"].unique().tolist())
    series, lines = [], []
    for learner, look in looks.items():
        own = mine[mine["learner"] == learner].dropna(subset="value")
        if own.empty:
            continue
        at, value, low, high = (own[key].to_numpy(np.float64) for key in ("at", "value", "low", "high"))
        series.append(Series(learner, look, at, value, low, high))
        values = dict(zip(at.tolist(), value.tolist(), strict=True))
        lines.append((learner, *(shown(values.get(place, math.nan)) for place in places)))
    if not series:
        return None
    title = capital(short_protocol(protocol))
    svg = line_chart(
        series,
        name=f"{anchor(of.prefix)}{anchor(protocol)}",
        alternative=f"{title}: {of.what}.",
        x_label=of.x_label,
        y_label=of.y_label,
        guides=of.guides,
        log_x=of.log_x,
    )
    heads = ("learner", *(of.head.format(place) for place in places))
    return Chart(title, Markup(svg), heads, tuple(lines), f"{capital(of.what)}.")


def alignment(trials: pd.DataFrame, looks: Looks) -> list[Chart]:
    """Angles between a rule's step and the true gradient by reach, of each protocol and column `alignment...`."""
    charts = []
    columns = [column for column in map(str, trials.columns) if column.startswith("alignment")]
    for column in columns:
        for protocol in trials["protocol"].unique():
            mine = trials[(trials["protocol"] == protocol) & trials[column].notna()]
            series = []
            for learner, look in looks.items():
                own = mine[mine["learner"] == learner]
                if not own.empty:
                    reach, values = by_seed(own, column)
                    series.append(Series(learner, look, reach, *mean_band(values)))
            if not series:
                continue
            layer = column.removeprefix("alignment").strip("_").removesuffix("_deg").replace("_", " ")
            title = ", ".join(filter(None, [capital(named_protocol(str(protocol))), layer]))
            svg = line_chart(
                series,
                name=f"{anchor(column)}-{anchor(str(protocol))}",
                alternative=f"{title}: angle between the rule's step and the gradient, by reach.",
                x_label="reach",
                y_label="degrees from the gradient",
                shades=shades(spans(trials[trials["protocol"] == protocol])),
                guides=(90.0,),
            )
            ends = tuple((one.name, shown(float(one.y[0])), shown(float(one.y[-1]))) for one in series)
            note = "Degrees from the gradient, mean over seeds; 90 is at random."
            charts.append(Chart(title, Markup(svg), ("learner", "first", "last"), ends, note))
    return charts


def cited(found: Sequence[HumanFact]) -> list[str]:
    """Facts as sentences with their sources."""
    return [f"People: {fact.text} ({fact.citation})." for fact in found]


THRESHOLDS = np.linspace(0.0, 1.2, 61)


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
