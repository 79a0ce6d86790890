"""Write the report of a study: a self-contained HTML page that opens from disk without network requests.

The page states the findings in words, and shows the trials, the summary and the other data of a study (traces, costs,
films, the history of tuning, curves of people). A section without data is left out. A difference whose interval
contains zero is called "no difference shown".
"""

from __future__ import annotations

import base64
import math
import os
import platform
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from reach.files import write_file
from reach.render.palette import learner_colour
from reach.study.engine.jobs import Job, library_versions
from reach.study.engine.store import FILM_PHASES, Store
from reach.study.measures import per_seed, with_misses
from reach.study.people import human_data
from reach.study.people.human_data import read_curves
from reach.study.report import figures, metrics
from reach.study.report.beside_people import beside_people
from reach.study.report.charts import Looks, legend_sample, looks
from reach.study.report.figures import Chart
from reach.study.report.metrics import (
    L30,
    LATE_ERROR,
    MEASURES,
    MINUS,
    REFERENCE,
    T_C,
    capital,
    headline_metrics,
    measures_in,
    plural,
    protocol_name,
    protocol_title,
)
from reach.study.statistics import (
    ENOUGH_SEEDS,
    FEWEST_SEEDS,
    paired_difference,
    paired_differences,
    probability_of_improvement,
)

SPACE = "\N{NO-BREAK SPACE}"
# A protocol needs learning in hidden layers if, with every seed, a learner without it leaves at least CONTROL_FACTOR
# times the error of the best learner. Otherwise the read-out is enough if it leaves less than CORRECTED of the miss.
CONTROL_FACTOR = 2.0
CORRECTED = 0.5


@dataclass(frozen=True)
class Finding:
    """The fastest learner under one protocol.

    Attributes:
        protocol, metric: protocol and metric of the comparison.
        best: fastest learner.
        share: value of the fastest learner as text.
        second: second fastest learner with its value; "" if there is none.
        sure: whether the interval of the lead excludes zero, or there is no second learner.
        lead: the lead in words.
        without_learning: value without learning as text; "" if unknown.
        corrects: whether less is left than without learning, as far as that is known.
    """

    protocol: str
    metric: str
    best: str
    share: str
    second: str
    sure: bool
    lead: str
    without_learning: str
    corrects: bool = True

    @property
    def superlative(self) -> str:
        """Return the superlative for the best learner."""
        return "best" if self.metric == LATE_ERROR else "fastest"


def findings(summary: pd.DataFrame, measured: pd.DataFrame) -> list[Finding]:
    """Return one finding per protocol with a learner that learns.

    Args:
        summary: table with columns learner, protocol, metric, value, low, high.
        measured: table with columns learner, protocol, seed, metric, value.
    """
    results = []
    for protocol, metric in headline_metrics(summary).items():
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
        without_learning = _share(metric, reference[0]) if reference and math.isfinite(reference[0]["value"]) else ""
        corrects = not without_learning or _is_less(measured, protocol, metric, ranked[0], reference[0])
        results.append(
            Finding(protocol, metric, best, _share(metric, ranked[0]), second, sure, lead, without_learning, corrects)
        )
    return results


def sentence(finding: Finding) -> str:
    """Return the finding of one protocol in words."""
    text = f"Under the {protocol_name(finding.protocol)}, "
    reaches = "last tenth of the" if finding.metric == LATE_ERROR else "first 30"
    if finding.metric != T_C and not (finding.second and finding.corrects):
        text += "" if finding.corrects else "no learner is shown to correct the miss: "
        text += f"over the {reaches} perturbed reaches, {finding.best} left {finding.share} of the miss on average"
        return text + (f" (without learning {finding.without_learning})." if finding.without_learning else ".")
    corrected = f"{finding.best} corrected {finding.superlative}"
    text += corrected if finding.sure else f"no learner is shown to be the {finding.superlative}"
    if finding.metric == T_C:
        whose = "its mean correction time" if finding.sure else f"the shortest mean correction time, of {finding.best},"
        text += f": {whose} was {finding.share}"
    else:
        text += f": over the {reaches} perturbed reaches, "
        text += ("" if finding.sure else f"{finding.best} had ") + f"{finding.share} of the miss "
        text += "was left on average" if finding.sure else "left on average"
    others = [finding.second, f"without learning {finding.without_learning}" if finding.without_learning else ""]
    others = [other for other in others if other]
    text += f" ({'; '.join(others)})." if others else "."
    return f"{text} {finding.lead}".strip()


