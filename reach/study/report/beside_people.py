"""Show learners beside people, with the same measure, baseline and numbering of reaches for both."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd

from reach.measures.series import BASELINE_REACHES
from reach.protocols import PROTOCOLS
from reach.study.measures import adaptation_index
from reach.study.people import human_data
from reach.study.people.human_data import HumanFit, HumanSeries, Interval
from reach.study.report.charts import DASHES, Floats, Look, Looks, Series, line_chart
from reach.study.report.figures import Chart, by_seed
from reach.study.report.metrics import (
    NO_NUMBER,
    REFERENCE,
    Cell,
    Table,
    capital,
    estimate_cell,
    protocol_name,
    protocol_title,
    short_number,
)
from reach.study.statistics import Estimate, estimate, mean_band

CHANNEL = "channel_index"  # force in a channel trial; 1 would cancel the field
STANDARD_ERRORS = 1.96  # half width of a 95 % interval
INK, SOFT = "#222222", "#6b6b6b"
PEOPLE_LOOKS = (
    Look(INK, "circle"),
    Look(INK, "diamond", DASHES[2], hollow=True),
    Look(SOFT, "square", DASHES[1], hollow=True),
)
FILE_LOOKS = tuple(
    Look((INK, SOFT)[place % 2], marker, dash, hollow=True)
    for place, (marker, dash) in enumerate(
        zip(("circle", "diamond", "square", "wedge"), ((1, 0), (2, 3), (7, 3), (9, 3)), strict=True)
    )
)
Indices = dict[str, tuple[Floats, Floats]]  # learner -> trial numbers (n,) from 1, values (seeds, n)


@dataclass(frozen=True)
class Comparison:
    """One protocol beside people.

    Attributes:
        title: heading.
        charts: charts of learners and people.
        table: table that shows whether learners lie inside people's intervals.
        legend: entries of name, look and "line" or "marks".
        notes: explanations of the charts, and sources.
        facts: cited numbers as sentences.
    """

    title: str
    charts: tuple[Chart, ...] = ()
    table: Table | None = None
    legend: tuple[tuple[str, Look, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


def beside_people(
    trials: pd.DataFrame, measured: pd.DataFrame, looks: Looks, human: Sequence[HumanSeries] = ()
) -> list[Comparison]:
    """Compare learners with people, under each protocol for which there are cited numbers or curves of people.

    Args:
        trials: one row per trial.
        measured: table with columns learner, protocol, seed, metric, value.
        looks: looks of the learners.
        human: curves of people from a reader's files.
    """
    comparisons = []
    for protocol in map(str, trials["protocol"].unique()):
        cited = tuple(f"{capital(fact.text)} ({fact.citation})." for fact in human_data.facts(protocol))
        comparison = None
        if protocol.startswith("rotation"):
            comparison = _rotation(trials, measured, protocol, looks, human, cited)
        elif protocol.startswith("curl"):
            comparison = _force(trials, protocol, looks, human, cited)
        if comparison is None and cited:
            comparison = Comparison(capital(protocol_title(protocol)), facts=cited)
        if comparison is not None:
            comparisons.append(comparison)
    clamped = [curve for curve in human if curve.kind == "clamp"]
    if clamped:
        chart = _people_alone(clamped, "angle of the hand, degrees")
        notes = ("Cycles of 8 reaches. No learner here was tested under such a clamp.",)
        comparisons.append(Comparison("Error clamp", (chart,), legend=_file_legend(clamped), notes=notes))
    return comparisons


def adaptation(trials: pd.DataFrame, protocol: str, looks: Looks) -> Indices:
    """Return the adaptation index of each learner by perturbed reach."""
    index = adaptation_index(trials[trials["protocol"] == protocol])
    by_learner = {learner: index[index["learner"] == learner] for learner in looks if learner != REFERENCE}
    return {learner: by_seed(rows, "index", "trial_in_block") for learner, rows in by_learner.items() if len(rows)}


def rotation_degrees(protocol: str) -> float:
    """Return the visual rotation in a protocol's perturbed block, degrees; NaN if unknown.

    For a protocol that is not a preset, the rotation is read from its name.
    """
    if protocol not in PROTOCOLS:
        named = re.match(r"rotation(\d+)$", protocol)
        return float(named[1]) if named else math.nan
    blocks = [block for block in PROTOCOLS[protocol].blocks if block.name == "perturbed"]
    return next((abs(float(p.degrees)) for b in blocks for p in b.perturbation if hasattr(p, "degrees")), math.nan)


def _rotation(
    trials: pd.DataFrame,
    measured: pd.DataFrame,
    protocol: str,
    looks: Looks,
    human: Sequence[HumanSeries],
    cited: tuple[str, ...],
) -> Comparison | None:
    indices = adaptation(trials, protocol, looks)
    if not indices:
        return None
    degrees = rotation_degrees(protocol)
    fits = human_data.fits(degrees) or human_data.fits(human_data.WHOLE_REACH.degrees)
    files = [curve for curve in human if curve.kind == "rotation"]
    blocks = human_data.WHOLE_REACH.blocks
    block_means = {
        learner: np.stack([_block_mean(reach, index, *block) for block in blocks], axis=1)
        for learner, (reach, index) in indices.items()
    }
    curves = [
        Series(curve.name, look, np.arange(float(len(blocks))), np.array(curve.index), drawn="marks")
        for curve, look in zip(human_data.CURVES, PEOPLE_LOOKS, strict=False)
    ]
    block_names = [f"{first}\N{EN DASH}{last}" if last > first else f"{first}" for first, last in blocks]
    counted = "reaches after the perturbation began"
    charts = [_block_chart(block_means, curves, block_names, counted, "adaptation index", protocol, looks)]
    if files:
        label = "reach after the perturbation began"
        charts.append(_trial_chart(indices, files, protocol, looks, label, "adaptation index, 1 = all"))
    notes = [
        "Learners and people have the same baseline and numbering: the direction of the hand minus the mean of the "
        "last ten baseline reaches (of those to the same cup, if there are at least two); reach 1 is the first "
        "perturbed one; probes are left out. 1 is a correction of the whole miss of the same learner without learning. "
        "Learners are measured at launch, before vision can act, people at the peak speed of the hand. A and tau of "
        "learners are those of the table of measures.",
        "About half of a person's correction is a strategy: people aim elsewhere on purpose. The implicit part is the "
        "rest, measured in reaches without a cursor. A learner without a strategy is fairly compared with that part.",
    ]
    if degrees not in [curve.degrees for curve in human_data.CURVES]:
        sizes = ", ".join(sorted({curve.perturbation for curve in human_data.CURVES}))
        angle = f"{degrees:g}°" if math.isfinite(degrees) else "another"
        notes.append(
            f"People met a {sizes}, these learners {angle}: compare the shapes, not the values. The intervals in the "
            f"table are those of people under {fits[0].degrees:g}°."
        )
    notes += [f"People, {fit.part}, {fit.degrees:g}°: {_fit_text(fit)}" for fit in fits]
    notes += [f"Curves of people: {source}." for source in dict.fromkeys(curve.citation for curve in human_data.CURVES)]
    own_measures = measured[measured["protocol"] == protocol]
    return Comparison(
        capital(protocol_title(protocol)),
        tuple(charts),
        inside_table(own_measures, list(indices), fits),
        _legend(indices, looks, curves, files),
        tuple(notes),
        cited,
    )


def channel_indices(trials: pd.DataFrame, protocol: str, looks: Looks) -> Indices:
    """Return the channel index of each learner by perturbed channel trial, minus its mean in the last baseline ones."""
    if CHANNEL not in trials:
        return {}
    channel_trials = trials[(trials["protocol"] == protocol) & trials[CHANNEL].notna()]
    indices = {}
    for learner in looks:
        seeds = []
        for _, rows in channel_trials[channel_trials["learner"] == learner].groupby("seed", sort=True):
            before = rows[rows["block"] == "baseline"].sort_values("trial")[CHANNEL].to_numpy(np.float64)
            during = rows[rows["block"] == "perturbed"].sort_values("trial")[CHANNEL].to_numpy(np.float64)
            seeds.append(during - (float(np.mean(before[-BASELINE_REACHES:])) if len(before) else 0.0))
        fewest = min(map(len, seeds), default=0)
        if fewest:
            indices[learner] = (np.arange(1.0, fewest + 1.0), np.stack([values[:fewest] for values in seeds]))
    return indices


def _force(
    trials: pd.DataFrame, protocol: str, looks: Looks, human: Sequence[HumanSeries], cited: tuple[str, ...]
) -> Comparison | None:
    files = [curve for curve in human if curve.kind == "force"]
    indices = channel_indices(trials, protocol, looks)
    title = capital(protocol_title(protocol))
    if not indices:
        if not files:
            return None
        alone = _people_alone(files, "share of the ideal force")
        return Comparison(title, (alone,), legend=_file_legend(files), facts=cited)
    block_means = {
        learner: np.stack([np.nanmean(part, axis=1) for part in (index[:, :1], index[:, :5], index[:, -5:])], axis=1)
        for learner, (_, index) in indices.items()
    }
    curves = [
        Series(human_data.FORCE.name, PEOPLE_LOOKS[0], np.arange(3.0), np.array(human_data.FORCE.index), drawn="marks")
    ]
    block_names = ("first", "first five", "last five")
    charts = [_block_chart(block_means, curves, block_names, "channel trials", "force", protocol, looks)]
    if files:
        charts.append(_trial_chart(indices, files, protocol, looks, "channel trial", "force, 1 = ideal"))
    note = (
        "Learners and people have the same measure, baseline and numbering: the slope of the force on the wall against "
        "the force that would cancel the field, minus its mean in the last ten baseline channel trials; trial 1 is the "
        "first channel trial of the perturbed block. The fields differ in strength, and the number of reaches between "
        f"two channel trials differs too. Source: {human_data.FORCE.citation}."
    )
    return Comparison(title, tuple(charts), None, _legend(indices, looks, curves, files), (note,), cited)


def _legend(
    indices: Indices, looks: Looks, curves: Sequence[Series], files: Sequence[HumanSeries]
) -> tuple[tuple[str, Look, str], ...]:
    learners = [(learner, looks[learner], "line") for learner in indices]
    return (*learners, *((curve.name, curve.look, "marks") for curve in curves), *_file_legend(files))


def _file_legend(files: Sequence[HumanSeries]) -> tuple[tuple[str, Look, str], ...]:
    return tuple((curve.name, curve.look, "line") for curve in _file_series(files))


def _fit_text(fit: HumanFit) -> str:
    (a_low, a_high), (t_low, t_high) = fit.asymptote_interval, fit.tau_interval
    text = f"A {fit.asymptote:.2f} [{a_low:.2f}, {a_high:.2f}], "
    text += f"tau {fit.tau_reaches:.1f} [{t_low:.1f}, {t_high:.1f}] reaches"
    return text + (f"; {fit.note}" if fit.note else "") + f" ({fit.citation})."


def inside_table(measured: pd.DataFrame, learners: Sequence[str], fits: Sequence[HumanFit]) -> Table:
    """Return whether each learner's A and tau lie inside people's intervals.

    Args:
        measured: table with columns learner, seed, metric, value, for one protocol.
        learners: the learners, one row each.
        fits: fits to people, for the whole reach and the implicit part.
    """
    header = [("A", ""), ("tau", "reaches")]
    for fit in fits:
        (a_low, a_high), (t_low, t_high) = fit.asymptote_interval, fit.tau_interval
        header.append((f"A, {fit.part}", f"people {a_low:.2f}\N{EN DASH}{a_high:.2f}"))
        header.append((f"tau, {fit.part}", f"people {t_low:.1f}\N{EN DASH}{t_high:.1f}"))
    rows = []
    for learner in learners:
        learner_values = measured[measured["learner"] == learner]
        a, tau = (
            estimate(learner_values.loc[learner_values["metric"] == name, "value"].to_numpy(np.float64))
            for name in ("A", "tau")
        )
        cells = [estimate_cell(a.value, a.low, a.high, 2), estimate_cell(tau.value, tau.low, tau.high, 1)]
        for fit in fits:
            cells += [_place_cell(a, fit.asymptote_interval), _place_cell(tau, fit.tau_interval)]
        rows.append((learner, tuple(cells)))
    return Table("Inside people's 95 % intervals?", tuple(header), tuple(rows))


def _place_cell(own: Estimate, interval: Interval) -> Cell:
    """Return the position of an estimate relative to people's interval, and whether only the two intervals overlap."""
    where = human_data.place(own.value, interval)
    apart = not math.isfinite(own.low) or own.low > interval[1] or own.high < interval[0]
    overlap = where in ("below", "above") and not apart
    return Cell(where or NO_NUMBER, own.value - sum(interval) / 2.0, "intervals overlap" if overlap else "")


