"""Learners beside people: the same read-out, the same baseline, the same numbering of reaches for both."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from reach.measures.series import BASELINE_REACHES
from reach.protocols import PROTOCOLS
from reach.study.people import human_data
from reach.study.people.human_data import HumanCurve, HumanFit, HumanSeries
from reach.study.report.charts import Look, Looks, Series, line_chart
from reach.study.report.figures import Chart, anchor, by_seed
from reach.study.report.findings import REFERENCE
from reach.study.report.metrics import capital, named_protocol, short_protocol, shown
from reach.study.report.tables import Cell, Line, Table
from reach.study.run.measures import adaptation_index, per_seed
from reach.study.statistics import estimate, mean_band

Floats = NDArray[np.float64]

CHANNEL = "channel_index"  # force in a channel trial, 1 = what would cancel the field
STANDARD_ERRORS = 1.96  # on either side, for 95 %
INK, SOFT = "#222222", "#6b6b6b"
PEOPLE_LOOKS = (Look(INK, "circle"), Look(INK, "diamond", "2 3", hollow=True), Look(SOFT, "square", "7 3", hollow=True))


@dataclass(frozen=True)
class Beside:
    """One protocol beside people: charts, what is inside people's intervals, sources and notes."""

    title: str
    charts: tuple[Chart, ...]
    table: Table | None
    legend: tuple[tuple[str, Look, str], ...]  # name, look, "line" or "marks"
    notes: tuple[str, ...]
    facts: tuple[str, ...]


def adaptation(trials: pd.DataFrame, protocol: str, looks: Looks) -> dict[str, tuple[Floats, Floats]]:
    """Return learner -> perturbed reaches (n,) from 1 and their adaptation index (seeds, n)."""
    index = adaptation_index(trials[trials["protocol"] == protocol])
    own = {learner: index[index["learner"] == learner] for learner in looks if learner != REFERENCE}
    return {learner: by_seed(rows, "index", "trial_in_block") for learner, rows in own.items() if len(rows)}


def rotation_degrees(protocol: str) -> float:
    """How far a protocol's perturbed block turns what is seen, degrees; of one not known here, what its name says."""
    if protocol not in PROTOCOLS:
        named = re.match(r"rotation(\d+)$", protocol)
        return float(named[1]) if named else math.nan
    blocks = [block for block in PROTOCOLS[protocol].blocks if block.name == "perturbed"]
    return next((abs(float(p.degrees)) for b in blocks for p in b.perturbation if hasattr(p, "degrees")), math.nan)


def beside_people(trials: pd.DataFrame, looks: Looks, human: Sequence[HumanSeries] = ()) -> list[Beside]:
    """Each protocol for which there are cited numbers or curves of people."""
    found = []
    for protocol in map(str, trials["protocol"].unique()):
        cited = tuple(f"{capital(fact.text)} ({fact.citation})." for fact in human_data.facts(protocol))
        if protocol.startswith("rotation"):
            beside = _rotation(trials, protocol, looks, human, cited)
        else:
            beside = _force(trials, protocol, looks, human, cited) if protocol.startswith("curl") else None
        if beside is None and cited:
            beside = Beside(capital(named_protocol(protocol)), (), None, (), (), cited)
        if beside is not None:
            found.append(beside)
    clamped = [one for one in human if one.kind == "clamp"]
    if clamped:
        chart = _alone(clamped, "people-clamp", "angle of the hand, degrees")
        legend = _legend_of(clamped)
        note = ("Cycles of 8 reaches. No learner here was put through such a clamp.",)
        found.append(Beside("Error clamp", (chart,), None, legend, note, ()))
    return found


