"""From the trials of a study to measures: a value for each learner, protocol and seed.

The measures of a protocol follow from its blocks and from what was recorded, never from its name. Launch errors of a
perturbed block give the speed of correction. Channel trials give the channel measures, which have names of their own.
An onset within the reach gives the correction within it. Blocks that come back, clamp the error, hide the hand or probe
other directions give memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach.measures import memory
from reach.measures.reach import wrapped_degrees
from reach.measures.series import (
    BASELINE_REACHES,
    L30_REACHES,
    LATE_REACHES,
    LEAST_MISS_DEG,
    TrialSeries,
    fit_exponential,
    miss_deg,
    reaches_to_63,
    relative_error,
    series_measures,
)
from reach.protocols import BASELINE, CLAMP, OPPOSITE, PERTURBED, PROBED, RELEARNED, UNSEEN, WASHOUT
from reach.protocols.wrapper import WASHOUT_ONSET_LAUNCH_ERROR
from reach.sim.layout import START_HAND_M
from reach.study.run import LAUNCH_ERROR_WITHOUT_LEARNING
from reach.study.run.two_states import fit_two_states

Array = NDArray[np.float64]

NON_LEARNER = "none"
KEYS = ["learner", "protocol", "seed"]
LAUNCH = "launch_error_deg"
# Measured within reaches: name of the measure, column, and how many reaches become one number. Times that may be
# infinite are given by their median.
WITHIN = (
    ("T_c", "correction_time_s", np.mean),
    ("correction_onset_s", "correction_onset_s", np.median),
    ("t50_s", "t50_s", np.median),
    ("t90_s", "t90_s", np.median),
    ("overshoot", "overshoot", np.mean),
)
# Channel trials whose mean is the late channel index, as people's is given (Avraham et al. 2017).
LATE_CHANNEL_TRIALS = 5
# Reaches in these blocks are made without seeing an error.
WITHOUT_ERROR = (CLAMP, UNSEEN, PROBED)


def _series(rows: pd.DataFrame, launch_error: str = LAUNCH) -> TrialSeries:
    """One learner, protocol and seed as a series, probes left out; `launch_error` is the column to read it from."""
    reaches = _reaches(rows)

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
    """Return the trials with launch errors less their baseline, each learner, protocol and seed by itself.

    Probes are corrected by the same baseline as reaches to the same cup.
    """
    # Rows by their place: labels of an index may be there twice.
    corrected = trials.reset_index(drop=True)
    for _, rows in corrected.groupby(KEYS, sort=False):
        corrected.loc[rows.index, LAUNCH] = _less_baseline(rows)
    return corrected.set_axis(trials.index)


def _less_baseline(rows: pd.DataFrame) -> Array:
    series = _series(rows)
    taken = _by_cup(rows, series, series.launch_error_deg - series.corrected_error_deg(), otherwise=0.0)
    # A whole turn may lie between two ways of writing one angle.
    return wrapped_degrees(rows[LAUNCH].to_numpy(dtype=np.float64) - taken)


def _by_cup(rows: pd.DataFrame, series: TrialSeries, values: Array, otherwise: float) -> Array:
    """Values of the reaches of a series, one for each cup, for all its trials with probes."""
    known = {tuple(cup): float(value) for cup, value in zip(series.cup, values, strict=True) if math.isfinite(value)}
    return np.array([known.get((x, y), otherwise) for x, y in zip(rows["cup_x"], rows["cup_y"], strict=True)])


def with_misses(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials, launch errors less their baseline, with the miss at the cup of each in the column `miss_deg`.

    The miss is that of a positive scale, signed; NaN where nothing tells of it.
    """
    placed = trials.reset_index(drop=True)
    found = baseline_corrected(placed).assign(miss_deg=math.nan)
    for rows, reference in _with_references(_completed(placed)):
        if reference is not None:
            scale = _reaches(rows)["perturbation_scale"].to_numpy(dtype=np.float64)
            missed = miss_deg(reference, scale)
            found.loc[rows.index, "miss_deg"] = _by_cup(rows, reference, missed, otherwise=math.nan)
    return found.set_axis(trials.index)


