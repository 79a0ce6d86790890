"""Measure one recorded reach: launch error, endpoint error, attempts, force in a force channel, correction.

Directions and distances are measured in seen coordinates, that is, after the visual map of the trial is applied to the
true path of the hand. The launch error is measured before delayed vision can affect the movement. It shows what has
been learned, without feedback corrections.

A force channel keeps the hand on a straight line. The force of its wall on the hand balances the force by which the arm
compensates the field that it expects (error-clamp trials of Scheidt et al. 2000, J Neurophysiol 84:853). The adaptation
index is the slope of the regression of the wall's force on the force that the field would exert: 0 for no compensation,
1 for complete compensation.

The correction within a reach is measured relative to the same reach without the perturbation. Three trajectories of the
hand are compared. The *reach* is the perturbed trial of the learner. Its *twin* is the same trial, learner and noise
without the perturbation, in which the learner acts on its senses. The *open loop* is the perturbed trial under the
commands of the twin, that is, an arm that does not respond to the perturbation. Until the response begins, reach and
open loop are bit-identical, so their difference is exactly the response.

Let the offset be the vector from the seen cup to the seen hand. The perturbation is the offset of the open loop minus
that of the twin, at the time within the window at which this difference is largest. The remaining error r(t) is the
offset of the reach minus that of the twin, projected on the perturbation, as a fraction of it.

The correction onset is exact: it is the first control step in which reach and open loop differ. It measures the delay
of the control loop and does not depend on the size of the response.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reach.perturbations import Perturbation, write_perturbations
from reach.sim import layout as s
from reach.sim.layout import CONTROL_STEP_S, Array

# A movement starts when the hand exceeds this speed for two control steps.
ONSET_SPEED_M_S = 0.05
# No visual feedback affects the first 0.12 s of a movement: vision is delayed by 0.10 s, and the command filter lags by
# 0.04 s.
LAUNCH_WINDOW_S = 0.12
# The first movement ends when the hand is slower than STOP_SPEED_M_S, at a minimum of the speed below
# STOP_SHARE_OF_PEAK of its peak, or LATEST_ENDPOINT_S after movement onset.
STOP_SPEED_M_S = 0.05
STOP_SHARE_OF_PEAK = 0.25
LATEST_ENDPOINT_S = 1.0
# Lowest peak speed of a movement that counts as an attempt.
ATTEMPT_SPEED_M_S = 0.10
# Below the first aperture the fingers are closed, above the second open; in between they keep their last state.
CLOSED_APERTURE_M = 0.06
OPEN_APERTURE_M = 0.08
# Smallest number of control steps, and smallest SD of the field's force, for which the adaptation index is defined.
FEWEST_CHANNEL_STEPS = 5
SMALLEST_FIELD_FORCE_SD_N = 0.1

# Time from the onset of the perturbation in which a correction is measured.
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
class ReachRecord:
    """The recording of one reach: arrays with a row for the reset and one for each of the T - 1 control steps.

    Attributes:
        time_s: (T,) s.
        hand: (T, 2) m, true position.
        seen_hand, seen_cup: (T, 2) m, positions after the visual map, without delay or noise.
        speed: (T,) m/s, true speed of the hand.
        aperture: (T,) m, distance between the fingers.
        held: (T,), whether the fingers hold the cup.
        success, tipped: whether the reach ended in success, and whether the cup tipped over.
        reward: sum of the rewards.
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


@dataclass(frozen=True)
class ReachMeasures:
    """Measures of one reach.

    Attributes:
        launch_error_deg: initial direction of the seen hand minus the direction of the seen cup, counter-clockwise
            positive, in (-180, 180]; NaN if the hand did not move. See the function `launch_error_deg`.
        endpoint_error_cm: distance between the seen hand at the end of its first movement and the seen cup at movement
            onset; NaN if the hand did not move.
        time_to_success_s: time from reset to success; NaN without success.
        success, tipped: whether the reach ended in success, and whether the cup tipped over.
        attempts: number of movements faster than 10 cm/s between stops (at least 1 if the hand moved), plus the number
            of times that the fingers closed without the cup, except the first time, which belongs to its movement.
        duration_s: duration of the trial.
        reward: sum of the rewards.
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
    """Return all measures of one recorded reach."""
    onset = movement_onset(record.speed)
    endpoint_error_cm = math.nan
    if onset is not None:
        end = first_stop(record, onset)
        endpoint_error_cm = 100.0 * float(np.hypot(*(record.seen_cup[onset] - record.seen_hand[end])))
    return ReachMeasures(
        launch_error_deg=launch_error_deg(record),
        endpoint_error_cm=endpoint_error_cm,
        time_to_success_s=float(record.time_s[-1]) if record.success else math.nan,
        success=record.success,
        tipped=record.tipped,
        attempts=_attempts(record, onset is not None),
        duration_s=float(record.time_s[-1] - record.time_s[0]),
        reward=record.reward,
    )


def movement_onset(speed: Array) -> int | None:
    """Return the first of two consecutive rows with a speed above 5 cm/s; None if the hand did not move."""
    fast = speed > ONSET_SPEED_M_S
    rows = np.flatnonzero(fast[:-1] & fast[1:])
    return int(rows[0]) if len(rows) else None


def wrapped_degrees(angle_deg: Array | float) -> Array:
    """Wrap angles in degrees into (-180, 180]."""
    return -((-np.asarray(angle_deg, dtype=np.float64) + 180.0) % 360.0 - 180.0)


def launch_error_deg(record: ReachRecord) -> float:
    """Return the launch error of `ReachMeasures`; the reach may still be running.

    The direction of the hand points from its position at reset to its position 0.12 s after movement onset, or in the
    last row of a shorter record. The direction of the cup points from the same start to the seen cup at movement onset.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    row = int(np.searchsorted(record.time_s, record.time_s[onset] + LAUNCH_WINDOW_S - 1e-9))
    row = min(row, len(record.time_s) - 1)
    to_hand = record.seen_hand[row] - record.seen_hand[0]
    to_cup = record.seen_cup[onset] - record.seen_hand[0]
    angle = math.atan2(to_hand[1], to_hand[0]) - math.atan2(to_cup[1], to_cup[0])
    return float(wrapped_degrees(math.degrees(angle)))


