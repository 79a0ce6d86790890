"""Measure one recorded reach: launch error, endpoint error, attempts, time to success, force in a force channel.

Directions and distances are measured in seen coordinates, that is, after the visual map of the trial is applied to the
true path of the hand. The launch error is measured before delayed vision can affect the movement. It shows what has
been learned, without feedback corrections.

A force channel keeps the hand on a straight line. The force of its wall on the hand balances the force by which the arm
compensates the field that it expects (error-clamp trials of Scheidt et al. 2000, J Neurophysiol 84:853). The adaptation
index is the slope of the regression of the wall's force on the force that the field would exert: 0 for no compensation,
1 for complete compensation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reach.perturbations import Perturbation, write_perturbations
from reach.sim import layout as s
from reach.sim.layout import Array

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


def require_shapes(record: object, shapes: dict[str, tuple[int, ...]]) -> None:
    """Validate the shapes of attributes of `record`, given by name in `shapes`.

    Raises:
        ValueError: a shape is wrong; the message names the attribute.
    """
    for name, shape in shapes.items():
        if getattr(record, name).shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {getattr(record, name).shape}")


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

    Raises:
        ValueError: no rows, or an array of a wrong shape.
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
            raise ValueError("time_s: expected 1 or more rows, got 0")
        require_shapes(self, dict.fromkeys(("hand", "seen_hand", "seen_cup"), (rows, 2)))
        require_shapes(self, dict.fromkeys(("speed", "aperture", "held"), (rows,)))


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


def velocity_field(perturbations: Sequence[Perturbation]) -> Array | None:
    """Return the sum of the velocity-dependent force fields of perturbations, (2, 2) N s/m; None if it is zero."""
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)
    field: Array = row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2)
    return field if np.any(field) else None


def channel_index(record: ReachRecord, velocity: Array, wall_force: Array, field: Array) -> float:
    """Return the adaptation index: the slope of the regression, with intercept, of the wall's force on the field's.

    Args:
        record: recording of the channel trial; the index is computed from its first movement.
        velocity: (T, 2) m/s, true velocity of the hand.
        wall_force: (T,) N, force of the wall on the hand, positive to the left of the channel.
        field: (2, 2) N s/m, the field to which the learner has adapted, and which does not act in the channel.

    Returns:
        The index; NaN if the first movement is too short or the force of the field hardly varies.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    rows = slice(onset, first_stop(record, onset) + 1)
    field_force = velocity @ field.T
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