def in_short(results: Sequence[Finding]) -> str:
    """Return one paragraph: the finding of the first protocol, and the fastest learner under the others."""
    if not results:
        return ""
    text = sentence(results[0])
    by_best: dict[tuple[str, str], list[str]] = {}
    for finding in results[1:]:
        if not (finding.second and finding.corrects):
            text += f" {sentence(finding)}"
            continue
        key = (finding.best if finding.sure else "", finding.superlative)
        by_best.setdefault(key, []).append(f"the {protocol_name(finding.protocol)}")
    for (best, superlative), protocols in sorted(by_best.items(), key=lambda item: not item[0][0]):
        also = "also " if results[0].sure and best == results[0].best else ""
        if best:
            text += f" {best} was {also}the {superlative} under {_joined(protocols)}."
        else:
            text += f" Under {_joined(protocols)}, no learner is shown to be the {superlative}."
    return text


def controls_in_words(measured: pd.DataFrame, results: Sequence[Finding], controls: Mapping[str, Sequence[str]]) -> str:
    """Return in words in which protocols learning in hidden layers is needed, and in which the read-out is enough.

    Args:
        measured: as for `findings`.
        results: result of `findings`.
        controls: by learner whose hidden layers do not learn, the learners with the same network and settings whose
            hidden layers learn.
    """
    sentences = []
    for finding, (control, others) in product(results, controls.items()):
        rows = measured[(measured["protocol"] == finding.protocol) & (measured["metric"] == finding.metric)]
        wide = rows.pivot(index="seed", columns="learner", values="value").reindex(columns=[control, *others])
        wide = wide.dropna(axis="columns", how="all").dropna()
        if finding.metric not in (L30, LATE_ERROR) or control not in wide or len(wide.columns) < 2 or wide.empty:
            continue
        left, best = wide[control], wide.drop(columns=control).mean().idxmin()
        under = (
            f"Under the {protocol_name(finding.protocol)}, {control}, whose hidden layers do not learn, left "
            f"{100.0 * left.mean():.0f}{SPACE}%, and {best} {100.0 * wide[best].mean():.0f}{SPACE}%"
        )
        if (left >= CONTROL_FACTOR * wide[best]).all():
            sentences.append(f"{under}: there hidden layers must learn.")
        elif left.mean() < CORRECTED:
            sentences.append(f"{under}: there learning in the read-out is enough.")
    return " ".join(sentences)


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _share(metric: str, row: Mapping[Any, Any]) -> str:
    scale, digits, unit = (1.0, 2, "s") if metric == T_C else (100.0, 0, "%")
    text = f"{scale * float(row['value']):.{digits}f}{SPACE}{unit}"
    low, high = scale * float(row["low"]), scale * float(row["high"])
    if math.isfinite(low) and math.isfinite(high):
        text += f" [{low:.{digits}f},{SPACE}{high:.{digits}f}]"
    return text


def _is_less(
    measured: pd.DataFrame, protocol: str, metric: str, row: Mapping[Any, Any], reference: Mapping[Any, Any]
) -> bool:
    """Return whether a learner's value is less than that without learning: by the paired interval, if there is one."""
    rows = measured[(measured["protocol"] == protocol) & (measured["metric"] == metric)]
    seeds = rows.groupby("learner")["seed"].nunique().reindex([row["learner"], REFERENCE])
    if not seeds.min() >= FEWEST_SEEDS:
        return bool(row["value"] < reference["value"])
    return _lead(measured, protocol, metric, row["learner"], REFERENCE)[0] and row["value"] < reference["value"]


def _lead(measured: pd.DataFrame, protocol: str, metric: str, first: str, second: str) -> tuple[bool, str]:
    """Return whether the interval of the first learner's lead, paired by seed, excludes zero, and the lead in words."""
    rows = measured[(measured["protocol"] == protocol) & (measured["metric"] == metric)]
    wide = rows.pivot(index="seed", columns="learner", values="value")
    pairs = wide.reindex(columns=[first, second]).dropna().to_numpy(dtype=np.float64)
    if len(pairs) < FEWEST_SEEDS:
        return False, f"{plural(len(pairs), 'seed')} cannot say whether {first} and {second} differ."
    scale, digits, unit = metrics.PAIR_UNITS[metric]
    difference = paired_difference(pairs[:, 1], pairs[:, 0])
    value, low, high = (scale * part for part in (difference.value, difference.low, difference.high))
    between = f"{value:.{digits}f} {unit} [{low:.{digits}f}, {high:.{digits}f}]".replace("-", MINUS)
    if not (math.isfinite(low) and math.isfinite(high)) or low <= 0.0 <= high:
        return False, f"No difference shown between {first} and {second} by {len(pairs)} seeds: {between}."
    chance = probability_of_improvement(pairs[:, 0], pairs[:, 1])
    odds = f"one of its seeds is better than one of {second} with probability {chance:.2f}"
    return True, f"Its lead over {second} is {between}; {odds}."