def _rotation(
    trials: pd.DataFrame, protocol: str, looks: Looks, human: Sequence[HumanSeries], cited: tuple[str, ...]
) -> Beside | None:
    indices = adaptation(trials, protocol, looks)
    if not indices:
        return None
    degrees = rotation_degrees(protocol)
    fits = human_data.fits(degrees) or human_data.fits(human_data.CURVES[0].degrees)
    files = [one for one in human if one.kind == "rotation"]
    charts = [_block_chart(indices, human_data.CURVES, protocol, looks)]
    if files:
        charts.append(_full_chart(indices, files, protocol, looks))
    sizes = {curve.perturbation for curve in human_data.CURVES}
    notes = [
        "Baseline and numbering are the same for learners and people: the direction of the hand less the mean of the "
        "last ten baseline reaches (of those to the same cup, where there are two or more); reach 1 is the first "
        "perturbed one; probes are left out. 1 is a correction of all that the same learner misses by with learning "
        "off. Learners are read at launch, before vision can act, people at the peak speed of the hand. A and tau of "
        "learners are those of the table of measures.",
        "About half of what people do is a strategy: they aim elsewhere on purpose. The implicit part is the rest, "
        "measured in reaches without a cursor. A learner that has no strategy is fairly compared with that part too.",
    ]
    if degrees not in [curve.degrees for curve in human_data.CURVES]:
        notes.append(
            f"People's symbols are of a {', '.join(sorted(sizes))}, these learners met "
            + (f"{degrees:g}°" if math.isfinite(degrees) else "another")
            + ": read the shape, not the difference. The intervals in the table are those of people under "
            f"{fits[0].degrees:g}°."
        )
    notes += [f"People, {fit.part}, {fit.degrees:g}°: {_fit_text(fit)}" for fit in fits]
    notes += [f"Curves of people: {source}." for source in dict.fromkeys(c.citation for c in human_data.CURVES)]
    names = [(learner, looks[learner], "line") for learner in indices]
    names += [(curve.name, look, "marks") for curve, look in zip(human_data.CURVES, PEOPLE_LOOKS, strict=False)]
    legend = (*names, *_legend_of(files))
    title = capital(named_protocol(protocol))
    return Beside(
        title,
        tuple(charts),
        inside_table(per_seed(trials[trials["protocol"] == protocol]), list(indices), fits),
        legend,
        tuple(notes),
        cited,
    )


def channel_indices(trials: pd.DataFrame, protocol: str, looks: Looks) -> dict[str, tuple[Floats, Floats]]:
    """Learner -> channel trials (n,) from 1 and the force in them (seeds, n), less its mean in the last of baseline."""
    if CHANNEL not in trials:
        return {}
    mine = trials[(trials["protocol"] == protocol) & trials[CHANNEL].notna()]
    found = {}
    for learner in looks:
        seeds = []
        for _, rows in mine[mine["learner"] == learner].groupby("seed", sort=True):
            before = rows[rows["block"] == "baseline"].sort_values("trial")[CHANNEL].to_numpy(np.float64)
            during = rows[rows["block"] == "perturbed"].sort_values("trial")[CHANNEL].to_numpy(np.float64)
            seeds.append(during - (float(np.mean(before[-BASELINE_REACHES:])) if len(before) else 0.0))
        fewest = min(map(len, seeds), default=0)
        if fewest:
            found[learner] = (np.arange(1.0, fewest + 1.0), np.stack([one[:fewest] for one in seeds]))
    return found


