"""From one recorded reach to its measures, and from many reaches to measures of correction.

Within a reach everything is taken from the true course of the hand, put through the visual map of that trial: direction
errors are errors of what is seen. Across reaches the launch error counts, read before delayed vision can act on the
movement: it shows what has been learned, not what feedback mends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reach.sim.layout import TRIAL_S
from reach.sim.tasks import REACH_RADIUS_M

Array = NDArray[np.float64]

ONSET_SPEED_M_S = 0.05
# Vision needs 0.10 s and the command filter 0.04 s: what the hand does in the first 0.12 s was settled before it set
# out.
LAUNCH_WINDOW_S = 0.12
STOP_SPEED_M_S = 0.05
STOP_SHARE_OF_PEAK = 0.25
LATEST_ENDPOINT_S = 1.0
ATTEMPT_SPEED_M_S = 0.10
CLOSED_APERTURE_M = 0.06
OPEN_APERTURE_M = 0.08

BASELINE_REACHES = 10
L30_REACHES = 30
N63_WINDOW = 4
N63_THRESHOLD = 0.368
# A smaller miss, degrees, cannot be told from the scatter of a launch.
LEAST_MISS_DEG = 2.0
LATE_REACHES = 10
# How near to the cup a reach has to stop for success.
ON_TARGET_CM = 100.0 * REACH_RADIUS_M
AMPLITUDE_BOUNDS = (-0.5, 1.5)
TAU_BOUNDS_REACHES = (0.3, 300.0)
LEAST_AMPLITUDE = 0.1
FIT_LEVEL = 0.01


@dataclass(frozen=True)
class ReachRecord:
    """One reach, one row a control step, the first at reset.

    Attributes:
        time_s: (T,) s.
        hand: (T, 2) m, true.
        seen_hand, seen_cup: (T, 2) m, where the visual map puts them at that moment, without delay or noise.
        speed: (T,) m/s, of the true hand.
        aperture: (T,) m.
        held: (T,), whether the fingers hold the cup.
        success, tipped: how the reach ended.
        reward: sum over the reach.
    """

    time_s: Array
    hand: Array
    seen_hand: Array
    seen_cup: Array
    speed: Array
    aperture: Array
    held: NDArray[np.bool_]
    success: bool
    tipped: bool
    reward: float

    def __post_init__(self) -> None:
        rows = len(self.time_s)
        if rows == 0:
            raise ValueError("time_s has 0 rows; 1 or more are allowed")
        for name in ("hand", "seen_hand", "seen_cup"):
            if getattr(self, name).shape != (rows, 2):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; ({rows}, 2) is allowed")
        for name in ("speed", "aperture", "held"):
            if getattr(self, name).shape != (rows,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; ({rows},) is allowed")


@dataclass(frozen=True)
class ReachMeasures:
    """Measures of one reach.

    Attributes:
        launch_error_deg: direction of the seen hand's launch less the direction of the seen cup, counter-clockwise
            positive, in (-180, 180]; NaN when the hand did not set out.
        endpoint_error_cm: distance of the seen hand, at the end of its first movement, from where the cup was seen when
            it set out; NaN when it did not.
        time_to_success_s: NaN without success.
        success, tipped: how the reach ended.
        attempts: movements faster than 10 cm/s that stops separate, at least 1 when the hand set out, and every closing
            of the fingers on nothing after the first (that one belongs to the movement it ends).
        duration_s: of the trial.
        reward: sum over the trial.
    """

    launch_error_deg: float
    endpoint_error_cm: float
    time_to_success_s: float
    success: bool
    tipped: bool
    attempts: int
    duration_s: float
    reward: float


def measure_reach(record: ReachRecord) -> ReachMeasures:
    """All measures of one recorded reach."""
    onset = movement_onset(record.speed)
    endpoint = math.nan
    if onset is not None:
        end = first_stop(record, onset)
        endpoint = 100.0 * float(np.hypot(*(record.seen_cup[onset] - record.seen_hand[end])))
    return ReachMeasures(
        launch_error_deg=launch_error_deg(record),
        endpoint_error_cm=endpoint,
        time_to_success_s=float(record.time_s[-1]) if record.success else math.nan,
        success=record.success,
        tipped=record.tipped,
        attempts=_attempts(record, onset is not None),
        duration_s=float(record.time_s[-1] - record.time_s[0]),
        reward=record.reward,
    )


def movement_onset(speed: Array) -> int | None:
    """First row from which the hand moves faster than 5 cm/s for two rows; None if it never does."""
    fast = speed > ONSET_SPEED_M_S
    rows = np.flatnonzero(fast[:-1] & fast[1:])
    return int(rows[0]) if len(rows) else None


def wrapped_degrees(angle_deg: Array | float) -> Array:
    """An angle, in degrees, brought into (-180, 180]."""
    return -((-np.asarray(angle_deg, dtype=np.float64) + 180.0) % 360.0 - 180.0)


def launch_error_deg(record: ReachRecord) -> float:
    """The launch error of `ReachMeasures`, of a reach that may be under way still."""
    onset = movement_onset(record.speed)
    return math.nan if onset is None else direction_error_deg(record, onset, launch_row(record.time_s, onset))


def launch_row(time_s: Array, onset: int) -> int:
    """The row at which a launch is read, or the last one of a reach that ended before."""
    after = int(np.searchsorted(time_s, time_s[onset] + LAUNCH_WINDOW_S - 1e-9))
    return min(after, len(time_s) - 1)


def direction_error_deg(record: ReachRecord, onset: int, row: int) -> float:
    """Direction of the seen hand at a row less that of the cup as it was seen at onset, in (-180, 180]."""
    gone = record.seen_hand[row] - record.seen_hand[0]
    aim = record.seen_cup[onset] - record.seen_hand[0]
    angle = math.atan2(gone[1], gone[0]) - math.atan2(aim[1], aim[0])
    return float(wrapped_degrees(math.degrees(angle)))


def first_stop(record: ReachRecord, onset: int) -> int:
    """Row at which the first movement ends: a stop, or a lull below a quarter of the peak, at latest after 1 s."""
    latest = int(np.searchsorted(record.time_s, record.time_s[onset] + LATEST_ENDPOINT_S - 1e-9))
    latest = min(latest, len(record.speed) - 1)
    speed = record.speed[: latest + 1]
    peak = onset + int(np.argmax(speed[onset:]))
    for row in range(peak + 1, latest):
        lull = speed[row] < STOP_SHARE_OF_PEAK * speed[peak] and speed[row] <= min(speed[row - 1], speed[row + 1])
        if speed[row] < STOP_SPEED_M_S or lull:
            return row
    return latest


def _attempts(record: ReachRecord, set_out: bool) -> int:
    """Movements, and closings on nothing after the first; fingers that close on the cup stay wider than 6 cm."""
    moving, movements = False, 0
    for speed in record.speed.tolist():
        if not moving and speed > ATTEMPT_SPEED_M_S:
            moving, movements = True, movements + 1
        elif moving and speed < STOP_SPEED_M_S:
            moving = False
    opened, closings = False, 0
    for aperture, held in zip(record.aperture.tolist(), record.held.tolist(), strict=True):
        if opened and aperture < CLOSED_APERTURE_M and not held:
            opened, closings = False, closings + 1
        elif aperture > OPEN_APERTURE_M:
            opened = True
    return max(movements, int(set_out)) + max(closings - 1, 0)


@dataclass(frozen=True)
class TrialSeries:
    """The reaches of one learner through one protocol with one seed, in order, probes left out.

    Attributes:
        launch_error_deg: (n,) raw.
        block: (n,) names of blocks, such as "baseline", "perturbed" and "washout".
        cup: (n, 2) m.
        endpoint_error_cm, time_to_success_s: (n,), NaN where there is none.
        success: (n,).
    """

    launch_error_deg: Array
    block: NDArray[np.str_]
    cup: Array
    endpoint_error_cm: Array
    time_to_success_s: Array
    success: NDArray[np.bool_]

    def __post_init__(self) -> None:
        reaches = len(self.launch_error_deg)
        for name in ("launch_error_deg", "block", "endpoint_error_cm", "time_to_success_s", "success"):
            if getattr(self, name).shape != (reaches,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; ({reaches},) is allowed")
        if self.cup.shape != (reaches, 2):
            raise ValueError(f"cup has shape {self.cup.shape}; ({reaches}, 2) is allowed")

    def corrected_error_deg(self) -> Array:
        """Launch errors (n,) less the mean of the last ten baseline reaches.

        For a cup that two or more of those ten went to, the mean is that of the reaches to it: an arm launches a little
        aside in some directions, and that is not the perturbation's doing.
        """
        baseline = np.flatnonzero(self.block == "baseline")[-BASELINE_REACHES:]
        if len(baseline) == 0:
            return self.launch_error_deg.copy()
        error = self.launch_error_deg[baseline]
        corrected = self.launch_error_deg - _mean(error)
        for cup in np.unique(self.cup, axis=0):
            own = error[np.all(self.cup[baseline] == cup, axis=1)]
            if np.sum(np.isfinite(own)) >= 2:
                at_cup = np.all(self.cup == cup, axis=1)
                corrected[at_cup] = self.launch_error_deg[at_cup] - _mean(own)
        return wrapped_degrees(corrected)


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if len(finite) else math.nan


def miss_deg(unlearning: TrialSeries, scale: Array | None = None) -> Array:
    """Return the miss of each reach, (n,) degrees: the launch error that the perturbation causes without learning.

    It is the mean of the corrected launch error over all perturbed reaches to the same cup. A cup that was never
    perturbed has the mean over all perturbed reaches. Reaches with a scale of 0 are not perturbed.

    Args:
        unlearning: the reaches of the same learner with learning off, or of one that never learns.
        scale: (n,) size of the perturbation in each reach, negative to the other side; None for 1 throughout. The miss
            is that of a positive scale.

    Returns:
        Signed as launch errors are; NaN if no perturbed reach set out.
    """
    error = unlearning.corrected_error_deg()
    perturbed = unlearning.block == "perturbed"
    if scale is not None:
        error = np.where(scale < 0.0, -error, error)
        perturbed &= scale != 0.0
    miss = np.full(len(error), _mean(error[perturbed]))
    for cup in np.unique(unlearning.cup[perturbed], axis=0):
        at_cup = np.all(unlearning.cup == cup, axis=1)
        mean = _mean(error[perturbed & at_cup])
        if math.isfinite(mean):
            miss[at_cup] = mean
    return miss


def correction_measures(
    series: TrialSeries, miss: Array | float, after_effect_deg: Array | None = None
) -> dict[str, float]:
    """Return how fast a learner corrected.

    An error counts by its size, as a share of the miss at the same cup: an overshoot is an error too. A perturbed reach
    that never set out counts as one that kept the whole miss. In means and fits, cups count by the size of their miss.
    N63, A, tau and the after-effect leave out cups with a miss below 2 degrees; without any other cup, all measures
    relative to the miss are NaN. Scatter makes a size of an error that is 0 on average, so that A and tau come out a
    little low where the scatter is large.

    Args:
        series: the learner's reaches.
        miss: (n,) degrees, of each reach, as `miss_deg` gives it; or one for all.
        after_effect_deg: (n,) degrees, launch errors of the reaches from which the after-effect is read, NaN for all
            others; None for the first washout reach alone.

    Returns:
        L30: mean |error| of the first 30 perturbed reaches over the mean miss of the same reaches (1 = learns nothing).
        N63: first perturbed reach whose running median of four is below 0.368 of the miss; inf if none is.
        A, tau: of A (1 - exp(-(n - 1) / tau)), fitted to 1 - |error| / miss; tau in reaches, NaN where A cannot be told
            from 0 (see `fit_exponential`).
        after_effect: launch error after the perturbation has gone and before any of it has been unlearned, over the
            miss, negative to the other side than the miss.
        late_error: as L30, of the last ten perturbed reaches.
        endpoint_early_cm, endpoint_late_cm: mean endpoint error of the first and last ten perturbed reaches.
        time_to_success_s: mean over the successful perturbed reaches.
        seconds_lost: mean time to success of the first 30 perturbed reaches less that of the last ten baseline reaches,
            a reach without success counting as the trial's limit of 3 s; NaN if the baseline has no success.
        on_target: share of perturbed reaches whose first movement ends within 2 cm of the seen cup.
        success: share of perturbed reaches with success in the end, visual feedback included.

    Raises:
        ValueError: the series has no perturbed reaches, or `miss` has another length.
    """
    perturbed = series.block == "perturbed"
    if not np.any(perturbed):
        raise ValueError("the series has no perturbed reaches")
    missed = np.broadcast_to(np.asarray(miss, dtype=np.float64), perturbed.shape)
    corrected = series.corrected_error_deg()
    endpoint = series.endpoint_error_cm[perturbed]
    return {
        **_relative_to_the_miss(corrected[perturbed], missed[perturbed]),
        "after_effect": _after_effect(series, missed, corrected, after_effect_deg),
        "endpoint_early_cm": _mean(endpoint[:LATE_REACHES]),
        "endpoint_late_cm": _mean(endpoint[-LATE_REACHES:]),
        "time_to_success_s": _mean(series.time_to_success_s[perturbed]),
        "seconds_lost": _seconds_lost(series),
        "on_target": float(np.mean(endpoint < ON_TARGET_CM)),
        "success": float(np.mean(series.success[perturbed])),
    }


def _relative_to_the_miss(error: Array, miss: Array) -> dict[str, float]:
    """L30, N63, A, tau and late_error of perturbed reaches, errors and misses (n,) in degrees."""
    size = np.abs(miss)
    left = np.where(np.isfinite(error), np.abs(error), size)
    telling = size >= LEAST_MISS_DEG
    if not np.any(telling):
        return dict.fromkeys(("L30", "N63", "A", "tau", "late_error"), math.nan)
    number: Array = np.flatnonzero(telling).astype(np.float64) + 1.0
    share = left[telling] / size[telling]
    amplitude, tau = fit_exponential(1.0 - share, number - 1.0, weight=size[telling] ** 2)
    return {
        "L30": share_left(left[:L30_REACHES], size[:L30_REACHES]),
        "N63": first_corrected(share, number),
        "A": amplitude,
        "tau": tau,
        "late_error": share_left(left[-LATE_REACHES:], size[-LATE_REACHES:]),
    }


def share_left(error: Array, miss: Array) -> float:
    """Return the summed size of errors (n,) over that of their misses (n,); NaN without any miss.

    A NaN error counts as its whole miss; a reach whose miss is NaN is left out.
    """
    size = np.abs(miss[np.isfinite(miss)])
    left = np.where(np.isfinite(error), np.abs(error), np.abs(miss))[np.isfinite(miss)]
    return float(np.sum(left) / np.sum(size)) if np.any(size > 0.0) else math.nan


def _after_effect(series: TrialSeries, miss: Array, corrected: Array, given: Array | None) -> float:
    if given is None:
        given = np.full(len(miss), math.nan)
        began = int(np.argmax(series.block == "perturbed"))
        first = began + np.flatnonzero(series.block[began:] == "washout")[:1]
        given[first] = corrected[first]
    read = np.isfinite(given) & (np.abs(miss) >= LEAST_MISS_DEG)
    return float(np.sum(given[read] * np.sign(miss[read])) / np.sum(np.abs(miss[read]))) if np.any(read) else math.nan


def _seconds_lost(series: TrialSeries) -> float:
    time = np.where(series.success, series.time_to_success_s, TRIAL_S)
    baseline = np.flatnonzero(series.block == "baseline")[-BASELINE_REACHES:]
    if not np.any(series.success[baseline]):
        return math.nan
    return _mean(time[series.block == "perturbed"][:L30_REACHES]) - _mean(time[baseline])


def first_corrected(share: Array, number: Array | None = None) -> float:
    """Return the first reach at which the median of the last four sizes is below 0.368; infinity without one.

    Args:
        share: (n,) errors as shares of the miss; their size counts.
        number: (n,) number of each reach; None for 1, 2, 3 ...
    """
    for n in range(N63_WINDOW, len(share) + 1):
        if float(np.median(np.abs(share[n - N63_WINDOW : n]))) < N63_THRESHOLD:
            return float(n) if number is None else float(number[n - 1])
    return math.inf


def fit_exponential(adaptation: Array, before: Array | None = None, weight: Array | None = None) -> tuple[float, float]:
    """Return A and tau (reaches) of A (1 - exp(-(n - 1) / tau)) by least squares, A in [-0.5, 1.5], tau in [0.3, 300].

    For each tau the best A follows in closed form, so only tau is searched, ever more finely. tau is NaN where A cannot
    be told from 0: |A| is 0.1 or less, or the curve fits no better than zero by an F test with 2 and n - 2 degrees of
    freedom at 1 %, whose tail probability is (squared error of the curve / that of zero) ** ((n - 2) / 2).

    Args:
        adaptation: (n,) adaptation index of each reach, 0 for nothing and 1 for all of the miss.
        before: (n,) perturbed reaches before each; None for 0, 1, 2 ...
        weight: (n,) of the squared deviation of each reach, 0 or more; None for 1.
    """
    n = np.arange(len(adaptation), dtype=np.float64) if before is None else before
    weight = np.ones(len(adaptation)) if weight is None else weight

    def best(tau: float) -> tuple[float, float]:
        shape = 1.0 - np.exp(-n / tau)
        amplitude = float((weight * shape) @ adaptation / max(float((weight * shape) @ shape), 1e-12))
        amplitude = min(AMPLITUDE_BOUNDS[1], max(AMPLITUDE_BOUNDS[0], amplitude))
        return float(weight @ (adaptation - amplitude * shape) ** 2), amplitude

    low, high = (math.log(bound) for bound in TAU_BOUNDS_REACHES)
    for _ in range(6):
        grid = np.linspace(low, high, 41)
        k = int(np.argmin([best(math.exp(x))[0] for x in grid]))
        low, high = float(grid[max(k - 1, 0)]), float(grid[min(k + 1, 40)])
    tau = math.exp(0.5 * (low + high))
    left, amplitude = best(tau)
    whole = float(weight @ adaptation**2)
    told_apart = whole > 0.0 and (left / whole) ** max(0.5 * len(n) - 1.0, 0.0) < FIT_LEVEL
    return amplitude, tau if told_apart and abs(amplitude) > LEAST_AMPLITUDE else math.nan
