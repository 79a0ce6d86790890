"""What the eye sees and the body feels: the visual map, the ring of past sensations, exact delays and noise, compiled.

The ring has one row a control step. A delay of d seconds asks for the state of d seconds before an observation, which
lies at the same inner step of every control step: the row keeps the state of just that inner step, for the eye and for
the body. Before a trial the world rested as it begins. The visual map acts when light reaches the eye, so its effect
shows one visual delay after its onset.
"""

from __future__ import annotations

import math

from reach.sim import layout as s
from reach.sim.elementary import within
from reach.sim.jit import inlined, kernel

L = s.LANES
# Vision of the end alone: the hand shows once it rests this far from the start.
END_REST_S = 0.05
END_DISTANCE_M = 0.03


@inlined
def _look(t, i):  # type: ignore[no-untyped-def]
    """Write what the eye of lane `i` is shown at this moment."""
    clock = t[s.CLOCK * L + i]
    hand_x = t[s.HAND_X * L + i]
    hand_y = t[s.HAND_Y * L + i]
    rx = hand_x - t[s.START_X * L + i]
    ry = hand_y - t[s.START_Y * L + i]
    distance = math.sqrt(rx * rx + ry * ry)
    cosine = t[s.CLAMP_COSINE * L + i] * t[s.TARGET_X * L + i] - t[s.CLAMP_SINE * L + i] * t[s.TARGET_Y * L + i]
    sine = t[s.CLAMP_SINE * L + i] * t[s.TARGET_X * L + i] + t[s.CLAMP_COSINE * L + i] * t[s.TARGET_Y * L + i]
    clamped = clock >= t[s.CLAMP_ONSET * L + i]
    px = distance * cosine if clamped else rx
    py = distance * sine if clamped else ry
    x = t[s.START_X * L + i] + px if clamped else hand_x
    y = t[s.START_Y * L + i] + py if clamped else hand_y
    mapped = clock >= t[s.MAP_ONSET * L + i]
    map_x = t[s.START_X * L + i] + t[s.MAP_11 * L + i] * px + t[s.MAP_12 * L + i] * py + t[s.MAP_X * L + i]
    map_y = t[s.START_Y * L + i] + t[s.MAP_21 * L + i] * px + t[s.MAP_22 * L + i] * py + t[s.MAP_Y * L + i]
    t[s.EYE_HAND_X * L + i] = map_x if mapped else x
    t[s.EYE_HAND_Y * L + i] = map_y if mapped else y
    hidden = (clock >= t[s.HIDDEN_FROM * L + i]) & (clock < t[s.HIDDEN_UNTIL * L + i])
    ended = (t[s.STILL_S * L + i] >= END_REST_S) & (distance >= END_DISTANCE_M)
    unseen = hidden | ((t[s.END_ONLY * L + i] > 0.0) & (not ended))
    t[s.EYE_VISIBLE * L + i] = 0.0 if unseen else 1.0
    present = t[s.CUP_PRESENT * L + i]
    cup_x = t[s.CUP_X * L + i] + (t[s.CUP_SHIFT_X * L + i] if mapped else 0.0)
    cup_y = t[s.CUP_Y * L + i] + (t[s.CUP_SHIFT_Y * L + i] if mapped else 0.0)
    t[s.EYE_CUP_X * L + i] = cup_x if present > 0.0 else 0.0
    t[s.EYE_CUP_Y * L + i] = cup_y if present > 0.0 else 0.0
    t[s.EYE_AXIS_X * L + i] = t[s.AXIS_X * L + i]
    t[s.EYE_AXIS_Y * L + i] = t[s.AXIS_Y * L + i]
    t[s.EYE_APERTURE * L + i] = t[s.APERTURE * L + i]


@inlined
def _copy(lanes, columns, source, first, target, at):  # type: ignore[no-untyped-def]
    """Copy so many columns of `source`, from `first` on, to those of `target` from `at` on."""
    for c in range(columns):
        for i in range(len(lanes)):
            target[(at + c) * L + i] = source[(first + c) * L + i]


@inlined
def _note_sight(t, row, i):  # type: ignore[no-untyped-def]
    for c in range(s.SEEN_SIZE):
        row[c * L + i] = t[(s.EYE_HAND_X + c) * L + i]