def _force(
    trials: pd.DataFrame, protocol: str, looks: Looks, human: Sequence[HumanSeries], cited: tuple[str, ...]
) -> Beside | None:
    files = [one for one in human if one.kind == "force"]
    indices = channel_indices(trials, protocol, looks)
    title = capital(named_protocol(protocol))
    if not indices:
        chart = (_alone(files, f"people-{anchor(protocol)}", "share of the ideal force"),) if files else ()
        return Beside(title, chart, None, _legend_of(files), (), cited) if files or cited else None
    series = []
    for learner, (_, index) in indices.items():
        means = np.stack([np.nanmean(part, axis=1) for part in (index[:, :1], index[:, :5], index[:, -5:])], axis=1)
        series.append(Series(learner, looks[learner], np.arange(3.0), *mean_band(means)))
    drawn = Series(
        human_data.FORCE.name, PEOPLE_LOOKS[0], np.arange(3.0), np.array(human_data.FORCE.index), drawn="marks"
    )
    charts = [_index_chart([*series, drawn], ("first", "first five", "last five"), "channel trials", "force", protocol)]
    if files:
        charts.append(_full_chart(indices, files, protocol, looks, "channel trial", "force, 1 = ideal"))
    legend = [(learner, looks[learner], "line") for learner in indices]
    legend += [(human_data.FORCE.name, PEOPLE_LOOKS[0], "marks"), *_legend_of(files)]
    note = (
        "Read-out, baseline and numbering are the same for learners and people: the slope of the force on the wall "
        "against the force that would cancel the field, less its mean in the last ten channel trials of baseline; "
        "trial 1 is the first channel trial of the block. Fields differ in strength, and so do the reaches between two "
        f"channel trials. Source: {human_data.FORCE.citation}."
    )
    return Beside(title, tuple(charts), None, tuple(legend), (note,), cited)


def _legend_of(files: Sequence[HumanSeries]) -> tuple[tuple[str, Look, str], ...]:
    return tuple((one.name, _file_look(place), "line") for place, one in enumerate(files))


def _fit_text(fit: HumanFit) -> str:
    (a_low, a_high), (t_low, t_high) = fit.asymptote_interval, fit.tau_interval
    text = f"A {fit.asymptote:.2f} [{a_low:.2f}, {a_high:.2f}], "
    text += f"tau {fit.tau_reaches:.1f} [{t_low:.1f}, {t_high:.1f}] reaches"
    return text + (f"; {fit.note}" if fit.note else "") + f" ({fit.citation})."


def inside_table(measured: pd.DataFrame, learners: Sequence[str], fits: Sequence[HumanFit]) -> Table:
    """Return whether each learner's A and tau lie inside people's intervals, for the whole reach and its implicit part.

    Args:
        measured: of one protocol: learner, seed, metric, value.
        learners: that have a row.
        fits: to people.
    """
    heads = [("A", ""), ("tau", "reaches")]
    heads += [(f"{what}, {fit.part}", f"people {_range(fit, what)}") for fit in fits for what in ("A", "tau")]
    lines = []
    for learner in learners:
        own = measured[measured["learner"] == learner]
        estimates = [estimate(own.loc[own["metric"] == name, "value"].to_numpy(np.float64)) for name in ("A", "tau")]
        cells = []
        for one, digits in zip(estimates, (2, 1), strict=True):
            text = f"{one.value:.{digits}f}" if math.isfinite(one.value) else "\N{EN DASH}"
            below = f"[{one.low:.{digits}f}, {one.high:.{digits}f}]" if math.isfinite(one.low) else ""
            cells.append(Cell(text, one.value, below))
        for fit in fits:
            for one, between in zip(estimates, (fit.asymptote_interval, fit.tau_interval), strict=True):
                where = human_data.place(one.value, between)
                cells.append(Cell(where or "\N{EN DASH}", one.value - sum(between) / 2.0, _reaches_in(one, between)))
        lines.append(Line(learner, tuple(cells)))
    return Table("Inside people's 95 % intervals?", tuple(heads), tuple(lines))


def _reaches_in(one: object, between: tuple[float, float]) -> str:
    """Says where only the learner's own interval reaches into people's."""
    low, high, value = (float(getattr(one, key)) for key in ("low", "high", "value"))
    apart = not math.isfinite(low) or low > between[1] or high < between[0]
    return "" if apart or human_data.place(value, between) in ("", "inside") else "intervals overlap"


def _range(fit: HumanFit, what: str) -> str:
    low, high = fit.asymptote_interval if what == "A" else fit.tau_interval
    return f"{low:.2f}\N{EN DASH}{high:.2f}" if what == "A" else f"{low:.1f}\N{EN DASH}{high:.1f}"


