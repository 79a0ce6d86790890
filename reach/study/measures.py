"""Compute measures from the trials of a study: a value for each learner, protocol, seed and metric.

The blocks of a run and its recorded columns determine which measures it has; the name of the protocol has no effect. To
add a measure, write a function of a `Run` that yields names and values, and pass it to `register`. Pass a
`reach.study.report.metrics.Measure` for each name to `reach.study.report.metrics.register`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from reach.measures import series
from reach.measures.reach import wrapped_degrees
from reach.measures.series import TrialSeries
from reach.protocols import (
    BASELINE,
    CLAMP,
    OPPOSITE,
    OTHER,
    PERTURBED,
    PROBED,
    RELEARNED,
    UNSEEN,
    WASHOUT,
    WASHOUT_ONSET_LAUNCH_ERROR,
)
from reach.sim.layout import START_HAND_M
from reach.study.run import LAUNCH_ERROR_WITHOUT_LEARNING

Array = NDArray[np.float64]
Measured = Iterator[tuple[str, float]]

# The learner that never learns.
NON_LEARNER = "none"
KEYS = ["learner", "protocol", "seed"]
LAUNCH = "launch_error_deg"
# Measures within reaches: name, column, and function that combines reaches; the median for times that may be infinite.
WITHIN = (
    ("T_c", "correction_time_s", np.mean),
    ("correction_onset_s", "correction_onset_s", np.median),
    ("t50_s", "t50_s", np.median),
    ("t90_s", "t90_s", np.median),
    ("overshoot", "overshoot", np.mean),
)
# Number of trials in the late channel index, as in human data (Avraham et al. 2017).
LATE_CHANNEL_TRIALS = 5
# Measures that assume learning within about 100 reaches.
TIME_COURSE = ("N63", "A", "tau")
# Blocks without a visible error.
WITHOUT_ERROR = (CLAMP, UNSEEN, PROBED)


def per_seed(trials: pd.DataFrame) -> pd.DataFrame:
    """Return all measures, in the order of the trials.

    The miss is computed from the same learner with learning off if the trials contain its launch errors, else from the
    learner `none`. A run with neither has only measures within the reach and of channel trials. If the hand moved in no
    trial from which the miss is computed, the measures relative to the miss are NaN.

    Args:
        trials: a row for each trial of any number of runs.

    Returns:
        Columns learner, protocol, seed, metric, value.

    Raises:
        ValueError: a trial occurs more than once.
    """
    measured = []
    for rows, reference in _with_references(_completed(trials)):
        keys, run = {name: rows[name].iloc[0] for name in KEYS}, Run(rows, reference)
        measured += [{**keys, "metric": name, "value": value} for measure in MEASURES for name, value in measure(run)]
    return pd.DataFrame(measured, columns=[*KEYS, "metric", "value"])


def _completed(trials: pd.DataFrame) -> pd.DataFrame:
    """Add columns that are optional for protocols with abrupt blocks, with their default values."""
    repeated = trials.duplicated([*KEYS, "trial", "probe"])
    if repeated.any():
        first = "trial {trial} of {learner}, {protocol}, seed {seed}".format_map(trials[repeated].iloc[0])
        raise ValueError(f"trials: expected one row for each trial, got {first} more than once")
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


def _with_references(trials: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, TrialSeries | None]]:
    """Yield the trials of each run, and the same reaches without learning, or None if they are unknown."""
    runs = dict(iter(trials.groupby(KEYS, sort=False)))
    for (_, protocol, seed), rows in runs.items():
        recorded = _series(rows, LAUNCH_ERROR_WITHOUT_LEARNING) if LAUNCH_ERROR_WITHOUT_LEARNING in rows else None
        # If all recorded values are NaN, the hand never moved.
        is_known = recorded is not None and rows[LAUNCH_ERROR_WITHOUT_LEARNING].notna().any()
        non_learner = None if is_known else runs.get((NON_LEARNER, protocol, seed))
        yield rows, recorded if non_learner is None else _series(non_learner)


def _reaches(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the trials in order, without probes."""
    return rows[~rows["probe"]].sort_values("trial")


def _series(rows: pd.DataFrame, launch_error: str = LAUNCH) -> TrialSeries:
    """Return the trials of one run as a series; `launch_error` is the column of its launch errors."""
    reaches = _reaches(rows)
    columns = [launch_error, "endpoint_error_cm", "time_to_success_s"]
    launched, endpoint, seconds = (reaches[column].to_numpy(dtype=np.float64) for column in columns)
    block, success = reaches["block"].to_numpy(dtype=np.str_), reaches["success"].to_numpy(dtype=np.bool_)
    return TrialSeries(launched, block, reaches[["cup_x", "cup_y"]].to_numpy(np.float64), endpoint, seconds, success)


