"""Measure the correction within one reach, relative to the same reach without the perturbation.

Three trajectories of the hand are compared. The *reach* is the perturbed trial of the learner. Its *twin* is the same
trial, learner and noise without the perturbation, in which the learner acts on its senses. The *open loop* is the
perturbed trial under the commands of the twin, that is, an arm that does not respond to the perturbation. Until the
response begins, reach and open loop are bit-identical, so their difference is exactly the response.

Let the offset be the vector from the seen cup to the seen hand. The perturbation is the offset of the open loop minus
that of the twin, at the time within the window at which this difference is largest. The remaining error r(t) is the
offset of the reach minus that of the twin, projected on the perturbation, as a fraction of it.

The correction onset is exact: it is the first control step in which reach and open loop differ. It measures the delay
of the control loop and does not depend on the size of the response.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reach.measures.reach import require_shapes
from reach.sim.layout import CONTROL_STEP_S, Array

WINDOW_S = 1.0
# (51,) s, times from the onset of the perturbation at which r is sampled.
WINDOW = np.arange(round(WINDOW_S / CONTROL_STEP_S) + 1, dtype=np.float64) * CONTROL_STEP_S
# Smallest perturbation that is measured, m.
LEAST_PERTURBATION_M = 0.001
# Differences of positions, m, and velocities, m/s, up to these values count as rounding.
SAME_M = SAME_M_S = 1e-9
HALF_LEFT, TENTH_LEFT = 0.5, 0.1
# Columns of these measures in the row of a trial.
WITHIN_REACH = ("correction_time_s", "correction_onset_s", "t50_s", "t90_s", "overshoot")


@dataclass(frozen=True)
class Trajectory:
    """The trajectory of the hand in one trial, with a row for each control step.

    Attributes:
        time_s: (T,) s, evenly spaced.
        hand: (T, 2) m, true position.
        velocity: (T, 2) m/s, true velocity.
        seen_hand, seen_cup: (T, 2) m, positions after the visual map, without delay or noise.

    Raises:
        ValueError: fewer than two rows, or an array with a wrong shape.
    """

    time_s: Array
    hand: Array
    velocity: Array
    seen_hand: Array
    seen_cup: Array

    def __post_init__(self) -> None:
        rows = len(self.time_s)
        if rows < 2:
            raise ValueError(f"time_s: expected 2 or more rows, got {rows}")
        require_shapes(self, dict.fromkeys(("hand", "velocity", "seen_hand", "seen_cup"), (rows, 2)))

    def seen_offset(self, time_s: Array) -> Array:
        """Return the vector from the seen cup to the seen hand, (N, 2) m, at times (N,) s.

        The position of the cup is taken at the second time, so that pushing the cup later has no effect. After the end
        of the trajectory the hand keeps its last position.
        """
        hand = np.stack([np.interp(time_s, self.time_s, column) for column in self.seen_hand.T], axis=1)
        cup = np.array([np.interp(time_s[1], self.time_s, column) for column in self.seen_cup.T])
        offset: Array = hand - cup
        return offset


@dataclass(frozen=True)
class Correction:
    """Measures of one correction; times are from the onset of the perturbation.

    Attributes:
        correction_time_s: T_c, the integral of min(|r|, 1) over 1 s.
        correction_onset_s: start of the control step in which the hand first differs from the open loop, a multiple of
            20 ms; NaN if there is no difference.
        t50_s, t90_s: first times after the largest error at which 50 % and 90 % are corrected; infinite if later than
            1 s.
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
    """Return the measures of the correction in a reach; None if they are undefined.

    They are undefined if the perturbation moved neither hand nor cup, or if reach and twin differ before the
    perturbation, as for a learner that acts at random.

    Args:
        reach: the perturbed trial of the learner.
        twin: the same trial without the perturbation.
        open_loop: the perturbed trial under the commands of the twin.
        onset_s: time of the perturbation, s.
    """
    before = min(int(np.sum(trajectory.time_s <= onset_s + 1e-9)) for trajectory in (reach, twin))
    if np.max(np.abs(reach.hand[:before] - twin.hand[:before])) > SAME_M:
        return None
    unperturbed = twin.seen_offset(onset_s + WINDOW)
    error = reach.seen_offset(onset_s + WINDOW) - unperturbed
    uncorrected = open_loop.seen_offset(onset_s + WINDOW) - unperturbed
    perturbation = uncorrected[int(np.argmax(np.hypot(*uncorrected.T)))]
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
    """Return the time from perturbation onset to the first difference from the open loop, s; NaN if there is none.

    The trajectories are compared until the shorter one ends. A difference in a row arose in the control step before it,
    so the result is the start of that step.

    Args:
        reach: the perturbed trial of the learner.
        open_loop: the perturbed trial under the commands of the twin.
        onset_s: time of the perturbation, s.
    """
    rows = min(len(reach.time_s), len(open_loop.time_s))
    differs = np.hypot(*(reach.velocity[:rows] - open_loop.velocity[:rows]).T) > SAME_M_S
    later = np.flatnonzero(differs & (reach.time_s[:rows] > onset_s + 1e-9))
    return round(float(reach.time_s[later[0] - 1]) - onset_s, 9) if len(later) else math.nan


def correction_time(time_s: Array, remaining: Array) -> float:
    """Return T_c, s: the integral of min(|r|, 1) over the given times, by trapezoids.

    A delay d followed by an exponential decay with time constant tau gives d + tau, within 1 % for delays up to 0.3 s
    and time constants of 0.06 to 0.18 s. Slower decays do not end within 1 s; faster ones end between two samples.

    Args:
        time_s: (T,) s from onset.
        remaining: (T,) r, as a fraction of the perturbation.
    """
    return float(np.trapezoid(np.minimum(np.abs(remaining), 1.0), time_s))


def time_to_fall(time_s: Array, remaining: Array, level: float) -> float:
    """Return the first time after the largest error at which at most `level` remains; infinite if there is none."""
    start = int(np.argmax(remaining))
    below = np.flatnonzero(remaining[start:] <= level)
    if not len(below):
        return math.inf
    row = start + int(below[0])
    if row == start:
        return float(time_s[row])
    before, after = remaining[row - 1], remaining[row]
    return float(time_s[row - 1] + (before - level) / (before - after) * (time_s[row] - time_s[row - 1]))