def warnings(trials: pd.DataFrame, failures: Mapping[str, str]) -> list[str]:
    """Return warnings about the reliability of the numbers."""
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


FILM_CAPTIONS = {
    "before": "before: no perturbation",
    "during": "during: the first perturbed reaches",
    "after": "after: the last perturbed reaches",
}
MAX_FILM_BYTES = 6_500_000  # for all films together, in base64


@dataclass(frozen=True)
class Clip:
    """A film in base64 (MP4), its caption, and its last frame in base64 (JPEG) for print; "" if there is none."""

    caption: str
    data: str
    still: str


@dataclass(frozen=True)
class Film:
    """The films of one learner."""

    learner: str
    protocol: str
    seed: int
    clips: tuple[Clip, ...]


def write_report(
    store: Store,
    jobs: Sequence[Job],
    trials: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    descriptions: Mapping[str, str] | None = None,
    command: str = "",
    failures: Mapping[str, str] | None = None,
    human: str | Path | None = None,
    tuning: Mapping[str, Mapping[str, Any]] | None = None,
    traces: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    measured: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
    controls: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Write report.html into the study's folder, atomically; return its first paragraph, the answer.

    Args:
        store: store of the study.
        jobs: jobs of the study, whose films are shown.
        trials: one row per trial.
        summary: table with columns learner, protocol, metric, value, low, high, seeds and possibly failed (share of
            seeds that failed).
        descriptions: short descriptions of learners, by name.
        command: command that made the study.
        failures: errors, by title of the job.
        human: folder with CSV files of people (see `reach.study.people.human_data`); None to show only cited numbers.
        tuning: settings, history and command of the tuning, by learner.
        traces: table with columns learner, protocol, seed, block, time_s, remaining; None to read it from the store.
        costs: table with columns learner, protocol, seed, metric, value, for whole runs; None to read it from the
            store.
        measured: result of `reach.study.measures.per_seed` for the trials; None to compute it.
        pairs: result of `reach.study.statistics.paired_differences` for the headline metrics; None to compute it.
        controls: as for `controls_in_words`.

    Raises:
        FileNotFoundError, ValueError: `human` is not a folder of such files.
        DamagedError: a film was changed after it was written.
    """
    failures, tuning = failures or {}, tuning or {}
    traces = store.read("traces", jobs) if traces is None else traces
    costs = store.read("costs", jobs) if costs is None else costs
    measured = per_seed(trials) if measured is None else measured
    costs_per_trial = metrics.cost_per_trial(trials, costs)
    protocols = [str(protocol) for protocol in trials["protocol"].unique()]
    look = looks([str(learner) for learner in trials["learner"].unique()], learner_colour)
    tuned_looks = looks(list(tuning), learner_colour)
    corrected = towards_the_miss(trials)
    reaches = corrected[~corrected["probe"]]
    results = findings(summary, measured)
    answer = f"{in_short(results)} {controls_in_words(measured, results, controls or {})}".strip()
    film_list, films_left_out = films(store, jobs)
    headlines = list(headline_metrics(summary).items())
    pairs = paired_differences(measured, dict(headlines)) if pairs is None else pairs
    headline = _value_charts(summary, measured, look, headlines)
    memory = measures_in(summary, "memory")
    facts = [(protocol, fact) for protocol in protocols for fact in human_data.facts(protocol) if fact.metric]
    curves = [figures.learning_curve(reaches, protocol, look) for protocol in protocols]
    sweeps = [figures.sweep(summary, protocol, look, of) for of in figures.SWEEPS for protocol in protocols]
    environment = Environment(
        loader=PackageLoader("reach.study.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["sample"] = legend_sample
    text = environment.get_template("page.html.jinja").render(
        answer=answer,
        findings=[sentence(finding) for finding in results],
        warnings=warnings(trials, failures),
        seeds=plural(int(trials[trials["protocol"] == protocols[0]]["seed"].nunique()), "seed"),
        descriptions=descriptions or {},
        looks=look,
        headline=headline[0] if headline else None,
        by_protocol=headline[1:],
        glance=metrics.across_protocols(summary, headlines, "All protocols") if len(headline) > 1 else None,
        headline_metrics={metric for _, metric in headlines},
        curves=[chart for chart in curves if chart],
        tables=metrics.measure_tables(summary, "reaches")
        + metrics.measure_tables(summary, "channel", "channel trials"),
        terms=measures_in(summary, "reaches") + measures_in(summary, "channel"),
        profile=figures.profile(measured, look),
        pairs=metrics.paired_tables(pairs),
        traces=figures.correction_traces(traces, protocols, look),
        within=_value_charts(summary, measured, look, [(protocol, fact.metric) for protocol, fact in facts]),
        within_tables=metrics.measure_tables(summary, "within"),
        within_terms=measures_in(summary, "within"),
        within_facts=[f"People: {fact.text} ({fact.citation})." for _, fact in facts],
        memory=_value_charts(summary, measured, look, [(p, m.metric) for m in memory for p in protocols if m.better]),
        memory_table=metrics.across_protocols(summary, [(p, m.metric) for m in memory for p in protocols], "Memory"),
        memory_terms=memory,
        sweeps=[chart for chart in sweeps if chart],
        cost=metrics.cost_table(costs_per_trial, list(look)),
        operations=not costs.empty,
        energy=figures.speed_against_energy(summary, costs_per_trial, look),
        steps=figures.step_sizes(tuning, tuned_looks),
        step_looks=tuned_looks,
        step_commands=sorted({str(tuned["command"]) for tuned in tuning.values() if tuned.get("command")}),
        layer_tables=metrics.layer_tables(costs),
        alignment=figures.alignment(trials[~trials["probe"]], look),
        films=film_list,
        films_left_out=films_left_out,
        film_title=capital(protocol_title(film_list[0].protocol)) if film_list else "",
        people=beside_people(trials, measured, look, read_curves(human) if human is not None else ()),
        command=command,
        made=made_with(trials),
        settings={name: _settings(tuned["settings"]) for name, tuned in tuning.items() if tuned.get("settings")},
        failures=failures,
    )
    write_file(store.report_path, text.encode())
    return answer


def towards_the_miss(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with launch errors minus their baseline, positive towards the miss at the same cup."""
    corrected = with_misses(trials)
    corrected["launch_error_deg"] *= np.where(corrected["miss_deg"] < 0.0, -1.0, 1.0)
    return corrected.drop(columns="miss_deg")


def _value_charts(
    summary: pd.DataFrame, measured: pd.DataFrame, look: Looks, pairs: Sequence[tuple[str, str]]
) -> list[Chart]:
    """Return the charts of the (protocol, metric) pairs with values; a metric of "" has no chart."""
    measures = {measure.metric: measure for measure in MEASURES}
    charts = [figures.values_by_learner(summary, measured, look, p, measures[metric]) for p, metric in pairs if metric]
    return [chart for chart in charts if chart]


def _settings(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in settings.items())


def made_with(trials: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the contents of the study and the machine it ran on; the same for the same command."""
    versions = ", ".join(f"{name} {version}" for name, version in library_versions(("scipy", "cup-reach")).items())
    return [
        ("learners", ", ".join(map(str, trials["learner"].unique()))),
        ("protocols", ", ".join(map(str, trials["protocol"].unique()))),
        ("seeds", ", ".join(map(str, sorted(trials["seed"].unique())))),
        ("trials", f"{len(trials):,}"),
        ("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
        ("versions", versions),
    ]


def films(store: Store, jobs: Sequence[Job]) -> tuple[list[Film], list[str]]:
    """Return the films of each learner, and the learners whose films do not fit into the page.

    Raises:
        DamagedError: a film was changed after it was written.
    """
    embedded: list[Film] = []
    left_out: list[str] = []
    room = MAX_FILM_BYTES
    for job in jobs:
        if not job.film:
            continue
        digests = store.marked_files(job) or {}
        paths = store.film_paths(job)
        phases = [phase for phase in FILM_PHASES if phase in digests]
        clips = tuple(_clip(FILM_CAPTIONS[p], paths[p], store.read_file(job, p, digests)) for p in phases)
        size = sum(len(clip.data) + len(clip.still) for clip in clips)
        if size > room:
            left_out.append(job.learner)
        elif clips:
            room -= size
            embedded.append(Film(job.learner, job.protocol, job.seed, clips))
    return embedded, left_out


def _clip(caption: str, path: Path, data: bytes) -> Clip:
    import imageio.v3

    try:
        (last_frame,) = deque(imageio.v3.imiter(path), maxlen=1)
        still = imageio.v3.imwrite("<bytes>", last_frame, extension=".jpg", quality=80)
    except (OSError, RuntimeError, ValueError):  # the film cannot be read
        still = b""
    return Clip(caption, base64.b64encode(data).decode(), base64.b64encode(still).decode())