@dataclass(frozen=True)
class Run:
    """The trials of one learner in one protocol with one seed, with views for the measures.

    Attributes:
        rows: all trials.
        reference: the same reaches with learning off; None if unknown.
    """

    rows: pd.DataFrame
    reference: TrialSeries | None

    @cached_property
    def reaches(self) -> pd.DataFrame:
        """Return all reaches in order."""
        return _reaches(self.rows)

    @cached_property
    def with_onset_within_reach(self) -> pd.DataFrame:
        """Return the perturbed reaches with an onset within the reach."""
        return self.reaches[self.reaches["onset_s"].notna() & (self.reaches["block"] == PERTURBED)]

    @cached_property
    def perturbed(self) -> pd.DataFrame:
        """Return the perturbed reaches whose perturbation acts from the start."""
        return self.reaches[(self.reaches["block"] == PERTURBED) & self.reaches["onset_s"].isna()]

    @cached_property
    def flips(self) -> dict[int, int]:
        """Return the number of reaches between flips of alternating perturbations, by number of the block."""
        flips = {}
        for number, rows in self.perturbed.groupby("block_number", sort=False):
            every = series.reaches_between_flips(rows["perturbation_scale"].to_numpy(dtype=np.float64))
            if every is not None:
                flips[int(str(number))] = every
        return flips

    @cached_property
    def is_cued(self) -> bool:
        """Return whether the lamps determine the side of the perturbation in each reach."""
        return not self.flips and lamps_decide(self.perturbed)

    @cached_property
    def is_lasting(self) -> bool:
        """Return whether there is a perturbation that keeps its side."""
        scales = self.perturbed["perturbation_scale"]
        return len(scales) > 0 and not self.flips and bool((scales >= 0.0).all() or (scales <= 0.0).all())

    @cached_property
    def series(self) -> TrialSeries:
        """Return the reaches as a series."""
        return _series(self.rows)

    @cached_property
    def miss(self) -> Array | None:
        """Return the miss of each reach, (n,), degrees; None without a reference or a perturbed reach."""
        if self.reference is None or self.perturbed.empty:
            return None
        return series.miss_deg(self.reference, self.reaches["perturbation_scale"].to_numpy(dtype=np.float64))

    @cached_property
    def relative(self) -> tuple[Array, Array] | None:
        """Return the error and adaptation (n,) of each reach as shares of the miss; None if no miss is large enough.

        At a cup with a too small miss, they are shares of the mean miss.
        """
        if self.reference is None or self.miss is None:
            return None
        is_large = np.abs(self.miss) >= series.LEAST_MISS_DEG
        if not np.any(is_large):
            return None
        miss = np.where(is_large, self.miss, np.copysign(float(np.mean(np.abs(self.miss[is_large]))), self.miss))
        error = self.series.corrected_error_deg()
        return error / miss, wrapped_degrees(self.reference.corrected_error_deg() - error) / miss


def lamps_decide(perturbed: pd.DataFrame) -> bool:
    """Return whether reaches of a protocol with lamps are perturbed to both sides."""
    if "context" not in perturbed or perturbed["context"].isna().all():
        return False
    scale = perturbed["perturbation_scale"]
    return bool((scale > 0.0).any() and (scale < 0.0).any())


MeasureFunction = Callable[[Run], Measured]


def within_reach(run: Run) -> Measured:
    """Yield T_c, correction onset, t50, t90, overshoot, attempts and tips of reaches with an onset within the reach."""
    if run.with_onset_within_reach.empty:
        return
    for metric, column, average in WITHIN:
        values = run.with_onset_within_reach[column].to_numpy(dtype=np.float64)
        known = values[~np.isnan(values)]
        yield metric, float(average(known)) if len(known) else math.nan
    yield "attempts", float(run.with_onset_within_reach["attempts"].mean())
    yield "tips", float(run.with_onset_within_reach["tipped"].mean())
    if run.perturbed.empty:
        yield "time_to_success_s", float(run.with_onset_within_reach["time_to_success_s"].mean())
        yield "success", float(run.with_onset_within_reach["success"].mean())