def first_stop(record: ReachRecord, onset: int) -> int:
    """Return the row in which the first movement ends.

    It ends when the hand is slower than 5 cm/s, at a minimum of the speed below a quarter of its peak, or 1 s after
    movement onset.
    """
    latest = int(np.searchsorted(record.time_s, record.time_s[onset] + LATEST_ENDPOINT_S - 1e-9))
    latest = min(latest, len(record.speed) - 1)
    speed = record.speed[: latest + 1]
    peak = onset + int(np.argmax(speed[onset:]))
    for row in range(peak + 1, latest):
        is_minimum = speed[row] < STOP_SHARE_OF_PEAK * speed[peak] and speed[row] <= min(speed[row - 1], speed[row + 1])
        if speed[row] < STOP_SPEED_M_S or is_minimum:
            return row
    return latest


def _attempts(record: ReachRecord, moved: bool) -> int:
    """Return the attempts of `ReachMeasures`. Fingers count as closed below 6 cm, which a cup between them prevents."""
    moving, movements = False, 0
    for speed in record.speed.tolist():
        if not moving and speed > ATTEMPT_SPEED_M_S:
            moving, movements = True, movements + 1
        elif moving and speed < STOP_SPEED_M_S:
            moving = False
    is_open, empty_closings = False, 0
    for aperture, held in zip(record.aperture.tolist(), record.held.tolist(), strict=True):
        if is_open and aperture < CLOSED_APERTURE_M and not held:
            is_open, empty_closings = False, empty_closings + 1
        elif aperture > OPEN_APERTURE_M:
            is_open = True
    return max(movements, int(moved)) + max(empty_closings - 1, 0)


def force_field(perturbations: Sequence[Perturbation]) -> Array | None:
    """Return the sum of the force fields of perturbations; None if it is zero.

    The sum is (2, 4): its product with the displacement of the hand from the start, m, and its velocity, m/s, is the
    force, N.
    """
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)
    aside = row[s.POSITION_FIELD]
    field = np.hstack([[[0.0, aside], [-aside, 0.0]], row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2)])
    return field if np.any(field) else None


def channel_index(record: ReachRecord, velocity: Array, wall_force: Array, field_force: Array) -> float:
    """Return the adaptation index: the slope of the regression, with intercept, of the wall's force on the field's.

    Args:
        record: recording of the channel trial; the index is computed from its first movement.
        velocity: (T, 2) m/s, true velocity of the hand.
        wall_force: (T,) N, force of the wall on the hand, positive to the left of the channel.
        field_force: (T, 2) N, force that the field to which the learner has adapted, and which does not act in the
            channel, would exert on this movement.

    Returns:
        The index; NaN if the first movement is too short or the force of the field hardly varies.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    rows = slice(onset, first_stop(record, onset) + 1)
    # The hand moves along the channel, so its fastest velocity gives the channel's direction, up to the sign.
    speed = np.hypot(*velocity.T)
    fastest = velocity[rows][int(np.argmax(speed[rows]))]
    left = np.array([-fastest[1], fastest[0]]) / max(float(np.hypot(*fastest)), 1e-12)
    sign = 1.0 if fastest @ (record.seen_cup[0] - record.hand[0]) >= 0.0 else -1.0
    expected = sign * field_force[rows] @ left
    if len(expected) < FEWEST_CHANNEL_STEPS or float(np.std(expected)) < SMALLEST_FIELD_FORCE_SD_N:
        return math.nan
    centred = expected - np.mean(expected)
    return float(centred @ wall_force[rows] / (centred @ centred))


@dataclass(frozen=True)
class Trajectory:
    """The trajectory of the hand in one trial, with a row for each control step.

    Attributes:
        time_s: (T,) s, evenly spaced.
        hand: (T, 2) m, true position.
        velocity: (T, 2) m/s, true velocity.
        seen_hand, seen_cup: (T, 2) m, positions after the visual map, without delay or noise.
    """

    time_s: Array
    hand: Array
    velocity: Array
    seen_hand: Array
    seen_cup: Array

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