@inlined
def _note_feeling(t, row, i):  # type: ignore[no-untyped-def]
    for c in range(3):
        row[(s.SEEN_SIZE + c) * L + i] = t[(s.ANGLE_1 + c) * L + i]
        row[(s.SEEN_SIZE + 3 + c) * L + i] = t[(s.VELOCITY_1 + c) * L + i]
        row[(s.SEEN_SIZE + 7 + c) * L + i] = t[(s.TOUCH_LEFT + c) * L + i]
    row[(s.SEEN_SIZE + 6) * L + i] = t[s.APERTURE * L + i]


@inlined
def _is_asked(delay_rows, inner):  # type: ignore[no-untyped-def]
    """Whether a delay asks for the state after inner step `inner` (1..INNER_STEPS) of each control step."""
    return s.INNER_STEPS - (int(delay_rows) & (s.INNER_STEPS - 1)) == inner


@kernel
def look(t, lanes):  # type: ignore[no-untyped-def]
    """Write what every eye of the tile is shown at this moment."""
    for i in range(len(lanes)):
        _look(t, i)


@kernel
def asked(t, lanes, delay):  # type: ignore[no-untyped-def]
    """The inner steps (1..INNER_STEPS) after which the delays in column `delay` ask for the state, as bits."""
    bits = 0
    for i in range(len(lanes)):
        bits |= 1 << (s.INNER_STEPS - (int(t[delay * L + i]) & (s.INNER_STEPS - 1)))
    return bits


@kernel
def notice(t, lanes, history, tick, inner, seen, felt):  # type: ignore[no-untyped-def]
    """Keep in the ring, at `tick`, what a delay will ask for of the state after inner step `inner`.

    The eye must have looked at the end of a control step; in between this looks by itself.

    Args:
        t, lanes, history, tick: as for `step.advance`.
        inner: 1..INNER_STEPS.
        seen, felt: `asked` for the delays of eye and body.
    """
    row = history[tick % s.HISTORY_ROWS]
    now = 1 << inner
    if seen & now:
        if inner < s.INNER_STEPS:
            look(t, lanes)
        if seen == now:
            _copy(lanes, s.SEEN_SIZE, t, s.EYE_HAND_X, row, 0)
        else:
            for i in range(len(lanes)):
                if _is_asked(t[s.VISION_ROWS * L + i], inner):
                    _note_sight(t, row, i)
    if felt == now:
        # Angles and velocities stand side by side, as in the ring.
        _copy(lanes, 6, t, s.ANGLE_1, row, s.SEEN_SIZE)
        _copy(lanes, 1, t, s.APERTURE, row, s.SEEN_SIZE + 6)
        _copy(lanes, 3, t, s.TOUCH_LEFT, row, s.SEEN_SIZE + 7)
    elif felt & now:
        for i in range(len(lanes)):
            if _is_asked(t[s.TOUCH_ROWS * L + i], inner):
                _note_feeling(t, row, i)


@kernel
def notice_start(t, history, tick, i):  # type: ignore[no-untyped-def]
    """Keep in the ring what lane `i` sees and feels as its trial begins."""
    row = history[tick % s.HISTORY_ROWS]
    _look(t, i)
    _note_sight(t, row, i)
    _note_feeling(t, row, i)