def _block_mean(reach: Floats, index: Floats, first: int, last: int) -> Floats:
    """Return the mean of (seeds, n) over the reaches `first` to `last`; NaN for a seed without any of them."""
    block = index[:, (reach >= first) & (reach <= last)]
    known = np.isfinite(block)
    total = np.where(known, block, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _block_chart(
    block_means: dict[str, Floats],
    curves: Sequence[Series],
    block_names: Sequence[str],
    counted: str,
    index: str,
    protocol: str,
    looks: Looks,
) -> Chart:
    """Draw learners and people by block of trials; `block_means` are (seeds, blocks) by learner."""
    places = np.arange(float(len(block_names)))
    series = [Series(learner, looks[learner], places, *mean_band(means)) for learner, means in block_means.items()]
    series += curves
    svg = line_chart(
        series,
        alternative=f"{capital(index)} of learners and of people under the {protocol_name(protocol)}, by {counted}.",
        x_label=counted,
        y_label=f"{index}, 1 = all",
        guides=(0.0, 1.0),
        x_names=block_names,
    )
    rows = tuple((curve.name, *map(short_number, curve.y.tolist())) for curve in series)
    title = f"{capital(protocol_name(protocol))}, by {counted.partition(' after')[0]}"
    return Chart(title, svg, ("", *block_names), rows, f"{capital(index)}, mean.")


def _trial_chart(
    indices: Indices, files: Sequence[HumanSeries], protocol: str, looks: Looks, counted: str, index: str
) -> Chart:
    """Draw learners, and people from a reader's files, trial by trial."""
    series = [Series(learner, looks[learner], reach, *mean_band(index)) for learner, (reach, index) in indices.items()]
    trial = counted.partition(" after")[0]
    svg = line_chart(
        [*series, *_file_series(files)],
        alternative=f"{capital(index)}, of learners and of people under the {protocol_name(protocol)}, by {trial}.",
        x_label=counted,
        y_label=index,
        guides=(0.0, 1.0),
        y_range=(-0.35, 1.35),
    )
    return Chart(f"{capital(protocol_name(protocol))}, {trial} by {trial}", svg, note=_sources(files))


def _people_alone(files: Sequence[HumanSeries], label: str) -> Chart:
    svg = line_chart(_file_series(files), alternative=f"People: {label}, by trial.", x_label="trial", y_label=label)
    return Chart("People alone", svg, note=_sources(files))


def _file_series(files: Sequence[HumanSeries]) -> list[Series]:
    series = []
    for curve, look in zip(files, cycle(FILE_LOOKS), strict=False):
        half = STANDARD_ERRORS * curve.sem
        series.append(Series(curve.name, look, curve.reach, curve.mean, curve.mean - half, curve.mean + half))
    return series


def _sources(files: Sequence[HumanSeries]) -> str:
    named = dict.fromkeys(f"{curve.file}, n = {curve.people}" for curve in files)
    return f"People: {'; '.join(named)}. Bands: 95 % of the mean."
