"""The report's figures: charts with a title and a table of their main numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from reach.measures.series import HALVING_WINDOW
from reach.protocols import PERTURBED
from reach.study.measures import lamps_decide
from reach.study.people.human_data import facts
from reach.study.report.charts import Floats, Look, Looks, Row, Series, Shade, line_chart, value_chart
from reach.study.report.metrics import (
    ENERGY,
    GENERALISATION,
    L30,
    LATE_ERROR,
    SWITCHING,
    Measure,
    capital,
    format_row,
    protocol_name,
    protocol_title,
    short_number,
)
from reach.study.statistics import mean_band, performance_profile

BLOCK_TITLES = {"baseline": "before", "washout": "after", "relearned": "again", "clamp": "clamped"}
UNPERTURBED = ("baseline", "washout", "clamp", "unseen", "probed")
FIRST, LAST = 4, 10  # numbers of first and last reaches of a block whose means are in the table
WINDOW_REACHES = HALVING_WINDOW  # window of a learning curve in which lamps determine the side
TABLED_BLOCKS = 6  # number of blocks of a schedule in the table
CORRECTION_TIME = "correction_time_s"
VALUE_COLUMNS = ("at", "value", "low", "high")
THRESHOLDS = np.linspace(0.0, 1.2, 61)  # shares of the miss
OF_THE_MISS_LEFT = "of the miss left, %"


@dataclass(frozen=True)
class Chart:
    """A chart with its main numbers.

    Attributes:
        title: heading.
        svg: the image.
        header: header of the table of numbers.
        rows: rows of the table of numbers, each a name and its cells.
        note: caption.
    """

    title: str
    svg: Markup
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


def _lines(
    title: str,
    series: Sequence[Series],
    alternative: str,
    columns: Sequence[tuple[str, Callable[[Series], float]]],
    note: str,
    **axes: Any,
) -> Chart:
    """Return a line chart with one table row per series.

    Args:
        title, note: heading and caption.
        series: series in drawing order.
        alternative: text for screen readers.
        columns: columns of the table: header, and function that returns the number of a series.
        axes: arguments of `charts.line_chart`.
    """
    rows = tuple((curve.name, *(short_number(float(number(curve))) for _, number in columns)) for curve in series)
    svg = line_chart(series, alternative=alternative, **axes)
    return Chart(title, svg, ("learner", *(header for header, _ in columns)), rows, note)


def values_by_learner(
    summary: pd.DataFrame, measured: pd.DataFrame, looks: Looks, protocol: str, measure: Measure
) -> Chart | None:
    """Draw one measure under one protocol, one row per learner, the best on top; None if no learner has a number.

    Args:
        summary: table with columns protocol, learner, metric, value, low, high and possibly failed.
        measured: table with columns protocol, learner, metric, value, one row per seed.
        looks: looks of the learners.
        protocol: protocol to show.
        measure: measure to show.
    """
    measure_rows = summary[(summary["protocol"] == protocol) & (summary["metric"] == measure.metric)]
    measure_rows = measure_rows[measure_rows["value"].astype(float).notna()]
    if measure_rows.empty:
        return None
    by_seed = measured[(measured["protocol"] == protocol) & (measured["metric"] == measure.metric)]
    unit = " %" if measure.unit.startswith("%") else f" {measure.unit}" if measure.unit == "s" else ""
    rows = []
    for row in measure_rows.sort_values("value", kind="stable", ascending=measure.better != "high").to_dict("records"):
        seeds = by_seed[by_seed["learner"] == row["learner"]]["value"].to_numpy(np.float64)
        text, below = format_row(measure, {str(key): part for key, part in row.items()})
        middle, low, high = (float(row[key]) * measure.scale for key in ("value", "low", "high"))
        if text == measure.no_number:
            middle = low = high = math.nan
        else:
            text += unit
        learner = str(row["learner"])
        rows.append(Row(learner, looks[learner], middle, low, high, measure.scale * seeds, f"{text} {below}".strip()))
    title = f"{capital(protocol_name(protocol))}: {measure.label}"
    ranges = [fact for fact in facts(protocol) if fact.metric == measure.metric]
    svg = value_chart(
        rows,
        alternative=f"{title}. " + "; ".join(f"{row.name} {row.text}" for row in rows),
        x_label=f"{measure.label}, {measure.unit}" if measure.unit else measure.label,
        guide=(100.0, "learns nothing") if measure.metric in (L30, LATE_ERROR) else None,
        band=(ranges[0].low, ranges[0].high, "people") if ranges else None,
    )
    return Chart(title, svg)


def spans(trials: pd.DataFrame) -> list[tuple[str, float, float]]:
    """Return the blocks of one protocol in order, as (name, first trial, last trial)."""
    order = trials.drop_duplicates("trial").sort_values("trial")
    key = order["block_number"] if "block_number" in order else (order["block"] != order["block"].shift()).cumsum()
    groups = order.groupby(key.to_numpy(), sort=True)
    return [(str(rows["block"].iloc[0]), float(rows["trial"].min()), float(rows["trial"].max())) for _, rows in groups]


def shades(blocks: Sequence[tuple[str, float, float]]) -> list[Shade]:
    """Return blocks as ranges of a chart's axis; of successive blocks with one name, only the first has a title."""
    before = ("", *(block for block, _, _ in blocks))
    return [
        Shade(first - 0.5, last + 0.5, block_title(block) if block != previous else "", block not in UNPERTURBED)
        for (block, first, last), previous in zip(blocks, before, strict=False)
    ]


