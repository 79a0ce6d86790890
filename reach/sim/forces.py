"""External forces on the hand, compiled: velocity fields, constant forces, pulses and the force channel.

A force F at the grasp point turns the joints by tau = J^T F.
"""

from __future__ import annotations

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.dynamics import apply_impulse
from reach.sim.elementary import sine_and_cosine

L = s.LANES
# The robot saturates in each direction, well above the forces of any reach in a common field.
LARGEST_FORCE_N = 100.0
# The channel returns a hand that is beside it no faster than this.
CHANNEL_SPEED_M_S = 0.5
CHANNEL_ITERATIONS = 3


@inlined
def _lever_arms(t, i, q1, q2, q3):  # type: ignore[no-untyped-def]
    """Return the vectors from shoulder, elbow and wrist to the grasp point, m: x1, y1, x2, y2, x3, y3."""
    sine1, cosine1 = sine_and_cosine(q1)
    sine2, cosine2 = sine_and_cosine(q1 + q2)
    sine3, cosine3 = sine_and_cosine(q1 + q2 + q3)
    x3 = t[s.WRIST_TO_GRASP * L + i] * cosine3
    y3 = t[s.WRIST_TO_GRASP * L + i] * sine3
    x2 = x3 + t[s.LENGTH_2 * L + i] * cosine2
    y2 = y3 + t[s.LENGTH_2 * L + i] * sine2
    return (
        x2 + t[s.LENGTH_1 * L + i] * cosine1, y2 + t[s.LENGTH_1 * L + i] * sine1, x2, y2, x3, y3,
    )  # fmt: skip


@inlined
def _channel(t, i):  # type: ignore[no-untyped-def]
    """Return the unit vector along lane `i`'s channel: the direction of the cup, rotated."""
    cosine = t[s.CHANNEL_COSINE * L + i]
    sine = t[s.CHANNEL_SINE * L + i]
    x = t[s.TARGET_X * L + i]
    y = t[s.TARGET_Y * L + i]
    return cosine * x - sine * y, sine * x + cosine * y


@kernel
def first_onset(t, lanes, columns):  # type: ignore[no-untyped-def]
    """Return the earliest onset in `columns` over the lanes of tile `t`; NEVER where none is set."""
    earliest = s.NEVER
    for column in columns:
        for i in range(len(lanes)):
            earliest = min(earliest, t[column * L + i])
    return earliest


@kernel
def clear_forces(t, lanes):  # type: ignore[no-untyped-def]
    """Set the external forces of every lane to zero."""
    for i in range(len(lanes)):
        t[s.OUTSIDE_1 * L + i] = 0.0
        t[s.OUTSIDE_2 * L + i] = 0.0
        t[s.OUTSIDE_3 * L + i] = 0.0
        t[s.HAND_FORCE_X * L + i] = 0.0
        t[s.HAND_FORCE_Y * L + i] = 0.0


@kernel
def apply_forces(t, lanes):  # type: ignore[no-untyped-def]
    """Write the joint torques of F = B v + constant + pulse + channel at the point of this Runge-Kutta stage.

    The channel's force is that of the previous step; `hold_in_channel` adds the rest.
    """
    for i in range(len(lanes)):
        v1 = t[s.STAGE_VELOCITY_1 * L + i]
        v2 = t[s.STAGE_VELOCITY_2 * L + i]
        v3 = t[s.STAGE_VELOCITY_3 * L + i]
        x1, y1, x2, y2, x3, y3 = _lever_arms(
            t, i, t[s.STAGE_ANGLE_1 * L + i], t[s.STAGE_ANGLE_2 * L + i], t[s.STAGE_ANGLE_3 * L + i]
        )
        vx = -y1 * v1 - y2 * v2 - y3 * v3
        vy = x1 * v1 + x2 * v2 + x3 * v3
        clock = t[s.CLOCK * L + i]
        field = 1.0 if clock >= t[s.FIELD_ONSET * L + i] else 0.0
        constant = 1.0 if clock >= t[s.FORCE_ONSET * L + i] else 0.0
        nudge = 1.0 if t[s.NUDGE_ONSET * L + i] <= clock < t[s.NUDGE_UNTIL * L + i] else 0.0
        fx = (
            field * (t[s.FIELD_11 * L + i] * vx + t[s.FIELD_12 * L + i] * vy)
            + constant * t[s.FORCE_X * L + i]
            + nudge * t[s.NUDGE_X * L + i]
        )
        fy = (
            field * (t[s.FIELD_21 * L + i] * vx + t[s.FIELD_22 * L + i] * vy)
            + constant * t[s.FORCE_Y * L + i]
            + nudge * t[s.NUDGE_Y * L + i]
        )
        fx = min(LARGEST_FORCE_N, max(-LARGEST_FORCE_N, fx))
        fy = min(LARGEST_FORCE_N, max(-LARGEST_FORCE_N, fy))
        t[s.HAND_FORCE_X * L + i] = fx
        t[s.HAND_FORCE_Y * L + i] = fy
        along_x, along_y = _channel(t, i)
        fx -= along_y * t[s.CHANNEL_FORCE * L + i]
        fy += along_x * t[s.CHANNEL_FORCE * L + i]
        t[s.OUTSIDE_1 * L + i] = x1 * fy - y1 * fx
        t[s.OUTSIDE_2 * L + i] = x2 * fy - y2 * fx
        t[s.OUTSIDE_3 * L + i] = x3 * fy - y3 * fx


@kernel
def hold_in_channel(t, i, step):  # type: ignore[no-untyped-def]
    """Apply the impulses after which lane `i`'s hand is on the channel's line, without lateral speed.

    The channel is a rigid frictionless slot from the start through the first place of the cup, rotated by the
    channel's angle; a stiff spring (Scheidt et al. 2000, J Neurophysiol 84:853) would need a far smaller step.
    CHANNEL_FORCE is the mean force of the wall on the hand over the step, N, positive to the left of the line.
    """
    w = t[i::L]
    if w[s.CHANNEL_ONSET] == s.NEVER:
        return
    along_x, along_y = _channel(t, i)
    aside = (w[s.HAND_Y] - w[s.START_Y]) * along_x - (w[s.HAND_X] - w[s.START_X]) * along_y
    back = CHANNEL_SPEED_M_S * step
    goal = aside - min(back, max(-back, aside))
    j1 = 0.0
    j2 = 0.0
    j3 = 0.0
    for _ in range(CHANNEL_ITERATIONS):
        x1, y1, x2, y2, x3, y3 = _lever_arms(
            t, i,
            w[s.ANGLE_1] + step * w[s.SUM_VELOCITY_1],
            w[s.ANGLE_2] + step * w[s.SUM_VELOCITY_2],
            w[s.ANGLE_3] + step * w[s.SUM_VELOCITY_3],
        )  # fmt: skip
        j1 = y1 * along_y + x1 * along_x
        j2 = y2 * along_y + x2 * along_x
        j3 = y3 * along_y + x3 * along_x
        aside = (y1 - w[s.START_Y]) * along_x - (x1 - w[s.START_X]) * along_y
        apply_impulse(t, i, w, s.SUM_VELOCITY_1, j1, j2, j3, (goal - aside) / step)
    end = j1 * w[s.VELOCITY_1] + j2 * w[s.VELOCITY_2] + j3 * w[s.VELOCITY_3]
    w[s.CHANNEL_FORCE] += apply_impulse(t, i, w, s.VELOCITY_1, j1, j2, j3, -end) / step
