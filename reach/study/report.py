"""The report of a study: one self-contained HTML page, opened from disk, with no request to any network.

Everything on the page comes from the trials, the summary and what a study may hold beside them (traces, costs, films,
the history of tuning, curves of people). A section without data is left out.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reach.files import write_file
from reach.render.palette import learner_colour
from reach.study import figures, people
from reach.study.engine.jobs import Job, library_versions
from reach.study.engine.store import Store
from reach.study.figures import Chart, Looks, capital
from reach.study.human_files import read_curves
from reach.study.marks import looks, sample
from reach.study.report_across import (
    Cell,
    Line,
    Table,
    alignment_table,
    cost_per_trial,
    cost_table,
    improvement_table,
    profile,
    speed_against_energy,
    step_sizes,
)
from reach.study.report_answer import answer, findings, headline_metric, in_short, warnings
from reach.study.report_films import films
from reach.study.report_people import beside_people
from reach.study.tables import (
    MEASURES,
    NO_NUMBER,
    Measure,
    counted,
    lookup,
    named_protocol,
    number,
    short_protocol,
    shown_measures,
    written,
)

__all__ = ["answer", "page", "towards_the_miss", "warnings", "write_report"]


def towards_the_miss(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with launch errors less their baseline, positive to the side of the miss at the same cup."""
    corrected = with_misses(trials)
    corrected["launch_error_deg"] *= np.where(corrected["miss_deg"] < 0.0, -1.0, 1.0)
    return corrected.drop(columns="miss_deg")


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


def _value_charts(
    summary: pd.DataFrame, measured: pd.DataFrame, look: Looks, wanted: Sequence[tuple[str, str]]
) -> list[Chart]:
    """wanted: (protocol, metric) pairs."""
    known = {measure.metric: measure for measure in MEASURES}
    found = [figures.values_by_learner(summary, measured, look, p, known[metric]) for p, metric in wanted if metric]
    return [chart for chart in found if chart is not None]