def block_title(block: str) -> str:
    """Return the title of a block."""
    return BLOCK_TITLES.get(block, block)


def by_seed(trials: pd.DataFrame, column: str, by: str = "trial") -> tuple[Floats, Floats]:
    """Return trial numbers (n,) and a column as (seeds, n)."""
    table = trials.pivot_table(index="seed", columns=by, values=column, aggfunc="mean", dropna=False)
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def mean_series(rows: pd.DataFrame, looks: Looks, column: str, by: str = "trial") -> list[Series]:
    """Return the mean over seeds of a column with its band, as one series for each learner that has values."""
    series = []
    for learner, look in looks.items():
        learner_rows = rows[rows["learner"] == learner]
        if learner_rows[column].notna().any():
            x, values = by_seed(learner_rows, column, by)
            series.append(Series(learner, look, x, *mean_band(values)))
    return series


def learning_curve(trials: pd.DataFrame, protocol: str, looks: Looks) -> Chart | None:
    """Draw the launch error of each reach, or its correction time in a protocol that perturbs within reaches.

    If lamps determine the side of the perturbation, draw the mean |launch error| over windows of 50 reaches.

    Args:
        trials: trials without probes, with launch errors minus their baseline.
        protocol: protocol to show.
        looks: looks of the learners.
    """
    protocol_trials = trials[trials["protocol"] == protocol]
    within = CORRECTION_TIME in protocol_trials and protocol_trials[CORRECTION_TIME].notna().any()
    label = "correction time, s" if within else "launch error, degrees"
    counted = "mean over seeds"
    shown, at_first, at_last = protocol_trials, FIRST, LAST
    if lamps_decide(protocol_trials[protocol_trials["block"] == PERTURBED]):
        shown, at_first, at_last = in_windows(protocol_trials), WINDOW_REACHES, WINDOW_REACHES
        counted = f"mean size over {WINDOW_REACHES} reaches and over seeds"
    series = mean_series(shown, looks, CORRECTION_TIME if within else "launch_error_deg")
    if not series:
        return None
    blocks = spans(protocol_trials)
    columns = [
        (f"{block_title(block)}, {a:.0f}\N{EN DASH}{b:.0f}", partial(_mean_between, first=a, last=b))
        for block, first, last in blocks[:TABLED_BLOCKS]
        for a, b in ((first, min(first + at_first - 1, last)), (max(last - at_last + 1, first), last))
    ]
    title = capital(protocol_title(protocol))
    alternative = f"{title}: {label.split(',')[0]} by reach for {', '.join(curve.name for curve in series)}."
    note = f"{capital(label)}, {counted}."
    return _lines(title, series, alternative, columns, note, x_label="reach", y_label=label, shades=shades(blocks))


def in_windows(reaches: pd.DataFrame) -> pd.DataFrame:
    """Return reaches with their |launch error|, numbered by the middle of their window of 50 reaches in the block."""
    window = (reaches["trial_in_block"] - 1) // WINDOW_REACHES
    middle = reaches.groupby([reaches["block_number"], window])["trial"].transform("mean")
    return reaches.assign(trial=middle, launch_error_deg=reaches["launch_error_deg"].abs())


