"""What the eye sees and the body feels: the visual map, the ring of past sensations, exact delays and noise, compiled.

Sensations are stored at every inner step as they arise; a delay of d seconds reads the row of exactly d seconds ago.
The visual map acts when light reaches the eye, so its effect shows one visual delay after its onset.
"""

from __future__ import annotations

from numba import njit

from reach.sim import state as s


@njit(cache=True, inline="always")
def mapped_hand(d, clock, x, y):  # type: ignore[no-untyped-def]
    """Where a hand at (x, y) m is seen at inner step `clock` under disturbance row `d`."""
    if clock < d[s.MAP_ONSET]:
        return x, y
    rx = x - d[s.ORIGIN_X]
    ry = y - d[s.ORIGIN_Y]
    return (
        d[s.ORIGIN_X] + d[s.MAP_11] * rx + d[s.MAP_12] * ry + d[s.MAP_X],
        d[s.ORIGIN_Y] + d[s.MAP_21] * rx + d[s.MAP_22] * ry + d[s.MAP_Y],
    )


@njit(cache=True, inline="always")
def mapped_cup(d, clock, x, y):  # type: ignore[no-untyped-def]
    """Where a cup at (x, y) m is seen at inner step `clock` under disturbance row `d`."""
    if clock < d[s.MAP_ONSET]:
        return x, y
    return x + d[s.CUP_SHIFT_X], y + d[s.CUP_SHIFT_Y]


@njit(cache=True)
def sense(b, d, history, clock):  # type: ignore[no-untyped-def]
    """Store what is seen and felt of body row `b` at inner step `clock` in its row of `history`."""
    b[s.EYE_HAND_X], b[s.EYE_HAND_Y] = mapped_hand(d, clock, b[s.HAND_X], b[s.HAND_Y])
    b[s.EYE_CUP_X], b[s.EYE_CUP_Y] = mapped_cup(d, clock, b[s.CUP_X], b[s.CUP_Y])
    b[s.EYE_VISIBLE] = 0.0 if d[s.HIDDEN_FROM] <= clock < d[s.HIDDEN_UNTIL] else 1.0
    row = history[int(clock) % s.HISTORY_ROWS]
    row[s.SEEN_HAND_X] = b[s.EYE_HAND_X]
    row[s.SEEN_HAND_Y] = b[s.EYE_HAND_Y]
    row[s.SEEN_VISIBLE] = b[s.EYE_VISIBLE]
    row[s.SEEN_CUP_X] = b[s.EYE_CUP_X]
    row[s.SEEN_CUP_Y] = b[s.EYE_CUP_Y]
    for k in range(3):
        row[s.FELT_ANGLE_1 + k] = b[s.ANGLE_1 + k]
        row[s.FELT_VELOCITY_1 + k] = b[s.VELOCITY_1 + k]
        row[s.FELT_LEFT + k] = b[s.TOUCH_LEFT + k]
    row[s.FELT_APERTURE] = b[s.APERTURE]


@njit(cache=True, inline="always")
def _within(value, bound):  # type: ignore[no-untyped-def]
    return min(bound, max(-bound, value))


@njit(cache=True)
def observe(b, p, history, noise, action, out):  # type: ignore[no-untyped-def]
    """Write one observation (columns of `state.OBSERVATION`) to `out`, with its delays and this step's noise row.

    A receptor saturates at the ends of its range, so that an observation never leaves the observation space.
    """
    clock = int(b[s.CLOCK])
    seen = history[(clock - int(p[s.VISION_ROWS])) % s.HISTORY_ROWS]
    felt = history[(clock - int(p[s.TOUCH_ROWS])) % s.HISTORY_ROWS]
    if seen[s.SEEN_VISIBLE] > 0.0:
        out[0] = _within(seen[s.SEEN_HAND_X] + p[s.HAND_NOISE_M] * noise[s.NOISE_HAND_X], 1.5)
        out[1] = _within(seen[s.SEEN_HAND_Y] + p[s.HAND_NOISE_M] * noise[s.NOISE_HAND_Y], 1.5)
        out[2] = 1.0
    else:
        out[0] = 0.0
        out[1] = 0.0
        out[2] = 0.0
    out[3] = _within(seen[s.SEEN_CUP_X] + p[s.CUP_NOISE_M] * noise[s.NOISE_CUP_X], 1.5)
    out[4] = _within(seen[s.SEEN_CUP_Y] + p[s.CUP_NOISE_M] * noise[s.NOISE_CUP_Y], 1.5)
    for k in range(3):
        out[5 + k] = _within(felt[s.FELT_ANGLE_1 + k] + p[s.ANGLE_NOISE] * noise[s.NOISE_ANGLE_1 + k], 3.14)
        out[8 + k] = _within(felt[s.FELT_VELOCITY_1 + k] + p[s.VELOCITY_NOISE] * noise[s.NOISE_VELOCITY_1 + k], 60.0)
        out[12 + k] = felt[s.FELT_LEFT + k]
    aperture = felt[s.FELT_APERTURE] + p[s.APERTURE_NOISE] * noise[s.NOISE_APERTURE]
    out[11] = min(0.13, max(-0.02, aperture))
    for k in range(4):
        out[15 + k] = action[k]