def page(
    store: Store,
    jobs: Sequence[Job],
    trials: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    notes: Mapping[str, str],
    command: str,
    failures: Mapping[str, str],
    human: str | Path | None = None,
    tuning: Mapping[str, Mapping[str, Any]] | None = None,
    traces: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    measured: pd.DataFrame | None = None,
) -> str:
    """The whole page; the arguments are those of `write_report`."""
    learners = [str(learner) for learner in trials["learner"].unique()]
    protocols = [str(protocol) for protocol in trials["protocol"].unique()]
    look = looks(learners, learner_colour)
    measured = per_seed(trials) if measured is None else measured
    corrected = towards_the_miss(trials)
    reaches = corrected[~corrected["probe"]]
    found = findings(summary, measured)
    tuned = looks(list(tuning or {}), learner_colour)
    curves = [figures.learning_curve(reaches, protocol, look) for protocol in protocols]
    shown, left_out = films(store, jobs)
    judged = [(protocol, headline_metric(summary, protocol)) for protocol in protocols]
    headline = _value_charts(summary, measured, look, judged)
    remembered = shown_measures(summary, "memory")
    memory = [(protocol, measure.metric) for measure in remembered for protocol in protocols if measure.better]
    fitted = [(protocol, measure.metric) for measure in remembered for protocol in protocols]
    timed = [(protocol, fact.metric) for protocol in protocols for fact in human_data.facts(protocol) if fact.metric]
    environment = Environment(
        loader=PackageLoader("reach.study", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["sample"] = lambda look, drawn="line": Markup(sample(look, drawn))
    return environment.get_template("report.html.jinja").render(
        answer=in_short(found),
        findings=answer(summary, measured),
        warnings=warnings(trials, failures),
        seeds=counted(int(trials["seed"].nunique()), "seed"),
        notes=notes,
        looks=look,
        headline=headline[0] if headline else None,
        by_protocol=headline[1:],
        glance=across_protocols(summary, judged, "All protocols") if len(headline) > 1 else None,
        headline_metrics={metric for _, metric in judged},
        curves=[chart for chart in curves if chart is not None],
        tables=measure_tables(summary, "reaches") + measure_tables(summary, "channel", "channel trials"),
        terms=shown_measures(summary, "reaches") + shown_measures(summary, "channel"),
        profile=profile(measured, look),
        improvement=improvement_table(measured, look),
        traces=_trace_charts(traces, protocols, look),
        within=_value_charts(summary, measured, look, timed),
        within_tables=measure_tables(summary, "within"),
        within_terms=shown_measures(summary, "within"),
        within_facts=figures.cited([fact for p in protocols for fact in human_data.facts(p) if fact.metric]),
        memory=_value_charts(summary, measured, look, memory),
        memory_table=across_protocols(summary, fitted, "Memory"),
        memory_terms=remembered,
        sweeps=[c for s in figures.SWEEPS for p in protocols if (c := figures.sweep(summary, p, look, s)) is not None],
        cost=cost_table(trials, costs),
        operations=costs is not None and not costs.empty,
        energy=speed_against_energy(summary, cost_per_trial(trials, costs), look),
        steps=step_sizes(tuning or {}, tuned),
        step_looks=tuned,
        step_commands=sorted({str(one["command"]) for one in (tuning or {}).values() if one.get("command")}),
        alignment_table=alignment_table(costs),
        alignment=figures.alignment(trials[~trials["probe"]], look),
        films=shown,
        films_left_out=left_out,
        film_title=capital(named_protocol(shown[0].protocol)) if shown else "",
        people=beside_people(trials, look, read_curves(human) if human is not None else ()),
        command=command,
        made=made_with(trials),
        settings={name: _settings(one) for name, one in (tuning or {}).items() if one.get("settings")},
        failures=failures,
    )


def _trace_charts(traces: pd.DataFrame | None, protocols: Sequence[str], look: Looks) -> list[Chart]:
    if traces is None or traces.empty:
        return []
    blocks = traces[["protocol", "block"]].drop_duplicates().itertuples(index=False)
    pairs = [(str(protocol), str(block)) for protocol, block in blocks if protocol in protocols]
    found = [figures.correction_trace(traces, protocol, block, look) for protocol, block in pairs]
    return [chart for chart in found if chart is not None]


def _settings(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in one["settings"].items())


def made_with(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """How the study was made: what, on what. Nothing here differs when the same command is given again."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions(("scipy", "cup-reach")).items())
    return [
        ("learners", ", ".join(map(str, trials["learner"].unique()))),
        ("protocols", ", ".join(map(str, trials["protocol"].unique()))),
        ("seeds", ", ".join(map(str, sorted(trials["seed"].unique())))),
        ("trials", f"{len(trials):,}"),
        ("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        ("versions", versions),
    ]


def write_report(
    store: Store,
    jobs: Sequence[Job],
    trials: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    notes: Mapping[str, str] | None = None,
    command: str = "",
    failures: Mapping[str, str] | None = None,
    human: str | Path | None = None,
    tuning: Mapping[str, Mapping[str, Any]] | None = None,
    traces: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    measured: pd.DataFrame | None = None,
) -> None:
    """Write report.html into the study's folder, whole.

    Args:
        store: of the study.
        jobs: of the study; those with films are shown.
        trials: a row a trial.
        summary: learner, protocol, metric, value, low, high, seeds and maybe failed (share of seeds that never did).
        notes: learner -> what it is, in a few words.
        command: how the study was made.
        failures: job's title -> its error.
        human: folder with CSV files of people (see `reach.study.people.human_data`); None: cited numbers alone.
        tuning: learner -> settings, history and command of its tuning.
        traces: learner, protocol, seed, block, time_s, remaining; None: those in the store.
        costs: learner, protocol, seed, metric, value, of whole runs; None: those in the store.
        measured: what `reach.study.run.measures.per_seed` says of the trials; None: it is asked.

    Raises:
        FileNotFoundError, ValueError: human is no folder of such files.
    """
    text = page(
        store,
        jobs,
        trials,
        summary,
        notes=notes or {},
        command=command,
        failures=failures or {},
        human=human,
        tuning=tuning,
        traces=store.read("traces", jobs) if traces is None else traces,
        costs=store.read("costs", jobs) if costs is None else costs,
        measured=measured,
    )
    write_file(store.report_path, text.encode())