def adaptation_index(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the reaches of each learner's first perturbed block with their adaptation index.

    The index is 1 less the launch error over the miss of the same learner with learning off at the same cup: 0 for
    nothing corrected, 1 for all. Reaches to cups with a miss below 2 degrees are left out.

    Returns:
        Columns learner, protocol, seed, trial_in_block, index.
    """
    trials = _completed(trials)
    measured = with_misses(trials)
    reaches = measured[(measured["block"] == PERTURBED) & ~measured["probe"]]
    first = reaches.groupby(KEYS)["block_number"].transform("min")
    kept = reaches[(reaches["block_number"] == first) & (reaches["miss_deg"].abs() >= LEAST_MISS_DEG)]
    index: pd.DataFrame = kept.assign(index=1.0 - kept[LAUNCH] / kept["miss_deg"])
    return index[[*KEYS, "trial_in_block", "index"]]


def per_seed(trials: pd.DataFrame) -> pd.DataFrame:
    """Return all measures: a row (learner, protocol, seed, metric, value) each, in the order of the trials.

    The miss is that of the same learner with learning off, where the trials tell of it, else that of the learner that
    never learns. Seeds with neither have measures within the reach and of channel trials at most. Without a launch to
    read a miss from, the measures relative to it are NaN.
    """
    found = []
    for rows, reference in _with_references(_completed(trials)):
        whose = {name: rows[name].iloc[0] for name in KEYS}
        found += [{**whose, "metric": metric, "value": value} for metric, value in measures_of(rows, reference)]
    return pd.DataFrame(found, columns=[*KEYS, "metric", "value"])


def _with_references(trials: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, TrialSeries | None]]:
    """The trials of each learner, protocol and seed, and the same reaches without learning where these are known."""
    groups = dict(iter(trials.groupby(KEYS, sort=False)))
    for (_, protocol, seed), rows in groups.items():
        told = LAUNCH_ERROR_WITHOUT_LEARNING in rows
        if told and rows[LAUNCH_ERROR_WITHOUT_LEARNING].notna().any():
            yield rows, _series(rows, LAUNCH_ERROR_WITHOUT_LEARNING)
        elif (NON_LEARNER, protocol, seed) in groups:
            yield rows, _series(groups[(NON_LEARNER, protocol, seed)])
        else:  # told and NaN: a hand that never set out
            yield rows, _series(rows, LAUNCH_ERROR_WITHOUT_LEARNING) if told else None


def _reaches(rows: pd.DataFrame) -> pd.DataFrame:
    """Trials in order, probes left out."""
    return rows[~rows["probe"]].sort_values("trial")


def _completed(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials with the columns that a table of plain blocks, abrupt and seen to the end, may do without.

    Raises:
        ValueError: a trial occurs more than once.
    """
    repeated = trials.duplicated([*KEYS, "trial", "probe"])
    if repeated.any():
        first = trials[repeated].iloc[0]
        raise ValueError(
            f"trials holds trial {first['trial']} of learner {first['learner']!r}, protocol {first['protocol']!r}, "
            f"seed {first['seed']} more than once; one row for each trial is allowed"
        )
    completed = trials.copy()
    for name, values in (
        ("block_number", (trials["block"] != trials["block"].shift()).cumsum()),
        ("perturbation_scale", (trials["block"] == PERTURBED).astype(np.float64)),
        ("channel_index", math.nan),
        ("onset_s", math.nan),
        (WASHOUT_ONSET_LAUNCH_ERROR, math.nan),
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
    reaches = _reaches(rows)
    within = reaches[reaches["onset_s"].notna() & (reaches["block"] == PERTURBED)]
    perturbed = reaches[(reaches["block"] == PERTURBED) & reaches["onset_s"].isna()]
    if len(within):
        yield from _within_reach(within)
        if perturbed.empty:
            yield "time_to_success_s", float(within["time_to_success_s"].mean())
            yield "success", float(within["success"].mean())
    if perturbed.empty:
        return
    flips = _flipping(perturbed)
    scales = perturbed["perturbation_scale"]
    lasting = not flips and ((scales >= 0.0).all() or (scales <= 0.0).all())
    if lasting:
        yield from _by_channel(rows).items()
    if reference is None:
        return
    own = _series(rows)
    miss = miss_deg(reference, reaches["perturbation_scale"].to_numpy(dtype=np.float64))
    if lasting:
        side = -1.0 if (scales < 0.0).any() else 1.0
        measures = series_measures(own, side * miss, _at_washout_onset(rows, own))
        if scales.nunique() > 1:
            measures = _of_a_ramp(measures, own, reference)
        if WASHOUT not in set(reaches["block"].iloc[int(np.argmax(own.block == PERTURBED)) :]):
            measures.pop("after_effect")
        yield from measures.items()
    telling = np.abs(miss) >= LEAST_MISS_DEG
    if not np.any(telling):
        return
    # Where the miss at a cup is too small to be told, errors are shares of the mean miss.
    miss = np.where(telling, miss, np.copysign(float(np.mean(np.abs(miss[telling]))), miss))
    error = own.corrected_error_deg() / miss
    adaptation = wrapped_degrees(reference.corrected_error_deg() - own.corrected_error_deg()) / miss
    yield from _switching(flips, reaches["block_number"].to_numpy(), error)
    yield from _memory(reaches, error, adaptation)


def _at_washout_onset(rows: pd.DataFrame, own: TrialSeries) -> Array | None:
    """Corrected launch errors of the first visits to each cup by the learner as it was when the washout began.

    NaN for all other reaches; None where they were not recorded, as in a person's trials.
    """
    launched = _series(rows, WASHOUT_ONSET_LAUNCH_ERROR).launch_error_deg
    if not np.any(np.isfinite(launched)):
        return None
    at_onset = replace(own, launch_error_deg=np.where(np.isfinite(launched), launched, own.launch_error_deg))
    return np.where(np.isfinite(launched), at_onset.corrected_error_deg(), math.nan)


def _within_reach(reaches: pd.DataFrame) -> Iterator[tuple[str, float]]:
    for metric, column, of_many in WITHIN:
        values = reaches[column].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        yield metric, float(of_many(known)) if len(known) else math.nan
    yield "attempts", float(reaches["attempts"].mean())
    yield "tips", float(reaches["tipped"].mean())


def _of_a_ramp(measures: dict[str, float], own: TrialSeries, reference: TrialSeries) -> dict[str, float]:
    """Measures where the miss grows from reach to reach: errors are shares of it, and there is no time course."""
    perturbed = own.block == PERTURBED
    error, whole = (one.corrected_error_deg()[perturbed] for one in (own, reference))
    kept = {name: value for name, value in measures.items() if name not in ("N63", "A", "tau")}
    return kept | {
        "L30": relative_error(error[:L30_REACHES], whole[:L30_REACHES]),
        "late_error": relative_error(error[-LATE_REACHES:], whole[-LATE_REACHES:]),
    }


def _by_channel(rows: pd.DataFrame) -> dict[str, float]:
    """Compensation of a force field, read from the channel trials; empty without any.

    The compensation of a channel trial is its channel index less that of the last ten channel trials of baseline, as a
    share of the field of that trial.
    """
    channel = rows[rows["channel_index"].notna()].sort_values("trial")
    perturbed = channel[channel["block"] == PERTURBED]
    if perturbed.empty:
        return {}
    baseline = channel.loc[channel["block"] == BASELINE, "channel_index"].to_numpy(dtype=np.float64)[-BASELINE_REACHES:]
    index = perturbed["channel_index"].to_numpy(dtype=np.float64) - (float(np.mean(baseline)) if len(baseline) else 0.0)
    field = perturbed["perturbation_scale"].to_numpy(dtype=np.float64)
    reach = perturbed["trial_in_block"].to_numpy(dtype=np.float64)

    def compensated(trials: Any) -> float:
        return float(index[trials] @ field[trials] / max(float(field[trials] @ field[trials]), 1e-12))

    early = reach <= L30_REACHES
    found = {
        "channel_index_early": compensated(early) if np.any(early) else math.nan,
        "channel_index_late": compensated(slice(-LATE_CHANNEL_TRIALS, None)),
    }
    if field[0] != 0.0 and len(set(np.abs(field).tolist())) == 1:
        share = index / field
        asymptote, tau = fit_exponential(share, reach)
        found |= {
            "channel_reaches_to_63": reaches_to_63(1.0 - share, reach),
            "channel_asymptote": asymptote,
            "channel_tau": tau,
        }
    return found


def _flipping(perturbed: pd.DataFrame) -> dict[int, int]:
    """Blocks in which the perturbation goes to either side in turn: number of the block -> reaches between flips."""
    found = {}
    for number, rows in perturbed.groupby("block_number", sort=False):
        every = memory.reaches_between_flips(rows["perturbation_scale"].to_numpy(dtype=np.float64))
        if every is not None:
            found[int(str(number))] = every
    return found


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