def _block_mean(reach: Floats, index: Floats, first: int, last: int) -> Floats:
    """Mean of the reaches first to last of (seeds, n); NaN for a seed that has none of them."""
    block = index[:, (reach >= first) & (reach <= last)]
    known = np.isfinite(block)
    total = np.where(known, block, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _block_chart(
    indices: dict[str, tuple[Floats, Floats]], curves: Sequence[HumanCurve], protocol: str, looks: Looks
) -> Chart:
    blocks = curves[0].blocks
    places = np.arange(len(blocks), dtype=np.float64)
    series = []
    for learner, (reach, index) in indices.items():
        means = np.stack([_block_mean(reach, index, *block) for block in blocks], axis=1)
        series.append(Series(learner, looks[learner], places, *mean_band(means)))
    for one, look in zip(curves, PEOPLE_LOOKS, strict=False):
        series.append(Series(one.name, look, places, np.array(one.index), drawn="marks"))
    names = [f"{first}\N{EN DASH}{last}" if last > first else f"{first}" for first, last in blocks]
    return _index_chart(series, names, "reaches after the perturbation began", "adaptation index", protocol)


def _index_chart(series: Sequence[Series], names: Sequence[str], counted: str, index: str, protocol: str) -> Chart:
    svg = line_chart(
        series,
        name=f"people-{anchor(protocol)}",
        alternative=f"{capital(index)} of learners and of people, by {counted}.",
        x_label=counted,
        y_label=f"{index}, 1 = all",
        guides=(0.0, 1.0),
        x_names=names,
    )
    lines = tuple((one.name, *map(shown, one.y.tolist())) for one in series)
    title = f"{capital(short_protocol(protocol))}, by {counted.partition(' after')[0]}"
    return Chart(title, Markup(svg), ("", *names), lines, f"{capital(index)}, mean.")


def _file_look(place: int) -> Look:
    dashes = ("", "2 3", "7 3", "9 3 2 3")
    return Look((INK, SOFT)[place % 2], ("circle", "diamond", "square", "wedge")[place % 4], dashes[place % 4], True)


def _full_chart(
    indices: dict[str, tuple[Floats, Floats]],
    files: Sequence[HumanSeries],
    protocol: str,
    looks: Looks,
    counted: str = "reach after the perturbation began",
    index: str = "adaptation index, 1 = all",
) -> Chart:
    series = [Series(learner, looks[learner], reach, *mean_band(index)) for learner, (reach, index) in indices.items()]
    series += [_series(one, place) for place, one in enumerate(files)]
    svg = line_chart(
        series,
        name=f"people-full-{anchor(protocol)}",
        alternative=f"{capital(index)}, of learners and of people, one by one.",
        x_label=counted,
        y_label=index,
        guides=(0.0, 1.0),
        y_range=(-0.35, 1.35),
    )
    title = f"{capital(short_protocol(protocol))}, {counted.partition(' after')[0]} by {counted.partition(' after')[0]}"
    return Chart(title, Markup(svg), note=_sources(files))


def _series(one: HumanSeries, place: int) -> Series:
    reach = STANDARD_ERRORS * one.sem
    return Series(one.name, _file_look(place), one.reach, one.mean, one.mean - reach, one.mean + reach)


def _alone(files: Sequence[HumanSeries], name: str, label: str) -> Chart:
    svg = line_chart(
        [_series(one, place) for place, one in enumerate(files)],
        name=name,
        alternative=f"People: {label}, by trial.",
        x_label="trial",
        y_label=label,
    )
    return Chart("People alone", Markup(svg), note=_sources(files))


def _sources(files: Sequence[HumanSeries]) -> str:
    named = dict.fromkeys(f"{one.file}, n = {one.people}" for one in files)
    return f"People: {'; '.join(named)}. Bands: 95 % of the mean."
