"""How fast a correction comes within one reach, against the same reach without the perturbation.

Three courses of the hand are compared. The *reach* is what the learner did. Its *twin* is the same trial, learner and
noise without the perturbation, the learner acting on what it senses there. The *open loop* is the perturbed trial under
the twin's commands: what the perturbation does to an arm that does not answer. Until the answer begins, reach and open
loop are the same to the last bit, so their difference is the answer and nothing else.

The remaining error r(t) is how far what is seen (hand from cup) still is from the twin's, along the perturbation and as
a fraction of it. The perturbation is that distance in the open loop, at its largest within the window.

The correction onset is therefore exact: the first control step in which reach and open loop differ. It is the delay
of the loop, not a matter of vigour. Data without a twin, such as recorded movements of people, allow an estimate only;
`extrapolated_latency` gives one, and its bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reach.sim.layout import CONTROL_STEP_S

Array = NDArray[np.float64]

WINDOW_S = 1.0
# (51,) s from the onset of the perturbation.
WINDOW = np.arange(round(WINDOW_S / CONTROL_STEP_S) + 1, dtype=np.float64) * CONTROL_STEP_S
# What displaces hand and cup by less, m, is no perturbation to be corrected.
LEAST_PERTURBATION_M = 0.001
# Hands that are farther apart than rounding, m, are not in the same place.
SAME_M = 1e-9
# Velocities that differ by more than rounding, m/s, are a correction.
SAME_M_S = 1e-9
# An acceleration below this, m/s2, is no correction.
LEAST_ANSWER_M_S2 = 0.05
# The first peak is looked for so long after onset: later, hands brake and run into cups.
ANSWERED_WITHIN_S = 0.4
# A bump in the acceleration is the first peak if it is at least this share of the largest.
PEAK_SHARE = 0.25
LOW_SHARE, HIGH_SHARE = 0.25, 0.75
HALF_LEFT, TENTH_LEFT = 0.5, 0.1
# Columns of a trial's row.
WITHIN_REACH = ("correction_time_s", "correction_onset_s", "t50_s", "t90_s", "overshoot")


@dataclass(frozen=True)
class Trajectory:
    """The course of one hand, a row a control step.

    Attributes:
        time_s: (T,) s, evenly spaced.
        hand: (T, 2) m, true.
        velocity: (T, 2) m/s, of the true hand.
        seen_hand, seen_cup: (T, 2) m, where the visual map puts them, without delay or noise.
    """

    time_s: Array
    hand: Array
    velocity: Array
    seen_hand: Array
    seen_cup: Array

    def __post_init__(self) -> None:
        rows = len(self.time_s)
        if rows < 2:
            raise ValueError(f"time_s has {rows} rows; 2 or more are allowed")
        for name in ("hand", "velocity", "seen_hand", "seen_cup"):
            if getattr(self, name).shape != (rows, 2):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; ({rows}, 2) is allowed")

    def until(self, time_s: Array) -> Trajectory:
        """The course at other times (s); after its end the hand stands where it stood last."""
        over = time_s > self.time_s[-1] + 1e-9

        def at(values: Array) -> Array:
            return np.stack([np.interp(time_s, self.time_s, column) for column in values.T], axis=1)

        return Trajectory(
            time_s=time_s,
            hand=at(self.hand),
            velocity=np.where(over[:, None], 0.0, at(self.velocity)),
            seen_hand=at(self.seen_hand),
            seen_cup=at(self.seen_cup),
        )

    @property
    def seen_offset(self) -> Array:
        """(T, 2) m, from the seen cup of the second row to the seen hand: a cup that is pushed is no moving target."""
        offset: Array = self.seen_hand - self.seen_cup[1]
        return offset


@dataclass(frozen=True)
class Correction:
    """What is measured of one correction.

    Attributes:
        correction_time_s: T_c, the integral of min(|r|, 1) over 1 s from onset.
        correction_onset_s: from the onset of the perturbation to the beginning of the control step in which the hand
            first moves otherwise than in the open loop, a multiple of 20 ms; NaN where it never does.
        t50_s, t90_s: from onset until half and nine tenths are corrected for the first time after the largest error;
            infinite where they are not within 1 s.
        overshoot: largest -r within 1 s, at least 0.
        remaining: (51,) r at `WINDOW`.
    """

    correction_time_s: float
    correction_onset_s: float
    t50_s: float
    t90_s: float
    overshoot: float
    remaining: Array


def measure_correction(reach: Trajectory, twin: Trajectory, open_loop: Trajectory, onset_s: float) -> Correction | None:
    """Measures of the correction in a reach; None where there is nothing to measure.

    That is where the perturbation moved neither hand nor cup, and where reach and twin had gone apart before it: a
    learner that acts at random has no twin.

    Args:
        reach: as the learner did it, perturbed.
        twin: the same without the perturbation.
        open_loop: perturbed, under the commands of the twin.
        onset_s: time of the perturbation, s.
    """
    before = min(int(np.sum(course.time_s <= onset_s + 1e-9)) for course in (reach, twin))
    if np.max(np.abs(reach.hand[:before] - twin.hand[:before])) > SAME_M:
        return None
    at = onset_s + WINDOW
    own, unperturbed, unanswered = (course.until(at) for course in (reach, twin, open_loop))
    error = own.seen_offset - unperturbed.seen_offset
    thrown = unanswered.seen_offset - unperturbed.seen_offset
    largest = int(np.argmax(np.hypot(*thrown.T)))
    perturbation = thrown[largest]
    size = float(np.hypot(*perturbation))
    if size < LEAST_PERTURBATION_M:
        return None
    remaining = error @ perturbation / size**2
    return Correction(
        correction_time_s=correction_time(WINDOW, remaining),
        correction_onset_s=correction_onset(reach, open_loop, onset_s),
        t50_s=time_to_fall(WINDOW, remaining, HALF_LEFT),
        t90_s=time_to_fall(WINDOW, remaining, TENTH_LEFT),
        overshoot=max(0.0, -float(np.min(remaining))),
        remaining=remaining,
    )


def correction_onset(reach: Trajectory, open_loop: Trajectory, onset_s: float) -> float:
    """Return when the hand first moves otherwise than in the open loop, s from the onset of the perturbation.

    The two are compared while both last. A difference at a row arose in the control step that ends there, so the result
    is the beginning of that step; NaN where they never differ.

    Args:
        reach: perturbed.
        open_loop: perturbed, under the commands of the twin; a row for each control step, as `reach`.
        onset_s: time of the perturbation, s.
    """
    rows = min(len(reach.time_s), len(open_loop.time_s))
    apart = np.hypot(*(reach.velocity[:rows] - open_loop.velocity[:rows]).T) > SAME_M_S
    later = np.flatnonzero(apart & (reach.time_s[:rows] > onset_s + 1e-9))
    return round(float(reach.time_s[later[0] - 1]) - onset_s, 9) if len(later) else math.nan


def correction_time(time_s: Array, remaining: Array) -> float:
    """T_c, s: the integral of min(|r|, 1) over the given times, by trapezoids.

    A delay d and then an exponential of time constant tau give d + tau, within 1 % for delays up to 0.3 s and time
    constants of 0.06 to 0.18 s: of slower ones 1 s does not hold all, faster ones are over between two samples.

    Args:
        time_s: (T,) s from onset.
        remaining: (T,) fraction of the perturbation.
    """
    return float(np.trapezoid(np.minimum(np.abs(remaining), 1.0), time_s))


def time_to_fall(time_s: Array, remaining: Array, level: float) -> float:
    """First time, after the largest error, at which no more than `level` remains; infinite if it never is."""
    start = int(np.argmax(remaining))
    below = np.flatnonzero(remaining[start:] <= level)
    if not len(below):
        return math.inf
    row = start + int(below[0])
    if row == start:
        return float(time_s[row])
    before, after = remaining[row - 1], remaining[row]
    return float(time_s[row - 1] + (before - level) / (before - after) * (time_s[row] - time_s[row - 1]))


def acceleration(time_s: Array, position: Array, velocity: Array) -> Array:
    """Acceleration (T,) from position and velocity (T,) at even times, to fourth order; 0 at both ends.

    Both are known, and together they tell more than either: a correction that sets in within a step of 20 ms is blurred
    by differences of velocities alone.
    """
    step = float(time_s[1] - time_s[0])
    found = np.zeros(len(time_s))
    bend = position[2:] - 2.0 * position[1:-1] + position[:-2]
    found[1:-1] = 2.0 * bend / step**2 - (velocity[2:] - velocity[:-2]) / (2.0 * step)
    return found


def extrapolated_latency(time_s: Array, answer: Array) -> float:
    """Estimate when a correction began, for data without a twin; NaN without a correction.

    The line through 25 % and 75 % of the first peak of the acceleration is extended to zero, so that the estimate does
    not depend on the size of the correction. It does depend on its shape. Bias: 0 to 8 ms early for minimum-jerk
    corrections of 0.25 to 0.5 s. Late by about a third of the rise time where the acceleration grows with the square of
    time, which is 30 to 80 ms for a rise of 0.1 to 0.25 s. An error that is integrated builds up even more slowly: the
    learners of this project, which all begin to correct a cup jump after 100 ms, were given 102 to 221 ms.

    Args:
        time_s: (T,) s from the onset of the perturbation; the peak is searched for within 0.4 s of it.
        answer: (T,) m/s2, acceleration in the direction of the correction, less that of an unperturbed reach.
    """
    looked_at = np.where((time_s > 0.0) & (time_s < ANSWERED_WITHIN_S + 1e-9), answer, 0.0)
    largest = float(np.max(looked_at, initial=0.0))
    if largest < LEAST_ANSWER_M_S2:
        return math.nan
    peak = _first_peak(looked_at, PEAK_SHARE * largest)
    low, high = (_last_crossing(time_s, answer, peak, share * answer[peak]) for share in (LOW_SHARE, HIGH_SHARE))
    return low - LOW_SHARE * (high - low) / (HIGH_SHARE - LOW_SHARE)


def _first_peak(answer: Array, least: float) -> int:
    for row in range(1, len(answer) - 1):
        if answer[row] >= least and answer[row - 1] <= answer[row] > answer[row + 1]:
            return row
    return int(np.argmax(answer))


def _last_crossing(time_s: Array, answer: Array, peak: int, level: float) -> float:
    """The last time before a peak at which the answer rose through a level."""
    row = peak
    while row > 0 and answer[row - 1] > level:
        row -= 1
    if row == 0:
        return float(time_s[0])
    share = (level - answer[row - 1]) / (answer[row] - answer[row - 1])
    return float(time_s[row - 1] + share * (time_s[row] - time_s[row - 1]))