def _mean_between(series: Series, first: float, last: float) -> float:
    inside = series.y[(series.x >= first) & (series.x <= last) & np.isfinite(series.y)]
    return round(float(np.mean(inside)), 2) if len(inside) else math.nan


def correction_traces(traces: pd.DataFrame, protocols: Sequence[str], looks: Looks) -> list[Chart]:
    """Draw the remaining error in the first second after the onset of a perturbation within the reach.

    Args:
        traces: table with columns learner, protocol, seed, block, time_s, remaining (1 = the whole perturbation).
        protocols: protocols to show.
        looks: looks of the learners.
    """
    if traces.empty:
        return []
    columns = [
        (f"after {time:g} s", lambda curve, time=time: np.interp(time, curve.x, curve.y))
        for time in (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
    ]
    axes: Any = {"x_label": "time from onset, s", "y_label": "error that remains, 1 = all", "guides": (0.0, 1.0)}
    charts = []
    for protocol, block in traces[["protocol", "block"]].drop_duplicates().itertuples(index=False):
        block_traces = traces[
            (traces["protocol"] == protocol) & (traces["block"] == block) & traces["remaining"].notna()
        ]
        series = mean_series(block_traces, looks, "remaining", "time_s") if protocol in protocols else []
        if series:
            title = f"{capital(protocol_name(protocol))}, {block_title(block)}"
            alternative = f"{title}: remaining share of the perturbation, by time from its onset."
            note = "Error that remains, as a fraction of the perturbation."
            charts.append(_lines(title, series, alternative, columns, note, **axes))
    return charts


@dataclass(frozen=True)
class Sweep:
    """Measures whose names end in a number: the prefix of their names, and the texts of their chart."""

    prefix: str
    what: str
    x_label: str
    y_label: str
    column: str
    log_x: bool = False


SWEEPS = (
    Sweep(GENERALISATION, "share of the learning that shows in other directions", "degrees from the trained direction",
        "share that shows", "{:g}°"),
    Sweep(SWITCHING, "mean error while the perturbation flips, as a share of the miss", "reaches between two flips",
        "of the miss left", "{:g} reaches", log_x=True),
)  # fmt: skip


def sweep(summary: pd.DataFrame, protocol: str, looks: Looks, of: Sweep) -> Chart | None:
    """Draw measures by the number in their names, one line per learner; None if the protocol has no such measures."""
    rows = summary[(summary["protocol"] == protocol) & summary["metric"].str.startswith(of.prefix)]
    rows = rows.assign(at=rows["metric"].str.removeprefix(of.prefix).astype(float)).sort_values("at", kind="stable")
    series = []
    for learner, look in looks.items():
        known = rows[rows["learner"] == learner].dropna(subset="value")
        if not known.empty:
            values: Any = (known[key].to_numpy(np.float64) for key in VALUE_COLUMNS)
            series.append(Series(learner, look, *values))
    if not series:
        return None
    title = capital(protocol_name(protocol))
    places: list[float] = sorted(rows["at"].unique().tolist())
    columns = [
        (of.column.format(place), lambda curve, place=place: np.append(curve.y[curve.x == place], np.nan)[0])
        for place in places
    ]
    axes: Any = {"x_label": of.x_label, "y_label": of.y_label, "guides": (0.0, 1.0), "log_x": of.log_x}
    return _lines(title, series, f"{title}: {of.what}.", columns, f"{capital(of.what)}.", **axes)


def alignment(trials: pd.DataFrame, looks: Looks) -> list[Chart]:
    """Draw the angle between a rule's step and the gradient by reach, for each protocol and column `alignment...`."""
    charts = []
    for column in [column for column in map(str, trials.columns) if column.startswith("alignment")]:
        for protocol in map(str, trials["protocol"].unique()):
            protocol_trials = trials[trials["protocol"] == protocol]
            series = mean_series(protocol_trials[protocol_trials[column].notna()], looks, column)
            if not series:
                continue
            layer = column.removeprefix("alignment").strip("_").removesuffix("_deg").replace("_", " ")
            title = ", ".join(filter(None, [capital(protocol_title(protocol)), layer]))
            alternative = f"{title}: angle between the rule's step and the gradient, by reach."
            note = "Degrees from the gradient, mean over seeds; chance level is 90."
            axes: Any = {"x_label": "reach", "y_label": "degrees from the gradient", "guides": (90.0,)}
            columns = [("first", lambda curve: curve.y[0]), ("last", lambda curve: curve.y[-1])]
            charts.append(
                _lines(title, series, alternative, columns, note, shades=shades(spans(protocol_trials)), **axes)
            )
    return charts


def profile(measured: pd.DataFrame, looks: Looks) -> Chart | None:
    """Draw the share of runs (protocol, seed) whose L30 is below a threshold; None for fewer than two learners."""
    scores = measured[(measured["metric"] == L30) & measured["value"].notna()]
    series = []
    for learner, look in looks.items():
        learner_scores = scores[scores["learner"] == learner]
        if not learner_scores.empty:
            runs = performance_profile(
                learner_scores["value"].to_numpy(np.float64), THRESHOLDS, strata=learner_scores["protocol"].tolist()
            )
            series.append(Series(learner, look, 100.0 * THRESHOLDS, runs.share, runs.low, runs.high))
    if len(series) < 2:
        return None
    columns = [
        (f"below {100 * share:.0f} %", lambda curve, share=share: np.interp(share, THRESHOLDS, curve.y))
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    alternative = "Share of runs by how much of the miss they leave at most, one line per learner."
    axes: Any = {"x_label": "of the miss left at most, %", "y_label": "share of runs", "guides": ()}
    note = "Share of runs, by what they leave at most."
    return _lines("Performance profile", series, alternative, columns, note, y_range=(-0.02, 1.04), **axes)


def speed_against_energy(summary: pd.DataFrame, costs: Mapping[str, Mapping[str, float]], looks: Looks) -> Chart | None:
    """Draw L30 under the first protocol against the energy of a trial; None for fewer than two learners.

    Args:
        summary: as for `values_by_learner`.
        costs: result of `metrics.cost_per_trial`: values by learner and metric.
        looks: looks of the learners.
    """
    rows = summary[(summary["metric"] == L30) & summary["value"].notna()]
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
    alternative = "Share of the miss that is left, by energy per trial, one mark per learner."
    columns = [("energy, \N{MICRO SIGN}J", lambda curve: curve.x[0]), ("left, %", lambda curve: curve.y[0])]
    axes: Any = {"x_label": "energy a trial, \N{MICRO SIGN}J (arithmetic alone)", "y_label": OF_THE_MISS_LEFT}
    return _lines("Speed against energy", series, alternative, columns, "Lower left is better.", log_x=True, **axes)


def step_sizes(tuning: Mapping[str, Mapping[str, Any]], looks: Looks) -> list[Chart]:
    """Draw the remaining share of the miss by step size, one chart per tuned setting.

    Args:
        tuning: by learner, {"settings": {setting: value}, "history": [{setting: value, "left_of_the_miss": value,
            "pruned": bool}, ...]}. Pruned tries, which were stopped early, are left out.
        looks: looks of the learners.
    """
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for learner, tuned in tuning.items():
        for tried, setting in product(tuned.get("history", ()), tuned["settings"]):
            if not tried["pruned"] and "left_of_the_miss" in tried:
                point = float(tried[setting]), 100.0 * float(tried["left_of_the_miss"])
                curves.setdefault(setting, {}).setdefault(learner, []).append(point)
    charts = []
    for setting, by_learner in curves.items():
        series, rows = [], []
        for learner, points in by_learner.items():
            x, y = (np.array(column) for column in zip(*sorted(points), strict=True))
            series.append(Series(learner, looks.get(learner, Look("#555555")), x, y))
            best = int(np.argmin(y))
            at, left, low, high = (short_number(float(number)) for number in (x[best], y[best], x[0], x[-1]))
            rows.append((learner, at, left, f"{low}\N{EN DASH}{high}"))
        title = setting.replace("_", " ")
        alternative = f"Share of the miss that is left, by {title}: {', '.join(by_learner)}."
        axes: Any = {"x_label": f"{title} (logarithmic)", "y_label": OF_THE_MISS_LEFT, "guides": (0.0, 100.0)}
        svg = line_chart(series, alternative=alternative, log_x=True, **axes)
        header = ("learner", f"best {title}", "left, %", "tried")
        charts.append(Chart(f"By {title}", svg, header, tuple(rows), "Best of what was tried."))
    return charts
