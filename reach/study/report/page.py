"""The report of a study: one self-contained HTML page, opened from disk, with no request to any network.

Everything on the page comes from the trials, the summary and what a study may hold beside them (traces, costs, films,
the history of tuning, curves of people). A section without data is left out.
"""

from __future__ import annotations

import base64
import os
import platform
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from reach.files import write_file
from reach.render.palette import learner_colour
from reach.study.engine.jobs import Job, library_versions
from reach.study.engine.store import FILM_PHASES, Store
from reach.study.people import human_data
from reach.study.people.human_data import read_curves
from reach.study.report import figures
from reach.study.report.beside_people import beside_people
from reach.study.report.charts import Looks, looks, sample
from reach.study.report.figures import Chart, profile, speed_against_energy, step_sizes
from reach.study.report.findings import answer, findings, headline_metric, in_short, warnings
from reach.study.report.metrics import (
    MEASURES,
    capital,
    counted,
    named_protocol,
    shown_measures,
)
from reach.study.report.tables import (
    across_protocols,
    alignment_table,
    cost_per_trial,
    cost_table,
    improvement_table,
    measure_tables,
)
from reach.study.run.measures import per_seed, with_misses

__all__ = ["answer", "page", "towards_the_miss", "warnings", "write_report"]


def towards_the_miss(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with launch errors less their baseline, positive to the side of the miss at the same cup."""
    corrected = with_misses(trials)
    corrected["launch_error_deg"] *= np.where(corrected["miss_deg"] < 0.0, -1.0, 1.0)
    return corrected.drop(columns="miss_deg")


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
        loader=PackageLoader("reach.study.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["sample"] = lambda look, drawn="line": Markup(sample(look, drawn))
    return environment.get_template("page.html.jinja").render(
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


CAPTIONS = {
    "before": "before: nothing is perturbed",
    "during": "during: the first perturbed reaches",
    "after": "after: the last perturbed reaches",
}


MOST_BYTES = 6_500_000  # of all films together, as they stand in the page


@dataclass(frozen=True)
class Clip:
    """One film: its caption, its bytes and those of its last frame (JPEG), in base64; still is "" of none."""

    caption: str
    data: str
    still: str


@dataclass(frozen=True)
class Film:
    """What was filmed of one learner."""

    learner: str
    protocol: str
    seed: int
    clips: tuple[Clip, ...]


def films(store: Store, jobs: Sequence[Job]) -> tuple[list[Film], list[str]]:
    """Return the films that were made, a learner each, and the learners whose films did not fit into the page.

    Raises:
        DamagedError: a film is not as it was written.
    """
    shown: list[Film] = []
    left_out: list[str] = []
    room = MOST_BYTES
    for job in jobs:
        if not job.film:
            continue
        digests = store.marked_files(job) or {}
        made = [phase for phase in FILM_PHASES if phase in digests]
        paths = store.film_paths(job)
        clips = tuple(_clip(CAPTIONS[phase], paths[phase], store.read_file(job, phase, digests)) for phase in made)
        size = sum(len(clip.data) + len(clip.still) for clip in clips)
        if size > room:
            left_out.append(job.learner)
        elif clips:
            room -= size
            shown.append(Film(job.learner, job.protocol, job.seed, clips))
    return shown, left_out


def _clip(caption: str, path: Path, data: bytes) -> Clip:
    still = last_frame(path)
    image = base64.b64encode(jpeg_bytes(still)).decode() if still is not None else ""
    return Clip(caption, base64.b64encode(data).decode(), image)


def last_frame(path: Path) -> NDArray[np.uint8] | None:
    """The last frame (height, width, 3) of a film; None where it cannot be read."""
    import imageio_ffmpeg

    try:
        reader = imageio_ffmpeg.read_frames(str(path))
        width, height = next(reader)["size"]
        held = deque(reader, maxlen=1)
    except (OSError, RuntimeError, StopIteration, KeyError):
        return None
    return np.frombuffer(held[0], dtype=np.uint8).reshape(height, width, 3) if held else None


def jpeg_bytes(frame: NDArray[np.uint8]) -> bytes:
    """A picture as the bytes of a JPEG file."""
    import imageio.v3

    data: bytes = imageio.v3.imwrite("<bytes>", frame, extension=".jpg", quality=80)
    return data