def force_channel(run: Run) -> Measured:
    """Yield measures of the compensation of a lasting force field, from channel trials.

    The compensation in a channel trial is its channel index minus the mean of the last ten channel trials of the
    baseline, as a share of the field in that trial.
    """
    channel = run.rows[run.rows["channel_index"].notna()].sort_values("trial")
    perturbed = channel[channel["block"] == PERTURBED]
    if not run.is_lasting or perturbed.empty:
        return
    of_baseline = channel[channel["block"] == BASELINE].tail(series.BASELINE_REACHES)
    baseline = of_baseline["channel_index"].to_numpy(dtype=np.float64)
    index = perturbed["channel_index"].to_numpy(dtype=np.float64) - (float(np.mean(baseline)) if len(baseline) else 0.0)
    field = perturbed["perturbation_scale"].to_numpy(dtype=np.float64)
    reach = perturbed["trial_in_block"].to_numpy(dtype=np.float64)

    def compensation(trials: Any) -> float:
        return float(index[trials] @ field[trials] / max(float(field[trials] @ field[trials]), 1e-12))

    early = reach <= series.L30_REACHES
    yield "channel_index_early", compensation(early) if np.any(early) else math.nan
    yield "channel_index_late", compensation(slice(-LATE_CHANNEL_TRIALS, None))
    if field[0] != 0.0 and len(set(np.abs(field).tolist())) == 1:
        share = index / field
        asymptote, tau = series.fit_exponential(share, reach)
        yield "channel_reaches_to_63", series.reaches_to_63(1.0 - share, reach)
        yield "channel_asymptote", asymptote
        yield "channel_tau", tau