@inlined
def _past_row(t, tick, delay, i):  # type: ignore[no-untyped-def]
    """The row of the ring from which lane `i`'s sense of column `delay` reads now; none from before its trial."""
    age = int(t[s.CLOCK * L + i]) // s.INNER_STEPS
    return (tick - min(age, int(t[delay * L + i]) // s.INNER_STEPS)) % s.HISTORY_ROWS


@inlined
def _recall(t, history, tick, i):  # type: ignore[no-untyped-def]
    """Write to lane `i`'s LATE columns what of the past reaches its senses now."""
    seen = history[_past_row(t, tick, s.VISION_ROWS, i)]
    felt = history[_past_row(t, tick, s.TOUCH_ROWS, i)]
    for c in range(s.SEEN_SIZE):
        t[(s.LATE + c) * L + i] = seen[c * L + i]
    for c in range(s.SEEN_SIZE, s.HISTORY_SIZE):
        t[(s.LATE + c) * L + i] = felt[c * L + i]


@kernel
def _recall_all(t, lanes, history, tick):  # type: ignore[no-untyped-def]
    """`_recall` for every lane; those that read the same rows do it together."""
    first_seen = _past_row(t, tick, s.VISION_ROWS, 0)
    first_felt = _past_row(t, tick, s.TOUCH_ROWS, 0)
    differ = 0
    for i in range(1, len(lanes)):
        differ |= _past_row(t, tick, s.VISION_ROWS, i) ^ first_seen
        differ |= _past_row(t, tick, s.TOUCH_ROWS, i) ^ first_felt
    if differ:
        for i in range(len(lanes)):
            _recall(t, history, tick, i)
        return
    _copy(lanes, s.SEEN_SIZE, history[first_seen], 0, t, s.LATE)
    _copy(lanes, s.HISTORY_SIZE - s.SEEN_SIZE, history[first_felt], s.SEEN_SIZE, t, s.LATE_ANGLE_1)


@inlined
def _observe(t, i, out):  # type: ignore[no-untyped-def]
    """Write lane `i`'s observation (OBSERVATION_SIZE,) from LATE columns and this step's noise.

    A receptor saturates at the ends of its range, so that an observation never leaves the observation space.
    """
    visible = t[s.LATE_VISIBLE * L + i]
    hand_noise = t[s.HAND_NOISE_M * L + i]
    cup_noise = t[s.CUP_NOISE_M * L + i]
    hand_x = within(t[s.LATE_HAND_X * L + i] + hand_noise * t[s.NOISE_HAND_X * L + i], -1.5, 1.5)
    hand_y = within(t[s.LATE_HAND_Y * L + i] + hand_noise * t[s.NOISE_HAND_Y * L + i], -1.5, 1.5)
    out[0] = hand_x if visible > 0.0 else 0.0
    out[1] = hand_y if visible > 0.0 else 0.0
    out[2] = visible
    cup_x = t[s.LATE_CUP_X * L + i]
    cup_y = t[s.LATE_CUP_Y * L + i]
    gone = cup_x == 0.0 and cup_y == 0.0
    out[3] = 0.0 if gone else within(cup_x + cup_noise * t[s.NOISE_CUP_X * L + i], -1.5, 1.5)
    out[4] = 0.0 if gone else within(cup_y + cup_noise * t[s.NOISE_CUP_Y * L + i], -1.5, 1.5)
    for k in range(3):
        angle_noise = t[s.ANGLE_NOISE * L + i] * t[(s.NOISE_ANGLE_1 + k) * L + i]
        velocity_noise = t[s.VELOCITY_NOISE * L + i] * t[(s.NOISE_VELOCITY_1 + k) * L + i]
        out[5 + k] = within(t[(s.LATE_ANGLE_1 + k) * L + i] + angle_noise, -3.14, 3.14)
        out[8 + k] = within(t[(s.LATE_VELOCITY_1 + k) * L + i] + velocity_noise, -s.FASTEST_RAD_S, s.FASTEST_RAD_S)
        out[12 + k] = t[(s.LATE_LEFT + k) * L + i]
    aperture = t[s.LATE_APERTURE * L + i] + t[s.APERTURE_NOISE * L + i] * t[s.NOISE_APERTURE * L + i]
    out[11] = within(aperture, -0.02, 0.13)
    for k in range(4):
        out[15 + k] = t[(s.ACTION_1 + k) * L + i]


@kernel
def observe(t, lanes, history, tick, out):  # type: ignore[no-untyped-def]
    """Write the observations of a tile to `out` (LANES, OBSERVATION_SIZE), with delays and this step's noise."""
    _recall_all(t, lanes, history, tick)
    for i in range(len(lanes)):
        _observe(t, i, out[i])


@kernel
def observe_start(t, history, tick, i, out):  # type: ignore[no-untyped-def]
    """Write the first observation of lane `i`'s trial to `out` (OBSERVATION_SIZE,)."""
    _recall(t, history, tick, i)
    _observe(t, i, out)
