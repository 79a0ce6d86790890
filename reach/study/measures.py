"""From the trials of a study to measures: a value for each learner, protocol and seed.

Which measures a protocol has follows from its blocks and from what was recorded, never from its name: errors of a
perturbed block give speed of correction, a force channel gives it by the force, an onset within the reach gives the
correction within it, and blocks that come back, clamp the error, hide the hand or probe other directions give memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach import memory
from reach.protocols import BASELINE, CLAMP, OPPOSITE, PERTURBED, PROBED, RELEARNED, UNSEEN, WASHOUT
from reach.sim.state import START_HAND_M
from reach.study.run import UNLEARNED_LAUNCH_ERROR
from reach.trials import (
    AFTER_EFFECT_REACHES,
    L30_REACHES,
    LATE_REACHES,
    N63_THRESHOLD,
    N63_WINDOW,
    TrialSeries,
    correction_measures,
    fit_exponential,
    miss_direction,
    reference_error_deg,
    wrapped_degrees,
)
from reach.two_states import fit_two_states

Array = NDArray[np.float64]

UNLEARNING = "none"
KEYS = ["learner", "protocol", "seed"]
# Read-outs of the launch that have a baseline.
LAUNCHES = ("launch_error_deg", "peak_speed_error_deg")
# Measured within reaches: name of the measure, column, and how many reaches become one number. Times that may be
# infinite and latencies with outliers are given by their median.
WITHIN = (
    ("T_c", "correction_time_s", np.mean),
    ("latency_s", "latency_s", np.median),
    ("t50_s", "t50_s", np.median),
    ("t90_s", "t90_s", np.median),
    ("overshoot", "overshoot", np.mean),
)
# Reaches in these blocks are made without seeing an error.
WITHOUT_ERROR = (CLAMP, UNSEEN, PROBED)


def _series(rows: pd.DataFrame, launch_error: str = "launch_error_deg") -> TrialSeries:
    """One learner, protocol and seed as a series, probes left out; `launch_error` is the column to read it from."""
    reaches = rows[~rows["probe"]].sort_values("trial")

    def column(name: str) -> Array:
        return reaches[name].to_numpy(dtype=np.float64)

    return TrialSeries(
        launch_error_deg=column(launch_error),
        block=reaches["block"].to_numpy(dtype=np.str_),
        cup=reaches[["cup_x", "cup_y"]].to_numpy(dtype=np.float64),
        endpoint_error_cm=column("endpoint_error_cm"),
        time_to_success_s=column("time_to_success_s"),
        success=reaches["success"].to_numpy(dtype=np.bool_),
    )


def baseline_corrected(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with each read-out of the launch less its baseline, each learner, protocol and seed by itself.

    Probes are corrected by the same baseline as reaches to the same cup.
    """
    corrected = trials.copy()
    for _, rows in trials.groupby(KEYS, sort=False):
        for launch in (name for name in LAUNCHES if name in trials):
            corrected.loc[rows.index, launch] = _less_baseline(rows, launch)
    return corrected


def _less_baseline(rows: pd.DataFrame, launch: str) -> Array:
    series = _series(rows, launch)
    shift = series.launch_error_deg - series.corrected_error_deg()
    by_cup = {tuple(cup): float(s) for cup, s in zip(series.cup, shift, strict=True) if math.isfinite(s)}
    taken = np.array([by_cup.get((x, y), 0.0) for x, y in zip(rows["cup_x"], rows["cup_y"], strict=True)])
    # A whole turn may lie between two ways of writing one angle.
    return wrapped_degrees(rows[launch].to_numpy(dtype=np.float64) - taken)


