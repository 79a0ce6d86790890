"""Vision and proprioception, compiled: the visual map, the ring buffer of past samples, exact delays, and noise.

The ring buffer, `World.history`, has one row per control step. Delayed samples are taken at the same inner step of
every control step, so a row stores only the state at this inner step, one for vision and one for proprioception. Before
a trial begins, the world counts as at rest in its initial state. The visual map acts at the eye, so its effect is seen
one visual delay after its onset.
"""

from __future__ import annotations

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import clip, smaller, square_root

L = s.LANES
# With endpoint vision, the hand is shown after it has rested for this time, at least this far from the start.
END_REST_S = 0.05
END_DISTANCE_M = 0.03


@kernel
def apply_visual_map(t, lanes):  # type: ignore[no-untyped-def]
    """Apply the visual map: write the seen positions at this moment to the EYE columns of a tile."""
    for i in range(len(lanes)):
        clock = t[s.CLOCK * L + i]
        hand_x = t[s.HAND_X * L + i]
        hand_y = t[s.HAND_Y * L + i]
        rx = hand_x - t[s.START_X * L + i]
        ry = hand_y - t[s.START_Y * L + i]
        distance = square_root(rx * rx + ry * ry)
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
    """Copy `columns` columns of `source`, starting at `first`, to `target`, starting at `at`."""
    for c in range(columns):
        for i in range(len(lanes)):
            target[(at + c) * L + i] = source[(first + c) * L + i]


@inlined
def _record_vision(t, lanes, row):  # type: ignore[no-untyped-def]
    _copy(lanes, s.SEEN_SIZE, t, s.EYE_HAND_X, row, 0)


@inlined
def _record_proprioception(t, lanes, row):  # type: ignore[no-untyped-def]
    # Angles and velocities are adjacent, as in the ring buffer.
    _copy(lanes, 6, t, s.ANGLE_1, row, s.SEEN_SIZE)
    _copy(lanes, 1, t, s.APERTURE, row, s.SEEN_SIZE + 6)
    _copy(lanes, 3, t, s.TOUCH_LEFT, row, s.SEEN_SIZE + 7)


@inlined
def _is_due(delay_rows, inner):  # type: ignore[no-untyped-def]
    """Return whether a delay, in inner steps, samples the state after inner step `inner` (1..INNER_STEPS)."""
    return s.INNER_STEPS - (int(delay_rows) & (s.INNER_STEPS - 1)) == inner


@kernel
def delayed_samples_due(t, lanes, delay):  # type: ignore[no-untyped-def]
    """Return the inner steps (1..INNER_STEPS) at which the delays in column `delay` sample the state, as a bit set."""
    bits = 0
    for i in range(len(lanes)):
        bits |= 1 << (s.INNER_STEPS - (int(t[delay * L + i]) & (s.INNER_STEPS - 1)))
    return bits


@kernel
def record_history(t, lanes, history, tick, inner, vision_due, proprioception_due):  # type: ignore[no-untyped-def]
    """Write the samples that are due after inner step `inner` to the ring buffer.

    At the last inner step the EYE columns must be up to date; at earlier inner steps this function writes them.

    Args:
        t, lanes, history, tick: as for `loop.advance`.
        inner: 1..INNER_STEPS.
        vision_due, proprioception_due: `delayed_samples_due` of both delays.
    """
    row = history[tick % s.HISTORY_ROWS]
    now = 1 << inner
    if vision_due & now:
        if inner < s.INNER_STEPS:
            apply_visual_map(t, lanes)
        if vision_due == now:
            _record_vision(t, lanes, row)
        else:
            for i in range(len(lanes)):
                if _is_due(t[s.VISION_DELAY * L + i], inner):
                    _record_vision(t[i:], s.FIRST_LANE, row[i:])
    if proprioception_due == now:
        _record_proprioception(t, lanes, row)
    elif proprioception_due & now:
        for i in range(len(lanes)):
            if _is_due(t[s.PROPRIOCEPTION_DELAY * L + i], inner):
                _record_proprioception(t[i:], s.FIRST_LANE, row[i:])


@kernel
def record_start(t, history, tick, i):  # type: ignore[no-untyped-def]
    """Write lane `i`'s samples at the start of its trial to the ring buffer."""
    row = history[tick % s.HISTORY_ROWS]
    apply_visual_map(t[i:], s.FIRST_LANE)
    _record_vision(t[i:], s.FIRST_LANE, row[i:])
    _record_proprioception(t[i:], s.FIRST_LANE, row[i:])


