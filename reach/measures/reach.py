"""Measure one recorded reach: launch error, endpoint error, attempts, time to success.

All directions and distances are of what is seen: the true path of the hand, put through the visual map of the trial.
The launch error is read before delayed vision can act on the movement: it shows what has been learned, not what
feedback corrects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