def per_seed(trials: pd.DataFrame) -> pd.DataFrame:
    """All measures: a row (learner, protocol, seed, metric, value) each, in the order of the trials.

    The measure of the miss is that of the same learner with learning off, where the trials tell of it, else that of the
    learner that never learns. Seeds with neither have measures within the reach at most.
    """
    groups = dict(iter(_completed(trials).groupby(KEYS, sort=False)))
    found = []
    for key, rows in groups.items():
        learner, protocol, seed = key
        reference = None
        if UNLEARNED_LAUNCH_ERROR in rows and rows[UNLEARNED_LAUNCH_ERROR].notna().any():
            reference = _series(rows, UNLEARNED_LAUNCH_ERROR)
        elif (UNLEARNING, protocol, seed) in groups:
            reference = _series(groups[(UNLEARNING, protocol, seed)])
        for metric, value in measures_of(rows, reference):
            found.append({"learner": learner, "protocol": protocol, "seed": seed, "metric": metric, "value": value})
    return pd.DataFrame(found, columns=["learner", "protocol", "seed", "metric", "value"])


def _completed(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with the columns that a table of plain blocks, abrupt and seen to the end, may do without."""
    completed = trials.copy()
    for name, values in (
        ("block_number", (trials["block"] != trials["block"].shift()).cumsum()),
        ("perturbation_scale", (trials["block"] == PERTURBED).astype(np.float64)),
        ("channel_index", math.nan),
        ("onset_s", math.nan),
    ):
        if name not in trials:
            completed[name] = values
    return completed


def measures_of(rows: pd.DataFrame, reference: TrialSeries | None) -> Iterator[tuple[str, float]]:
    """The measures, by name, of one learner in one protocol with one seed.

    Args:
        rows: its trials.
        reference: the same reaches with learning off; None for what can be told without it.
    """
    reaches = rows[~rows["probe"]].sort_values("trial")
    within = reaches[reaches["onset_s"].notna() & (reaches["block"] == PERTURBED)]
    perturbed = reaches[(reaches["block"] == PERTURBED) & reaches["onset_s"].isna()]
    if len(within):
        yield from _within_reach(within)
        if perturbed.empty:
            yield "time_to_success_s", float(within["time_to_success_s"].mean())
            yield "success", float(within["success"].mean())
    if reference is None or perturbed.empty:
        return
    own = _series(rows)
    miss, side = reference_error_deg(reference), miss_direction(reference)
    flips = _flipping(perturbed)
    scales = perturbed["perturbation_scale"]
    if flips:
        # The side changes with each flip: size is all that counts.
        miss = _size_of(reference)
    elif (scales >= 0.0).all() or (scales <= 0.0).all():
        measures = correction_measures(own, miss, side) | _by_channel(rows)
        if scales.nunique() > 1:
            measures = _of_a_ramp(measures, own, reference)
        if WASHOUT not in set(reaches["block"]):
            measures.pop("after_effect")
        yield from measures.items()
    error = side * own.corrected_error_deg() / miss
    adaptation = side * wrapped_degrees(reference.corrected_error_deg() - own.corrected_error_deg()) / miss
    yield from _switching(flips, reaches["block_number"].to_numpy(), error)
    yield from _memory(reaches, error, adaptation)


def _within_reach(reaches: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for metric, column, of_many in WITHIN:
        values = reaches[column].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        yield metric, float(of_many(known)) if len(known) else math.nan
    yield "attempts", float(reaches["attempts"].mean())
    yield "tips", float(reaches["tipped"].mean())


def _of_a_ramp(measures: dict[str, float], own: TrialSeries, reference: TrialSeries) -> dict[str, float]:
    """Measures where the miss grows from reach to reach: errors are shares of it, and there is no time course."""
    error, whole = (np.abs(series.corrected_error_deg()[own.block == PERTURBED]) for series in (own, reference))
    missed = np.where(np.isfinite(error), error, whole)

    def left(reaches: slice) -> float:
        return float(np.nansum(missed[reaches]) / np.nansum(whole[reaches]))

    kept = {name: value for name, value in measures.items() if name not in ("N63", "A", "tau")}
    return kept | {"L30": left(slice(L30_REACHES)), "late_error": left(slice(-LATE_REACHES, None))}


def _by_channel(rows: pd.DataFrame) -> dict[str, float]:
    """Speed of correction by the force in channel trials, where there are any; error is 1 less the adaptation index."""
    channel = rows[rows["channel_index"].notna()].sort_values("trial")
    perturbed = channel[channel["block"] == PERTURBED]
    if perturbed.empty:
        return {}
    baseline = channel.loc[channel["block"] == BASELINE, "channel_index"].to_numpy(dtype=np.float64)
    normal = float(np.mean(baseline)) if len(baseline) else 0.0
    error = (perturbed["perturbation_scale"] - perturbed["channel_index"] + normal).to_numpy(dtype=np.float64)
    reach = perturbed["trial_in_block"].to_numpy(dtype=np.float64)
    amplitude, tau = fit_exponential(1.0 - error, reach)
    washout = channel[channel["block"] == WASHOUT]
    after = normal - washout.loc[washout["trial_in_block"] <= AFTER_EFFECT_REACHES, "channel_index"].to_numpy(
        np.float64
    )
    windows = [float(np.median(error[k - N63_WINDOW : k])) for k in range(N63_WINDOW, len(error) + 1)]
    corrected = np.flatnonzero(np.array(windows) < N63_THRESHOLD)
    early, late = error[reach <= L30_REACHES], error[reach > reach[-1] - 2 * LATE_REACHES]
    return {
        "L30": float(np.mean(np.abs(early))) if len(early) else math.nan,
        "N63": float(reach[N63_WINDOW - 1 + corrected[0]]) if len(corrected) else math.inf,
        "A": amplitude,
        "tau": tau,
        "after_effect": float(np.mean(after)) if len(after) else math.nan,
        "late_error": float(np.mean(np.abs(late))),
    }


def _flipping(perturbed: pd.DataFrame) -> dict[int, int]:
    """Blocks in which the perturbation goes to either side in turn: number of the block -> reaches between flips."""
    found = {}
    for number, rows in perturbed.groupby("block_number", sort=False):
        every = memory.reaches_between_flips(rows["perturbation_scale"].to_numpy(dtype=np.float64))
        if every is not None:
            found[int(str(number))] = every
    return found


def _size_of(reference: TrialSeries) -> float:
    sizes = np.abs(reference.corrected_error_deg()[reference.block == PERTURBED])
    return float(np.nanmean(sizes))


def _switching(flips: dict[int, int], block_number: NDArray[np.int64], error: Array) -> Iterator[tuple[str, float]]:
    if not flips:
        return
    left = {}
    for number, every in flips.items():
        left[every], mean = memory.switching_error(error[block_number == number], every)
        yield f"switching_{every}", mean
    yield "fastest_switch", memory.fastest_switch(left)


def _memory(reaches: pd.DataFrame, error: Array, adaptation: Array) -> Iterator[tuple[str, float]]:
    block = reaches["block"].to_numpy(dtype=np.str_)
    blocks = set(block.tolist())
    if RELEARNED in blocks:
        measure = memory.interference if OPPOSITE in blocks else memory.savings
        yield measure.__name__, measure(error[block == PERTURBED], error[block == RELEARNED])
    if UNSEEN in blocks:
        yield "retention", memory.retention(adaptation[block == PERTURBED], adaptation[block == UNSEEN])
    if CLAMP in blocks and OPPOSITE in blocks:
        yield "rebound", memory.rebound(adaptation[block == CLAMP])
        scale = np.where(np.isin(block, WITHOUT_ERROR), 0.0, reaches["perturbation_scale"].to_numpy(dtype=np.float64))
        states = fit_two_states(adaptation, scale, ~np.isin(block, WITHOUT_ERROR))
        yield from vars(states).items()
    if PROBED in blocks:
        yield from _generalisation(reaches, block, adaptation)


def _generalisation(reaches: pd.DataFrame, block: NDArray[np.str_], adaptation: Array) -> Iterator[tuple[str, float]]:
    aside = reaches[["cup_x", "cup_y"]].to_numpy(dtype=np.float64) - np.array(START_HAND_M)
    bearing = np.degrees(np.arctan2(aside[:, 1], aside[:, 0]))
    trained = np.unique(bearing[block == PERTURBED])
    if len(trained) != 1:
        return
    angle = np.abs(wrapped_degrees(bearing - trained[0]))[block == PROBED]
    for degrees, share in memory.generalisation(adaptation[block == PROBED], angle).items():
        yield f"generalisation_{degrees}", share