def launch(run: Run) -> Measured:
    """Yield L30, N63, A, tau, the after-effect and the other `series_measures` of a lasting perturbation.

    If lamps determine the side, learning takes long: L30, N63, A and tau are left out, the late error is computed from
    the last tenth of the perturbed reaches, and `halving_reaches` is added. Both use launch errors without baseline
    correction, because after thousands of reaches to both sides the baseline no longer measures the bias.
    """
    if not (run.is_lasting or run.is_cued) or run.miss is None or run.reference is None:
        return
    scales = run.perturbed["perturbation_scale"]
    side = -1.0 if (scales < 0.0).any() else 1.0
    measures = series.series_measures(run.series, side * run.miss, _at_washout_onset(run))
    perturbed = run.series.block == PERTURBED
    if run.is_cued:
        error, miss = run.series.launch_error_deg[perturbed], run.miss[perturbed]
        last = -max(1, len(error) // 10)
        measures = {name: value for name, value in measures.items() if name not in ("L30", *TIME_COURSE)}
        measures["late_error"] = series.relative_error(error[last:], miss[last:])
        measures["halving_reaches"] = series.halving_reaches(error, miss)
    elif scales.nunique() > 1:
        # On a ramp the miss grows from reach to reach: errors are shares of it, and time courses are undefined.
        error, miss = (reaches.corrected_error_deg()[perturbed] for reaches in (run.series, run.reference))
        measures = {name: value for name, value in measures.items() if name not in TIME_COURSE}
        measures["L30"] = series.relative_error(error[: series.L30_REACHES], miss[: series.L30_REACHES])
        measures["late_error"] = series.relative_error(error[-series.LATE_REACHES :], miss[-series.LATE_REACHES :])
    if WASHOUT not in run.series.block[int(np.argmax(perturbed)) :]:
        measures.pop("after_effect")
    yield from measures.items()


def _at_washout_onset(run: Run) -> Array | None:
    """Return corrected launch errors (n,) of the first visit to each cup, with the learner as at the washout's start.

    They are NaN for all other reaches. Return None if they were not recorded, as in a person's trials.
    """
    launched = _series(run.rows, WASHOUT_ONSET_LAUNCH_ERROR).launch_error_deg
    is_known = np.isfinite(launched)
    if not np.any(is_known):
        return None
    at_onset = replace(run.series, launch_error_deg=np.where(is_known, launched, run.series.launch_error_deg))
    return np.where(is_known, at_onset.corrected_error_deg(), math.nan)


def switching(run: Run) -> Measured:
    """Yield the mean error at each rate of an alternating perturbation, and the fastest rate that is followed."""
    if run.relative is None or not run.flips:
        return
    error, _ = run.relative
    block_number = run.reaches["block_number"].to_numpy()
    at_flip = {}
    for number, every in run.flips.items():
        at_flip[every], mean = series.switching_error(error[block_number == number], every)
        yield f"switching_{every}", mean
    yield "fastest_switch", series.fastest_switch(at_flip)


def memory_measures(run: Run) -> Measured:
    """Yield savings or interference and kept adaptation, retention, rebound and two states, and generalisation.

    The blocks of a run determine which of these it has.
    """
    if run.relative is None:
        return
    error, adaptation = run.relative
    block = run.series.block
    blocks = set(block.tolist())
    if RELEARNED in blocks:
        first, again = block == PERTURBED, block == RELEARNED
        if blocks & {OPPOSITE, OTHER}:
            yield "interference", series.interference(error[first], error[again])
            yield "kept", series.kept(adaptation[first], adaptation[again])
        else:
            yield "savings", series.savings(error[first], error[again])
    if UNSEEN in blocks:
        yield "retention", series.retention(adaptation[block == PERTURBED], adaptation[block == UNSEEN])
    if CLAMP in blocks and OPPOSITE in blocks:
        yield "rebound", series.rebound(adaptation[block == CLAMP])
        is_unseen = np.isin(block, WITHOUT_ERROR)
        scale = np.where(is_unseen, 0.0, run.reaches["perturbation_scale"].to_numpy(dtype=np.float64))
        yield from vars(fit_two_states(adaptation, scale, ~is_unseen)).items()
    if PROBED in blocks:
        to_cup = run.series.cup - np.array(START_HAND_M)
        bearing = np.degrees(np.arctan2(to_cup[:, 1], to_cup[:, 0]))
        trained = np.unique(bearing[block == PERTURBED])
        if len(trained) == 1:
            angle = np.abs(wrapped_degrees(bearing - trained[0]))[block == PROBED]
            for degrees, share in series.generalisation(adaptation[block == PROBED], angle).items():
                yield f"generalisation_{degrees}", share


# All functions of measures, in the order of their rows. `reach.study.report.metrics` has the labels in reports.
MEASURES: list[MeasureFunction] = [within_reach, force_channel, launch, switching, memory_measures]


def register(measure: MeasureFunction) -> MeasureFunction:
    """Add a function of measures and return it; used as a decorator.

        @register
        def late_launch(run: Run) -> Measured:
            if not run.perturbed.empty:
                yield "late_launch_deg", float(run.perturbed["launch_error_deg"].tail(10).abs().mean())

    The function yields nothing for runs without the measure, and its names must differ from those of other functions.

    Raises:
        ValueError: the function is already registered.
    """
    if measure in MEASURES:
        raise ValueError(f"expected a new measure, got {measure.__name__}, which is registered")
    MEASURES.append(measure)
    return measure


def _by_cup(rows: pd.DataFrame, reaches: TrialSeries, values: Array, default: float) -> Array:
    """Return for all trials, including probes, the value of the reaches to the trial's cup, one value per cup."""
    known = {tuple(cup): float(value) for cup, value in zip(reaches.cup, values, strict=True) if math.isfinite(value)}
    return np.array([known.get((x, y), default) for x, y in zip(rows["cup_x"], rows["cup_y"], strict=True)])


def with_misses(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with launch errors minus their baseline, and a column `miss_deg` with the miss at each cup.

    Probes are corrected by the same baseline as reaches to the same cup. The miss is signed and for a positive scale;
    NaN if unknown.
    """
    # Index labels may occur more than once, so rows are addressed by position.
    placed = trials.reset_index(drop=True)
    result = placed.assign(miss_deg=math.nan)
    for rows, reference in _with_references(_completed(placed)):
        launched = _series(rows)
        baseline = _by_cup(rows, launched, launched.launch_error_deg - launched.corrected_error_deg(), default=0.0)
        # The difference may exceed half a turn.
        result.loc[rows.index, LAUNCH] = wrapped_degrees(rows[LAUNCH].to_numpy(dtype=np.float64) - baseline)
        if reference is not None:
            scale = _reaches(rows)["perturbation_scale"].to_numpy(dtype=np.float64)
            miss = series.miss_deg(reference, scale)
            result.loc[rows.index, "miss_deg"] = _by_cup(rows, reference, miss, default=math.nan)
    return result.set_axis(trials.index)


def adaptation_index(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the reaches of each learner's first perturbed block with their adaptation index.

    The index is 1 minus the launch error over the miss of the same learner with learning off at the same cup: 0 for no
    correction, 1 for a full one. Reaches to cups with a miss below 2 degrees are left out.

    Returns:
        Columns learner, protocol, seed, trial_in_block, index.
    """
    trials = with_misses(_completed(trials))
    reaches = trials[(trials["block"] == PERTURBED) & ~trials["probe"]]
    first = reaches.groupby(KEYS)["block_number"].transform("min")
    counted = reaches[(reaches["block_number"] == first) & (reaches["miss_deg"].abs() >= series.LEAST_MISS_DEG)]
    index: pd.DataFrame = counted.assign(index=1.0 - counted[LAUNCH] / counted["miss_deg"])
    return index[[*KEYS, "trial_in_block", "index"]]


# Initial values for the fit of two states: fast retention and rate, slow retention and rate; first those of the paper.
STARTS = ((0.59, 0.21, 0.992, 0.02), (0.8, 0.1, 0.999, 0.05), (0.3, 0.4, 0.95, 0.1), (0.9, 0.3, 0.98, 0.01))
ONE_STATE_STARTS = ((0.98, 0.1), (0.8, 0.4))
# A second state is accepted if it improves the fit by an F test at level FIT_LEVEL, unless one state fits exactly, with
# a squared error below EXACT per reach.
FIT_LEVEL = 0.01
EXACT = 1e-12
FEWEST_REACHES = 8


@dataclass(frozen=True)
class TwoStates:
    """The two-state model of motor memory, with a fast and a slow process, fitted to a series of reaches.

    Smith, Ghazizadeh and Shadmehr 2006 (PLoS Biol 4:e179), eq. 1: with the error e(n) = p(n) - x(n) of reach n,

        fast(n+1) = A_f fast(n) + B_f e(n),  slow(n+1) = A_s slow(n) + B_s e(n),  x = fast + slow.

    After a long A and a short B the two states cancel. Without errors the fast state decays, and the slow state becomes
    visible, which is spontaneous recovery.

    Attributes:
        fast_retention, slow_retention: A, share of the state retained from reach to reach, 0..1; A_f < A_s.
        fast_rate, slow_rate: B, share of the error learned per reach, 0..1. Fast retention and rate are NaN if one
            state fits equally well.
    """

    fast_retention: float
    fast_rate: float
    slow_retention: float
    slow_rate: float


def simulate(states: Sequence[Sequence[float]], perturbation: Array, has_error: NDArray[np.bool_]) -> Array:
    """Return the adaptation (n,) in each reach, the sum of the states, as a share of the perturbation.

    Args:
        states: retention and rate of each state.
        perturbation: (n,) p of each reach: 1 for A, -1 for its opposite, 0 for none.
        has_error: (n,) whether the error is visible; False in an error clamp and without sight of the hand.
    """
    values, adaptation = [0.0] * len(states), []
    for size, learns in zip(perturbation.tolist(), has_error.tolist(), strict=True):
        adaptation.append(sum(values))
        error = size - adaptation[-1] if learns else 0.0
        values = [retention * value + rate * error for value, (retention, rate) in zip(values, states, strict=True)]
    return np.array(adaptation)


def fit_two_states(adaptation: Array, perturbation: Array, has_error: NDArray[np.bool_]) -> TwoStates:
    """Fit two states to the adaptation of a series of reaches by least squares.

    Args:
        adaptation: (n,) share of the perturbation; NaN for a reach to leave out.
        perturbation, has_error: as for `simulate`.

    Raises:
        ValueError: fewer than 8 reaches have a value.
    """
    known = np.isfinite(adaptation)
    n = int(np.sum(known))
    if n < FEWEST_REACHES:
        raise ValueError(f"adaptation: expected {FEWEST_REACHES} or more finite values, got {n}")

    def residual(parameters: Array) -> Array:
        return (simulate(parameters.reshape(-1, 2).tolist(), perturbation, has_error) - adaptation)[known]

    def best(starts: tuple[tuple[float, ...], ...]) -> tuple[float, Array]:
        """Return the smallest squared error over the initial values, and its parameters."""
        settings: dict[str, Any] = {"bounds": (0.0, 1.0), "x_scale": 0.1, "xtol": 1e-12, "ftol": 1e-12}
        fit = min((least_squares(residual, start, **settings) for start in starts), key=lambda fit: float(fit.cost))
        return 2.0 * float(fit.cost), np.asarray(fit.x)

    error_of_one, (retention, rate) = best(ONE_STATE_STARTS)
    if error_of_one > EXACT * n:
        error_of_two, parameters = best(STARTS)
        # Tail probability of an F statistic with 2 and n - 4 degrees of freedom.
        if (error_of_two / error_of_one) ** (0.5 * (n - 4)) < FIT_LEVEL:
            fast, slow = sorted(parameters.reshape(2, 2).tolist())
            return TwoStates(fast[0], fast[1], slow[0], slow[1])
    return TwoStates(math.nan, math.nan, float(retention), float(rate))
