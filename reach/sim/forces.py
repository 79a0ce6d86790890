"""Forces from outside on the hand, compiled: velocity fields, constant forces and pulses, and the force channel.

A force F at the grasp point turns the joints by tau = J^T F.
"""

from __future__ import annotations

from reach.sim import layout as s
from reach.sim.dynamics import push
from reach.sim.elementary import sine_and_cosine
from reach.sim.jit import inlined, kernel

L = s.LANES
# The robot that pushes the hand saturates, in each direction, well above the forces of any reach in a common field.
LARGEST_FORCE_N = 100.0
# A hand beside the channel is led back to it no faster than this.
CHANNEL_SPEED_M_S = 0.5
CHANNEL_ITERATIONS = 3


@inlined
def _arms(t, i, q1, q2, q3):  # type: ignore[no-untyped-def]
    """Vectors from shoulder, elbow and wrist to the grasp point, m: x1, y1, x2, y2, x3, y3."""
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
    """Unit vector along lane `i`'s channel: the direction of the cup, turned."""
    cosine = t[s.CHANNEL_COSINE * L + i]
    sine = t[s.CHANNEL_SINE * L + i]
    x = t[s.TARGET_X * L + i]
    y = t[s.TARGET_Y * L + i]
    return cosine * x - sine * y, sine * x + cosine * y


@kernel
def first_onset(t, lanes, columns):  # type: ignore[no-untyped-def]
    """The earliest of the onsets in some columns of any lane of tile `t`; NEVER when none is set."""
    earliest = s.NEVER
    for column in columns:
        for i in range(len(lanes)):
            earliest = min(earliest, t[column * L + i])
    return earliest


@kernel
def clear_forces(t, lanes):  # type: ignore[no-untyped-def]
    """No force from outside in any lane."""
    for i in range(len(lanes)):
        t[s.OUTSIDE_1 * L + i] = 0.0
        t[s.OUTSIDE_2 * L + i] = 0.0
        t[s.OUTSIDE_3 * L + i] = 0.0
        t[s.HAND_FORCE_X * L + i] = 0.0
        t[s.HAND_FORCE_Y * L + i] = 0.0


@kernel
def apply_forces(t, lanes):  # type: ignore[no-untyped-def]
    """Write the joint torques of the forces at the point of this stage: F = B v + constant + pulse + channel.

    The channel's force is that of the step before; `hold_in_channel` adds what it lacks.
    """
    for i in range(len(lanes)):
        v1 = t[s.AT_VELOCITY_1 * L + i]
        v2 = t[s.AT_VELOCITY_2 * L + i]
        v3 = t[s.AT_VELOCITY_3 * L + i]
        x1, y1, x2, y2, x3, y3 = _arms(t, i, t[s.AT_ANGLE_1 * L + i], t[s.AT_ANGLE_2 * L + i], t[s.AT_ANGLE_3 * L + i])
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
    """Give lane `i` the impulses that end this step with its hand on the channel's line and no speed aside.

    The channel is a rigid frictionless slot from the start through the cup's first place, turned by the channel's
    angle; a stiff spring (as in Scheidt et al. 2000, J Neurophysiol 84:853) would need a far smaller step. Its force is
    that of the wall on the hand, to the left of the line's direction, N, a mean over the step.
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
        x1, y1, x2, y2, x3, y3 = _arms(
            t, i,
            w[s.ANGLE_1] + step * w[s.SUM_VELOCITY_1],
            w[s.ANGLE_2] + step * w[s.SUM_VELOCITY_2],
            w[s.ANGLE_3] + step * w[s.SUM_VELOCITY_3],
        )  # fmt: skip
        j1 = y1 * along_y + x1 * along_x
        j2 = y2 * along_y + x2 * along_x
        j3 = y3 * along_y + x3 * along_x
        aside = (y1 - w[s.START_Y]) * along_x - (x1 - w[s.START_X]) * along_y
        push(t, i, w, s.SUM_VELOCITY_1, j1, j2, j3, (goal - aside) / step)
    end = j1 * w[s.VELOCITY_1] + j2 * w[s.VELOCITY_2] + j3 * w[s.VELOCITY_3]
    w[s.CHANNEL_FORCE] += push(t, i, w, s.VELOCITY_1, j1, j2, j3, -end) / step
