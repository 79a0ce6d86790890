"""Measure one recorded reach: launch error, endpoint error, attempts, time to success, force in a force channel.

All directions and distances are of what is seen: the true path of the hand, put through the visual map of the trial.
The launch error is read before delayed vision can act on the movement, so it shows what has been learned and not what
feedback corrects.

In a force channel the hand cannot leave the line, so the wall receives the force with which the arm counteracts the
field it expects (error-clamp trials of Scheidt et al. 2000, J Neurophysiol 84:853). The adaptation index is the slope
of the wall's force over the force of the field: 0 for an arm that expects no field, 1 for one that expects all of it.
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

ONSET_SPEED_M_S = 0.05
# Vision takes 0.10 s and the command filter 0.04 s, so no feedback acts on the first 0.12 s of a movement.
LAUNCH_WINDOW_S = 0.12
STOP_SPEED_M_S = 0.05
STOP_SHARE_OF_PEAK = 0.25
LATEST_ENDPOINT_S = 1.0
ATTEMPT_SPEED_M_S = 0.10
CLOSED_APERTURE_M = 0.06
OPEN_APERTURE_M = 0.08
# A movement in a channel with fewer rows, or with a smaller spread of the field's force (N), is not measured.
FEWEST_ROWS = 5
LEAST_SPREAD_N = 0.1


def require_shapes(record: object, shapes: dict[str, tuple[int, ...]]) -> None:
    """Check the shapes of arrays that are attributes of `record`.

    Raises:
        ValueError: another shape; the message names the attribute.
    """
    for name, shape in shapes.items():
        if getattr(record, name).shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {getattr(record, name).shape}")


@dataclass(frozen=True)
class ReachRecord:
    """One reach, a row for each control step, the first at reset.

    Attributes:
        time_s: (T,) s.
        hand: (T, 2) m, true.
        seen_hand, seen_cup: (T, 2) m, where the visual map puts them at that moment, without delay or noise.
        speed: (T,) m/s, of the true hand.
        aperture: (T,) m, between the fingers.
        held: (T,), whether the fingers hold the cup.
        success, tipped: how the reach ended.
        reward: sum over the reach.

    Raises:
        ValueError: no rows, or an array of another shape.
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
        launch_error_deg: direction in which the seen hand launches less the direction of the seen cup,
            counter-clockwise positive, in (-180, 180]; NaN if the hand did not move.
        endpoint_error_cm: distance between the seen hand at the end of its first movement and the cup as seen at
            movement onset; NaN if the hand did not move.
        time_to_success_s: NaN without success.
        success, tipped: how the reach ended.
        attempts: movements faster than 10 cm/s between stops (at least 1 if the hand moved), and each closing of the
            fingers on nothing after the first, which belongs to the movement that it ends.
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
    """Return the first row from which the hand is faster than 5 cm/s for two rows; None without one."""
    fast = speed > ONSET_SPEED_M_S
    rows = np.flatnonzero(fast[:-1] & fast[1:])
    return int(rows[0]) if len(rows) else None


def wrapped_degrees(angle_deg: Array | float) -> Array:
    """Return an angle, degrees, wrapped into (-180, 180]."""
    return -((-np.asarray(angle_deg, dtype=np.float64) + 180.0) % 360.0 - 180.0)


def launch_error_deg(record: ReachRecord) -> float:
    """Return the launch error of `ReachMeasures`; the reach may still be running.

    The direction of the hand is that from its start to its place 0.12 s after movement onset, or at the end of a reach
    that ended before. The cup counts where it was seen at movement onset.
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

    This is a stop, or a minimum of the speed below a quarter of its peak, at most 1 s after movement onset.
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
    """Count movements and closings on nothing after the first; fingers that close on the cup stay wider than 6 cm."""
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
    return max(movements, int(moved)) + max(closings - 1, 0)


def velocity_field(perturbations: Sequence[Perturbation]) -> Array | None:
    """Return the field (2, 2), N s/m, that perturbations together exert on the hand; None without one."""
    row = np.zeros(s.COLUMNS)
    write_perturbations(perturbations, row)
    field: Array = row[s.FIELD_11 : s.FIELD_22 + 1].reshape(2, 2)
    return field if np.any(field) else None


def channel_index(record: ReachRecord, velocity: Array, wall_force: Array, field: Array) -> float:
    """Return the adaptation index: the slope of the wall's force over the field's, by least squares with an intercept.

    Args:
        record: of the channel trial; its first movement is measured.
        velocity: (T, 2) m/s, of the hand.
        wall_force: (T,) N, of the wall on the hand, to the left of the line.
        field: (2, 2) N s/m, the field that would act on a free hand.

    Returns:
        The index; NaN if the hand did not move, or hardly.
    """
    onset = movement_onset(record.speed)
    if onset is None:
        return math.nan
    rows = slice(onset, first_stop(record, onset) + 1)
    field_force = velocity @ field.T
    # The hand moves along the line, so its velocity gives the direction of the line.
    speed = np.hypot(*velocity.T)
    along = velocity[rows][int(np.argmax(speed[rows]))]
    left = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-12)
    outward = 1.0 if along @ (record.seen_cup[0] - record.hand[0]) >= 0.0 else -1.0
    ideal = outward * field_force[rows] @ left
    if len(ideal) < FEWEST_ROWS or float(np.std(ideal)) < LEAST_SPREAD_N:
        return math.nan
    centred = ideal - np.mean(ideal)
    return float(centred @ wall_force[rows] / (centred @ centred))
