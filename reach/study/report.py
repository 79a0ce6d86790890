"""The report of a study: one self-contained HTML page, opened from disk, with no request to any network.

Everything on the page comes from the trials and from the summary; the sentences at the top are made from the
numbers below them, with their intervals. A difference whose interval covers zero is called none.
"""

from __future__ import annotations

import base64
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from reach.render.palette import learner_colour
from reach.study import figures, people
from reach.study.jobs import Job, library_versions
from reach.study.measures import baseline_corrected, per_seed
from reach.study.statistics import mean_band, paired_difference
from reach.study.store import Store, write_whole
from reach.study.tables import Measure, counted, interval, lookup, named_protocol, number, shown_measures

Floats = NDArray[np.float64]

REFERENCE = "none"  # the learner that does not learn: the measure of the others
FEW_SEEDS, ENOUGH_SEEDS = 5, 10
FILM_CAPTIONS = {
    "before": "before: nothing is perturbed",
    "during": "during: the first perturbed reaches",
    "after": "after: the last perturbed reaches",
}
ROTATION = "rotation30"  # the protocol whose curve can be laid beside people's
HUMAN_CURVES = ("people, whole reach", "people, implicit part")


def answer(summary: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """The study's findings, a sentence or two a protocol, in the order of the protocols.

    measured: learner, protocol, seed, metric, value.
    """
    sentences = []
    for protocol in summary["protocol"].unique():
        rows = summary[(summary["protocol"] == protocol) & (summary["metric"] == "L30")]
        learning = rows[(rows["learner"] != REFERENCE) & np.isfinite(rows["value"].astype(float))]
        if learning.empty:
            continue
        ranked = learning.sort_values("value", kind="stable").to_dict("records")
        best = ranked[0]
        others = [f"{row['learner']} {_share(row)}" for row in ranked[1:]]
        others += [f"without learning {_share(row)}" for row in rows[rows["learner"] == REFERENCE].to_dict("records")]
        sure, lead = True, ""
        if len(ranked) > 1:
            sure, lead = _lead(measured, protocol, best["learner"], ranked[1]["learner"])
        text = f"Under the {named_protocol(protocol)}, "
        text += f"{best['learner']} corrected fastest" if sure else "no learner is shown to be the fastest"
        text += ": over the first 30 perturbed reaches, "
        text += ("" if sure else f"{best['learner']} had ") + f"{_share(best)} of the miss "
        text += "was left on average" if sure else "left on average"
        text += f" ({', '.join(others)})." if others else "."
        sentences.append(f"{text} {lead}".strip())
    return sentences


def _share(row: Mapping[str, Any]) -> str:
    text = f"{100 * float(row['value']):.0f}\N{NO-BREAK SPACE}%"
    low, high = float(row["low"]), float(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        text += f" [{100 * low:.0f},\N{NO-BREAK SPACE}{100 * high:.0f}]"
    return text


def _lead(measured: pd.DataFrame, protocol: str, first: str, second: str) -> tuple[bool, str]:
    """Whether the lead of one learner over another is sure, by their paired difference over seeds; and in words."""
    kept = measured[(measured["protocol"] == protocol) & (measured["metric"] == "L30")]
    wide = kept.pivot(index="seed", columns="learner", values="value")[[first, second]].dropna()
    pairs = wide.to_numpy(dtype=np.float64)
    if len(pairs) < FEW_SEEDS:
        return False, f"{counted(len(pairs), 'seed')} cannot say whether {first} and {second} differ."
    value, low, high = (100 * part for part in paired_difference(pairs[:, 1], pairs[:, 0]))
    between = f"{value:.1f} points [{low:.1f}, {high:.1f}]"
    if low <= 0.0 <= high:
        return False, f"Between {first} and {second} there is no difference that {len(pairs)} seeds show: {between}."
    return True, f"Its lead over {second} is {between}."


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
        said.append(f"The learner {REFERENCE!r} is not in this study, so there is no error to measure the others by.")
    if failures:
        said.append(f"{counted(len(failures), 'job')} failed; what went wrong stands at the end of the page.")
    return said


def towards_the_miss(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with launch errors less their baseline, positive to the side to which the perturbation pushes."""
    corrected = baseline_corrected(trials)
    first = corrected[(corrected["block"] == "perturbed") & (corrected["trial_in_block"] == 1) & ~corrected["probe"]]
    side = first.groupby("protocol")["launch_error_deg"].mean()
    turned = corrected["protocol"].map(lambda protocol: -1.0 if side.get(protocol, 0.0) < 0.0 else 1.0)
    corrected["launch_error_deg"] *= turned
    return corrected


def curve_figures(trials: pd.DataFrame, learners: Sequence[str]) -> list[dict[str, Any]]:
    """One figure of launch error by reach for each protocol."""
    made = []
    corrected = towards_the_miss(trials)
    for protocol in trials["protocol"].unique():
        mine = corrected[(corrected["protocol"] == protocol) & ~corrected["probe"]]
        curves = {}
        for learner in learners:
            table = mine[mine["learner"] == learner].pivot(index="seed", columns="trial", values="launch_error_deg")
            if len(table):
                curves[learner] = (table.columns.to_numpy(np.float64), table.to_numpy(np.float64))
        spans = mine.groupby("block", sort=False)["trial"].agg(["min", "max"])
        blocks = [
            (str(block), float(span["min"]), float(span["max"]), block == "perturbed")
            for block, span in spans.iterrows()
        ]
        svg = figures.learning_curves(
            curves, blocks, name=f"curve-{protocol}", colours=_colours(learners), band=mean_band
        )
        made.append({"title": _capital(named_protocol(protocol)), "svg": Markup(svg)})
    return made


def people_figure(trials: pd.DataFrame, learners: Sequence[str]) -> dict[str, Any] | None:
    """Learners under the rotation beside people under a larger one; None where it was not run."""
    corrected = towards_the_miss(trials)
    mine = corrected[(corrected["protocol"] == ROTATION) & (corrected["block"] == "perturbed") & ~corrected["probe"]]
    reference = mine[mine["learner"] == REFERENCE]
    if reference.empty:
        return None
    miss = reference.groupby("seed")["launch_error_deg"].apply(lambda errors: float(np.nanmean(np.abs(errors))))
    indices: dict[str, Floats] = {}
    for learner in learners:
        table = mine[mine["learner"] == learner].pivot(
            index="seed", columns="trial_in_block", values="launch_error_deg"
        )
        if len(table) and learner != REFERENCE:
            indices[learner] = (
                1.0 - table.to_numpy(np.float64) / miss.reindex(table.index).to_numpy(np.float64)[:, None]
            )
    shown = [people.curve(name) for name in HUMAN_CURVES]
    svg = figures.beside_people(
        indices, shown, learners_title="30° rotation", colours=_colours(learners), band=mean_band
    )
    return {
        "svg": Markup(svg),
        "note": (
            "People faced 45°, these learners 30°: read the shape, not the difference. About half of what "
            "people do is a strategy (aiming elsewhere on purpose); the implicit part is the rest, measured "
            "in reaches without a cursor."
        ),
        "citations": list(dict.fromkeys(one.citation for one in shown)),
        "fits": [_human_fit(one) for one in shown] + [f"{f.text} ({f.citation})" for f in people.facts("prism")],
    }


def _human_fit(one: people.HumanCurve) -> str:
    text = f"{_capital(one.name)}, {one.perturbation}: "
    if one.asymptote_interval and one.tau_interval:
        (a_low, a_high), (t_low, t_high) = one.asymptote_interval, one.tau_interval
        text += f"A {one.asymptote} [{a_low}, {a_high}], tau {one.tau_reaches} [{t_low}, {t_high}] reaches"
    return text + (f"; {one.note}." if one.note else ".")


def measure_tables(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """One table a protocol, as the page shows it."""
    rows = lookup(summary)
    measures = shown_measures(summary)
    tables = []
    for protocol in summary["protocol"].unique():
        mine = summary[summary["protocol"] == protocol]
        best = {measure.metric: _best(measure, mine[mine["metric"] == measure.metric]) for measure in measures}
        lines = []
        for learner in mine["learner"].unique():
            cells = []
            for measure in measures:
                row = rows.get((protocol, learner, measure.metric), {"value": None, "low": None, "high": None})
                value = number(measure, row["value"])
                between = interval(measure, row["low"], row["high"])
                cells.append({"value": value, "interval": between, "best": value == best[measure.metric]})
            lines.append({"learner": learner, "cells": cells})
        seeds = int(mine["seeds"].max())
        tables.append({
            "title": f"{_capital(named_protocol(protocol))}, {counted(seeds, 'seed')}",
            "heads": [{"label": measure.label, "unit": measure.unit} for measure in measures],
            "lines": lines,
        })  # fmt: skip
    return tables


def _best(measure: Measure, rows: pd.DataFrame) -> str:
    """The best number of a measure as it is shown; "" where none is better than another."""
    values = rows["value"].astype(float)
    values = values[np.isfinite(values)]
    if not measure.better or len(values) < 2:
        return ""
    best, worst = sorted([values.min(), values.max()], reverse=measure.better == "high")
    return "" if number(measure, best) == number(measure, worst) else number(measure, best)


def films(store: Store, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The films that were made, a learner a row, as text to be put into the page."""
    shown = []
    for job in jobs:
        clips = [
            {"caption": FILM_CAPTIONS[phase], "data": base64.b64encode(path.read_bytes()).decode()}
            for phase, path in store.film_paths(job).items()
            if job.film and path.is_file()
        ]
        if clips:
            shown.append({"learner": job.learner, "protocol": job.protocol, "seed": job.seed, "clips": clips})
    return shown


def page(
    store: Store,
    jobs: Sequence[Job],
    trials: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    notes: Mapping[str, str],
    command: str,
    failures: Mapping[str, str],
) -> str:
    """The whole page. notes: learner -> what it is, in a few words. failures: job's title -> error."""
    learners = [str(learner) for learner in trials["learner"].unique()]
    protocols = [str(protocol) for protocol in trials["protocol"].unique()]
    measured = per_seed(trials)
    shown = films(store, jobs)
    template = Environment(
        loader=PackageLoader("reach.study", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
    ).get_template("report.html.jinja")
    headline = figures.headline(
        summary[summary["metric"] == "L30"],
        measured[measured["metric"] == "L30"],
        learners=learners,
        titles={protocol: _capital(named_protocol(protocol)) for protocol in protocols},
        colours=_colours(learners),
    )
    return template.render(
        answer=answer(summary, measured),
        warnings=warnings(trials, failures),
        headline=Markup(headline),
        seeds=counted(int(trials["seed"].nunique()), "seed"),
        notes={learner: notes[learner] for learner in learners if learner in notes},
        colours=_colours(learners),
        curves=curve_figures(trials, learners),
        tables=measure_tables(summary),
        terms=[{"label": measure.label, "meaning": measure.meaning} for measure in shown_measures(summary)],
        films=shown,
        film_title=_capital(named_protocol(shown[0]["protocol"])) if shown else "",
        film_seed=shown[0]["seed"] if shown else 0,
        people=people_figure(trials, learners),
        command=command,
        made=made_with(trials),
        failures=[{"title": title, "error": error} for title, error in failures.items()],
    )


def made_with(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """How the study was made: what, when, on what."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return [
        ("made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
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
) -> None:
    """Write report.html into the study's folder, whole."""
    text = page(store, jobs, trials, summary, notes=notes or {}, command=command, failures=failures or {})
    write_whole(store.report_path, text.encode())


def _colours(learners: Sequence[str]) -> dict[str, str]:
    return {learner: learner_colour(learner) for learner in learners}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