@inlined
def _past_row(t, tick, delay, i):  # type: ignore[no-untyped-def]
    """Return the row of the ring buffer that lane `i` reads now for the delay in column `delay`.

    It is never before the first row of the trial.
    """
    age = int(t[s.CLOCK * L + i]) // s.INNER_STEPS
    return (tick - min(age, int(t[delay * L + i]) // s.INNER_STEPS)) % s.HISTORY_ROWS


@inlined
def _read_delayed(t, lanes, history, tick, first):  # type: ignore[no-untyped-def]
    """Write the LATE columns of `lanes` from `first` on, whose samples have the same age, from the ring buffer."""
    vision = history[_past_row(t, tick, s.VISION_DELAY, first)]
    proprioception = history[_past_row(t, tick, s.PROPRIOCEPTION_DELAY, first)]
    _copy(lanes, s.SEEN_SIZE, vision[first:], 0, t[first:], s.LATE)
    _copy(lanes, s.HISTORY_SIZE - s.SEEN_SIZE, proprioception[first:], s.SEEN_SIZE, t[first:], s.LATE_ANGLE_1)


@kernel
def _read_all_delayed(t, lanes, history, tick):  # type: ignore[no-untyped-def]
    """Write the LATE columns of a tile; if all lanes read samples of the same age, copy them together."""
    differ = False
    for delay in (s.VISION_DELAY, s.PROPRIOCEPTION_DELAY):
        age = smaller(t[s.CLOCK * L], t[delay * L])
        for i in range(1, len(lanes)):
            differ |= smaller(t[s.CLOCK * L + i], t[delay * L + i]) != age
    if differ:
        for i in range(len(lanes)):
            _read_delayed(t, s.FIRST_LANE, history, tick, i)
    else:
        _read_delayed(t, lanes, history, tick, 0)


@inlined
def _observe(t, i, out):  # type: ignore[no-untyped-def]
    """Write lane `i`'s observation (OBSERVATION_SIZE,) from its LATE columns and this step's noise.

    Values are clipped to the bounds of the observation space, as receptors saturate.
    """
    visible = t[s.LATE_VISIBLE * L + i]
    hand_noise = t[s.HAND_NOISE_M * L + i]
    cup_noise = t[s.CUP_NOISE_M * L + i]
    hand_x = clip(t[s.LATE_HAND_X * L + i] + hand_noise * t[s.NOISE_HAND_X * L + i], -1.5, 1.5)
    hand_y = clip(t[s.LATE_HAND_Y * L + i] + hand_noise * t[s.NOISE_HAND_Y * L + i], -1.5, 1.5)
    out[0] = hand_x if visible > 0.0 else 0.0
    out[1] = hand_y if visible > 0.0 else 0.0
    out[2] = visible
    cup_x = t[s.LATE_CUP_X * L + i]
    cup_y = t[s.LATE_CUP_Y * L + i]
    gone = cup_x == 0.0 and cup_y == 0.0
    out[3] = 0.0 if gone else clip(cup_x + cup_noise * t[s.NOISE_CUP_X * L + i], -1.5, 1.5)
    out[4] = 0.0 if gone else clip(cup_y + cup_noise * t[s.NOISE_CUP_Y * L + i], -1.5, 1.5)
    for k in range(3):
        angle_noise = t[s.ANGLE_NOISE * L + i] * t[(s.NOISE_ANGLE_1 + k) * L + i]
        velocity_noise = t[s.VELOCITY_NOISE * L + i] * t[(s.NOISE_VELOCITY_1 + k) * L + i]
        out[5 + k] = clip(t[(s.LATE_ANGLE_1 + k) * L + i] + angle_noise, -3.14, 3.14)
        out[8 + k] = clip(t[(s.LATE_VELOCITY_1 + k) * L + i] + velocity_noise, -s.FASTEST_RAD_S, s.FASTEST_RAD_S)
        out[12 + k] = t[(s.LATE_LEFT + k) * L + i]
    aperture = t[s.LATE_APERTURE * L + i] + t[s.APERTURE_NOISE * L + i] * t[s.NOISE_APERTURE * L + i]
    out[11] = clip(aperture, -0.02, 0.13)
    for k in range(4):
        out[15 + k] = t[(s.COMMANDED_1 + k) * L + i]


@kernel
def observe(t, lanes, history, tick, out):  # type: ignore[no-untyped-def]
    """Write the delayed and noisy observations of a tile to `out` (LANES, OBSERVATION_SIZE)."""
    _read_all_delayed(t, lanes, history, tick)
    for i in range(len(lanes)):
        _observe(t, i, out[i])


@kernel
def observe_start(t, history, tick, i, out):  # type: ignore[no-untyped-def]
    """Write the first observation of lane `i`'s trial to `out` (OBSERVATION_SIZE,)."""
    _read_delayed(t, s.FIRST_LANE, history, tick, i)
    _observe(t, i, out)
