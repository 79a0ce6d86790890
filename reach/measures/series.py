"""Measure a series of reaches: how fast and how far the launch errors of one learner fall (L30, N63, A, tau ...).

The *miss* is the launch error that the perturbation causes without learning. Errors are given as shares of the miss.

The second part measures savings, interference, retention and recovery, in protocols that repeat a perturbation or
remove its errors. There the miss is the launch error of the same learner with learning off, in the same trial with the
same noise: 1 is the whole miss, on the side to which the perturbation deviates the hand. *Adaptation* is the share of
the miss that learning has removed. The launch error of a reach in which the hand did not move is NaN. It counts as an
error of 1, and is left out of adaptation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reach.measures.reach import wrapped_degrees
from reach.sim.layout import TRIAL_S, Array
from reach.sim.tasks import REACH_RADIUS_M

BASELINE_REACHES = 10
L30_REACHES = 30
N63_WINDOW = 4
N63_THRESHOLD = 0.368
# Smallest miss, degrees, that can be distinguished from the scatter of launches.
LEAST_MISS_DEG = 2.0
LATE_REACHES = 10
HALVING_WINDOW = 50
# Largest distance from the cup at which a reach may stop for success.
ON_TARGET_CM = 100.0 * REACH_RADIUS_M
AMPLITUDE_BOUNDS = (-0.5, 1.5)
TAU_BOUNDS_REACHES = (0.3, 300.0)
LEAST_AMPLITUDE = 0.1
# Significance level of F tests for a fit.
FIT_LEVEL = 0.01
EARLY_REACHES = 10
# Smallest adaptation for which memory measures are defined.
LEAST_ADAPTATION = 0.1
# Range of reaches in which recovery is measured: in an error clamp the fast process of learning decays in about five
# reaches, the slow process over many more.
REBOUND_FROM, REBOUND_UNTIL = 5, 25
REBOUND_START = 2


@dataclass(frozen=True)
class TrialSeries:
    """The reaches of one learner through one protocol with one seed, in order, without probes.

    Attributes:
        launch_error_deg: (n,) launch errors, degrees, without baseline correction.
        block: (n,) names of blocks, such as "baseline", "perturbed" and "washout".
        cup: (n, 2) m, positions of the cups.
        endpoint_error_cm, time_to_success_s: (n,), NaN where undefined.
        success: (n,), whether the reach succeeded.
    """

    launch_error_deg: Array
    block: NDArray[np.str_]
    cup: Array
    endpoint_error_cm: Array
    time_to_success_s: Array
    success: NDArray[np.bool_]

    def corrected_error_deg(self) -> Array:
        """Return launch errors (n,), degrees, minus the mean of the last ten baseline reaches.

        If two or more of these ten reaches went to the same cup as a reach, only they enter its mean, because even
        unperturbed launches deviate slightly in some directions.
        """
        baseline = np.flatnonzero(self.block == "baseline")[-BASELINE_REACHES:]
        if len(baseline) == 0:
            return self.launch_error_deg.copy()
        error = self.launch_error_deg[baseline]
        corrected = self.launch_error_deg - finite_mean(error)
        for cup in np.unique(self.cup, axis=0):
            error_at_cup = error[np.all(self.cup[baseline] == cup, axis=1)]
            if np.sum(np.isfinite(error_at_cup)) >= 2:
                at_cup = np.all(self.cup == cup, axis=1)
                corrected[at_cup] = self.launch_error_deg[at_cup] - finite_mean(error_at_cup)
        return wrapped_degrees(corrected)


def finite_mean(values: Array) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else math.nan


def miss_deg(without_learning: TrialSeries, scale: Array | None = None) -> Array:
    """Return the miss of each reach, (n,), degrees: the launch error that the perturbation causes without learning.

    The miss is the mean corrected launch error over all perturbed reaches to the same cup, or over all perturbed
    reaches if none went to this cup. Reaches with a scale of 0 are not perturbed.

    Args:
        without_learning: the reaches of the same learner with learning off, or of a learner that never learns.
        scale: (n,) size of the perturbation in each reach, negative for the opposite; None for 1 in all reaches. The
            miss is that of a positive scale.

    Returns:
        Signed as launch errors are; NaN if the hand did not move in any perturbed reach.
    """
    error = without_learning.corrected_error_deg()
    perturbed = without_learning.block == "perturbed"
    if scale is not None:
        error = np.where(scale < 0.0, -error, error)
        perturbed &= scale != 0.0
    miss = np.full(len(error), finite_mean(error[perturbed]))
    for cup in np.unique(without_learning.cup[perturbed], axis=0):
        at_cup = np.all(without_learning.cup == cup, axis=1)
        mean = finite_mean(error[perturbed & at_cup])
        if math.isfinite(mean):
            miss[at_cup] = mean
    return miss


def series_measures(
    series: TrialSeries, miss: Array | float, after_effect_deg: Array | None = None
) -> dict[str, float]:
    """Return measures of how fast and how far a learner corrected from reach to reach.

    An error enters by its absolute value as a share of the miss at the same cup, so an overshoot counts as an error. A
    perturbed reach in which the hand did not move counts as the whole miss. Cups are weighted by the size of their
    miss. N63, A, tau and the after-effect leave out cups with a miss below 2 degrees; if no cup is left, all measures
    relative to the miss are NaN. Scatter of launches biases A and tau slightly downwards, because the absolute value of
    an error with mean 0 is above 0.

    Args:
        series: the learner's reaches, one or more of them perturbed.
        miss: (n,) degrees, the miss of each reach, from `miss_deg`; or one number for all.
        after_effect_deg: (n,) degrees, launch errors that define the after-effect, NaN for all other reaches; None to
            use the first washout reach.

    Returns:
        L30: mean |error| of the first 30 perturbed reaches over the mean miss of the same reaches (1 = learns nothing).
        N63: first perturbed reach whose running median of four is below 0.368 of the miss; inf if there is none.
        A, tau: of A (1 - exp(-(n - 1) / tau)), fitted to 1 - |error| / miss; tau in reaches, NaN if A does not differ
            from 0 (see `fit_exponential`).
        late_error: as L30, of the last ten perturbed reaches.
        after_effect: launch error over the miss, without the perturbation and before any unlearning; negative if
            opposite to the miss.
        endpoint_early_cm, endpoint_late_cm: mean endpoint error of the first and last ten perturbed reaches.
        time_to_success_s: mean over the successful perturbed reaches.
        seconds_lost: mean time to success of the first 30 perturbed reaches minus that of the last ten baseline
            reaches, with the trial limit of 3 s for a reach without success; NaN if the baseline has no success.
        on_target: share of perturbed reaches whose first movement ends within 2 cm of the seen cup.
        success: share of perturbed reaches that end in success, including corrections by visual feedback.
    """
    perturbed = series.block == "perturbed"
    miss = np.broadcast_to(np.asarray(miss, dtype=np.float64), perturbed.shape)
    corrected = series.corrected_error_deg()
    endpoint = series.endpoint_error_cm[perturbed]
    return {
        **_relative_to_the_miss(corrected[perturbed], miss[perturbed]),
        "after_effect": _after_effect(series, miss, corrected, after_effect_deg),
        "endpoint_early_cm": finite_mean(endpoint[:LATE_REACHES]),
        "endpoint_late_cm": finite_mean(endpoint[-LATE_REACHES:]),
        "time_to_success_s": finite_mean(series.time_to_success_s[perturbed]),
        "seconds_lost": _seconds_lost(series),
        "on_target": float(np.mean(endpoint < ON_TARGET_CM)),
        "success": float(np.mean(series.success[perturbed])),
    }


def _relative_to_the_miss(error: Array, miss: Array) -> dict[str, float]:
    """Return L30, N63, A, tau and late_error from errors (n,) and misses (n,) of perturbed reaches, degrees."""
    miss = np.abs(miss)
    error = np.where(np.isfinite(error), np.abs(error), miss)
    is_large = miss >= LEAST_MISS_DEG
    if not np.any(is_large):
        return dict.fromkeys(("L30", "N63", "A", "tau", "late_error"), math.nan)
    number: Array = np.flatnonzero(is_large).astype(np.float64) + 1.0
    share = error[is_large] / miss[is_large]
    amplitude, tau = fit_exponential(1.0 - share, number - 1.0, weight=miss[is_large] ** 2)
    return {
        "L30": relative_error(error[:L30_REACHES], miss[:L30_REACHES]),
        "N63": reaches_to_63(share, number),
        "A": amplitude,
        "tau": tau,
        "late_error": relative_error(error[-LATE_REACHES:], miss[-LATE_REACHES:]),
    }


def relative_error(error: Array, miss: Array) -> float:
    """Return the sum of |errors| (n,) over the sum of |misses| (n,); NaN if all misses are 0 or NaN.

    A NaN error counts as the whole miss; a reach with a NaN miss is left out.
    """
    known = np.isfinite(miss)
    size = np.abs(miss[known])
    left = np.where(np.isfinite(error), np.abs(error), np.abs(miss))[known]
    return float(np.sum(left) / np.sum(size)) if np.any(size > 0.0) else math.nan


def _after_effect(series: TrialSeries, miss: Array, corrected: Array, after_effect_deg: Array | None) -> float:
    if after_effect_deg is None:
        after_effect_deg = np.full(len(miss), math.nan)
        start = int(np.argmax(series.block == "perturbed"))
        first = start + np.flatnonzero(series.block[start:] == "washout")[:1]
        after_effect_deg[first] = corrected[first]
    read = np.isfinite(after_effect_deg) & (np.abs(miss) >= LEAST_MISS_DEG)
    if not np.any(read):
        return math.nan
    return float(np.sum(after_effect_deg[read] * np.sign(miss[read])) / np.sum(np.abs(miss[read])))


def _seconds_lost(series: TrialSeries) -> float:
    time_s = np.where(series.success, series.time_to_success_s, TRIAL_S)
    baseline = np.flatnonzero(series.block == "baseline")[-BASELINE_REACHES:]
    if not np.any(series.success[baseline]):
        return math.nan
    return finite_mean(time_s[series.block == "perturbed"][:L30_REACHES]) - finite_mean(time_s[baseline])


def reaches_to_63(share: Array, number: Array | None = None) -> float:
    """Return the first reach at which the median of the last four |errors| is below 0.368; infinity if there is none.

    Args:
        share: (n,) errors as shares of the miss.
        number: (n,) number of each reach; None for 1, 2, 3 ...
    """
    if len(share) < N63_WINDOW:
        return math.inf
    medians = np.median(sliding_window_view(np.abs(share), N63_WINDOW), axis=1)
    reached = np.flatnonzero(medians < N63_THRESHOLD)
    if not len(reached):
        return math.inf
    last = N63_WINDOW - 1 + int(reached[0])
    return last + 1.0 if number is None else float(number[last])


def halving_reaches(error: Array, miss: Array) -> float:
    """Return the first reach at which the last 50 |errors| sum to less than half of their |misses|, else infinity.

    A NaN error counts as the whole miss.

    Args:
        error, miss: (n,) degrees, of perturbed reaches, as for `relative_error`.

    Returns:
        50 or more; NaN if all misses are NaN.
    """
    known = np.isfinite(miss)
    if not np.any(known):
        return math.nan
    if len(error) < HALVING_WINDOW:
        return math.inf
    size = np.where(known, np.abs(miss), 0.0)
    left = np.where(np.isfinite(error) & known, np.abs(error), size)
    summed, whole = (sliding_window_view(values, HALVING_WINDOW).sum(axis=1) for values in (left, size))
    halved = np.flatnonzero(summed < 0.5 * whole)
    return float(HALVING_WINDOW + halved[0]) if len(halved) else math.inf


def fit_exponential(adaptation: Array, before: Array | None = None, weight: Array | None = None) -> tuple[float, float]:
    """Return A and tau (reaches) of A (1 - exp(-(n - 1) / tau)) by least squares, A in [-0.5, 1.5], tau in [0.3, 300].

    The best A for a given tau has a closed form, so only tau is searched, on successively finer grids. tau is NaN if A
    does not differ from 0: |A| is 0.1 or less, or the curve does not fit better than zero by an F test with 2 and n - 2
    degrees of freedom at 1 %. The tail probability of this test is (squared error of the curve / squared error of zero)
    ** ((n - 2) / 2).

    Args:
        adaptation: (n,) adaptation in each reach, 0 for none and 1 for the whole miss.
        before: (n,) number of perturbed reaches before each reach; None for 0, 1, 2 ...
        weight: (n,) weight of the squared deviation of each reach, 0 or more; None for 1.
    """
    n = np.arange(len(adaptation), dtype=np.float64) if before is None else before
    weight = np.ones(len(adaptation)) if weight is None else weight

    def best_amplitude(tau: float) -> tuple[float, float]:
        """Return the squared error and the best A for a tau."""
        shape = 1.0 - np.exp(-n / tau)
        amplitude = float((weight * shape) @ adaptation / max(float((weight * shape) @ shape), 1e-12))
        amplitude = min(AMPLITUDE_BOUNDS[1], max(AMPLITUDE_BOUNDS[0], amplitude))
        return float(weight @ (adaptation - amplitude * shape) ** 2), amplitude

    low, high = (math.log(bound) for bound in TAU_BOUNDS_REACHES)
    for _ in range(6):
        grid = np.linspace(low, high, 41)
        k = int(np.argmin([best_amplitude(math.exp(x))[0] for x in grid]))
        low, high = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, 40)])
    tau = math.exp(0.5 * (low + high))
    error, amplitude = best_amplitude(tau)
    error_of_zero = float(weight @ adaptation**2)
    is_significant = error_of_zero > 0.0 and (error / error_of_zero) ** max(0.5 * len(n) - 1.0, 0.0) < FIT_LEVEL
    return amplitude, tau if is_significant and abs(amplitude) > LEAST_AMPLITUDE else math.nan


def _sizes(error: Array) -> Array:
    """Return |error|, (n,), with 1 for NaN."""
    return np.abs(np.where(np.isfinite(error), error, 1.0))


def early_error(error: Array) -> float:
    """Return L10: mean |error| of the first ten reaches."""
    return float(np.mean(_sizes(error)[:EARLY_REACHES]))


def savings(first: Array, again: Array) -> float:
    """Return savings, 1 - L10'/L10: the reduction of errors when a perturbation returns after a washout.

    Adaptation that remains after the washout counts as savings.

    Args:
        first, again: (n,) errors of the first and the repeated block.

    Returns:
        0 for no savings; NaN if the first block has no errors.
    """
    error = early_error(first)
    return 1.0 - early_error(again) / error if error > 0.0 else math.nan


def interference(first: Array, again: Array) -> float:
    """Return interference, L10'/L10 - 1: the increase of errors in A after one or several other perturbations B.

    B is not washed out, so the result includes the after-effect of B, which adds to the miss of A.

    Args:
        first, again: (n,) errors of the first and the repeated block.

    Returns:
        0 for no interference, -1 for no errors in the repeated block; NaN if the first block has no errors.
    """
    error = early_error(first)
    return early_error(again) / error - 1.0 if error > 0.0 else math.nan


def kept(trained: Array, again: Array) -> float:
    """Return adaptation in the first reach of a repeated block, as a share of that in the last ten of the first block.

    Args:
        trained, again: (n,) adaptation in the first and the repeated block.

    Returns:
        1 for no loss; below 0 if the hand launches to the side opposite to its correction, so that the error exceeds
        the miss; NaN if adaptation was below 0.1.
    """
    learned = finite_mean(trained[-LATE_REACHES:])
    return float(again[0]) / learned if learned >= LEAST_ADAPTATION else math.nan


def retention(trained: Array, unseen: Array) -> float:
    """Return adaptation in the last ten reaches without sight of the hand, as a share of that in the last ten with it.

    Args:
        trained, unseen: (n,) adaptation in the blocks with and without sight of the hand.

    Returns:
        1 for no loss; NaN if adaptation was below 0.1.
    """
    learned = finite_mean(trained[-LATE_REACHES:])
    return finite_mean(unseen[-LATE_REACHES:]) / learned if learned >= LEAST_ADAPTATION else math.nan


def rebound(clamp: Array) -> float:
    """Return spontaneous recovery of A: adaptation in reaches 6 to 25 of the clamp above that in its first two, or 0.

    Adaptation to A that remains at the start of the clamp is not recovery, and neither is a decay of B towards 0.

    Args:
        clamp: (n,) adaptation to A in the error clamp that follows a short B.

    Returns:
        Share of the miss, 0 for no recovery.
    """
    return max(0.0, finite_mean(clamp[REBOUND_FROM:REBOUND_UNTIL]) - max(0.0, finite_mean(clamp[:REBOUND_START])))


def reaches_between_flips(scale: Array) -> int | None:
    """Return the number of reaches between two flips of an alternating perturbation; None if it does not alternate.

    Args:
        scale: (n,) size of the perturbation in each reach, 1 or -1.
    """
    changed = np.flatnonzero(scale != scale[0]) if len(scale) else np.zeros(0, dtype=np.int64)
    if not len(changed) or scale[0] == 0.0:
        return None
    every = int(changed[0])
    alternating = np.where(np.arange(len(scale)) // every % 2, -scale[0], scale[0])
    return every if np.array_equal(scale, alternating) else None


def switching_error(error: Array, every: int) -> tuple[float, float]:
    """Return the remaining error under an alternating perturbation, just before a flip and on average.

    Reaches before the first flip are left out, because nothing was learned in the other direction before.

    Args:
        error: (n,) error of each reach, as a share of the miss.
        every: number of reaches between two flips.

    Returns:
        Median |error| of the last reaches before a flip, and mean |error|.
    """
    sizes = _sizes(error)[every:]
    ends = sizes[every - 1 :: every]
    return float(np.median(ends)) if len(ends) else math.nan, float(np.mean(sizes)) if len(sizes) else math.nan


def fastest_switch(error_at_flip: dict[int, float]) -> float:
    """Return the smallest number of reaches between flips that the learner can follow; infinite if there is none.

    The learner follows if less than 0.368 of the miss remains at the last reach before a flip (63 % is corrected, as in
    N63), at this and all larger numbers of reaches.

    Args:
        error_at_flip: error before a flip, from `switching_error`, by number of reaches between flips.
    """
    fastest = math.inf
    for every in sorted(error_at_flip, reverse=True):
        if not error_at_flip[every] < N63_THRESHOLD:
            break
        fastest = float(every)
    return fastest


def generalisation(adaptation: Array, angle: Array) -> dict[int, float]:
    """Return adaptation in each direction as a share of that in the trained direction.

    Args:
        adaptation: (n,) adaptation in the reaches of a block without errors.
        angle: (n,) unsigned angle between the cup of the reach and the trained cup, degrees.

    Returns:
        Shares by rounded angle above 0; NaN if adaptation in the trained direction is below 0.1.
    """
    rounded = np.rint(angle).astype(np.int64)
    trained = finite_mean(adaptation[rounded == 0])
    is_known = trained >= LEAST_ADAPTATION
    return {
        int(degrees): finite_mean(adaptation[rounded == degrees]) / trained if is_known else math.nan
        for degrees in np.unique(rounded)
        if degrees > 0
    }
