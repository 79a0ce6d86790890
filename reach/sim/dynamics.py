"""Dynamics of the planar arm, compiled: full inertia and Coriolis coupling, Runge-Kutta steps, joint stops.

In absolute segment angles phi the kinetic energy is T = 1/2 sum_ij A_ij cos(phi_i - phi_j) phi'_i phi'_j with constants
A_ij of the body alone, so the equations of motion are

    sum_j A_ij cos(phi_i - phi_j) phi''_j + sum_j A_ij sin(phi_i - phi_j) phi'_j^2 = Q_i

(Goldstein, Classical Mechanics, chapter 1, for the Lagrangian). The torques at the joints give Q = (t1 - t2, t2 - t3,
t3). With a locked wrist the forearm includes the hand, and the wrist never accelerates.

An external force F at the grasp point (velocity field, constant force, pulse, force channel) adds J^T F to the torques.
"""

from __future__ import annotations

import math

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import clip, fma, sine_and_cosine

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


L = s.LANES
ONE_SIXTH = 1.0 / 6.0
# Gauss-Seidel sweeps over the joints at their stops.
STOP_SWEEPS = 16


@inlined
def _solve(a11, a22, a33, a12, a13, a23, b1, b2, b3):  # type: ignore[no-untyped-def]
    """Solve the symmetric positive definite 3 x 3 system A x = b by cofactors."""
    k11 = fma(a22, a33, -a23 * a23)
    k12 = fma(a13, a23, -a12 * a33)
    k13 = fma(a12, a23, -a13 * a22)
    inverse = 1.0 / fma(a11, k11, fma(a12, k12, a13 * k13))
    k22 = fma(a11, a33, -a13 * a13)
    k23 = fma(a12, a13, -a11 * a23)
    k33 = fma(a11, a22, -a12 * a12)
    return (
        fma(k11, b1, fma(k12, b2, k13 * b3)) * inverse,
        fma(k12, b1, fma(k22, b2, k23 * b3)) * inverse,
        fma(k13, b1, fma(k23, b2, k33 * b3)) * inverse,
    )


@inlined
def acceleration(t, i, q2, q3, v1, v2, v3, t1, t2, t3):  # type: ignore[no-untyped-def]
    """Return the joint accelerations, rad/s2, of the arm in lane `i` of tile `t`.

    Args:
        t, i: tile and lane with the inertia constants.
        q2, q3: elbow and wrist angle, rad (the shoulder angle does not enter: no gravity).
        v1, v2, v3: joint velocities, rad/s.
        t1, t2, t3: joint torques, N m.
    """
    free = t[s.WRIST_FREE * L + i]
    w2 = v1 + v2
    w3 = w2 + v3
    sine2, cosine2 = sine_and_cosine(q2)
    sine3, cosine3 = sine_and_cosine(q3)
    a12 = t[s.INERTIA_12 * L + i]
    a13 = t[s.INERTIA_13 * L + i]
    a23 = t[s.INERTIA_23 * L + i]
    # Coupling times the sine of the angle between the segments.
    c12 = a12 * sine2
    c13 = a13 * fma(sine2, cosine3, cosine2 * sine3)
    c23 = a23 * sine3
    square1 = v1 * v1
    square2 = w2 * w2
    square3 = w3 * w3
    wrist = free * t3
    b1 = fma(c12, square2, fma(c13, square3, t1 - t2))
    b2 = fma(-c12, square1, fma(c23, square3, t2 - wrist))
    b3 = fma(-c13, square1, fma(-c23, square2, wrist))
    x1, x2, x3 = _solve(
        t[s.INERTIA_11 * L + i], t[s.INERTIA_22 * L + i], t[s.INERTIA_33 * L + i],
        a12 * cosine2, a13 * fma(cosine2, cosine3, -sine2 * sine3), a23 * cosine3, b1, b2, b3,
    )  # fmt: skip
    return x1, x2 - x1, free * (x3 - x2)


@inlined
def weighted_sum(first, second, third, fourth):  # type: ignore[no-untyped-def]
    """Return six times the mean of a rate over a Runge-Kutta step, from its four stages."""
    return fourth + fma(2.0, third, fma(2.0, second, first))


@inlined
def clip_velocity(rate):  # type: ignore[no-untyped-def]
    """Return a joint velocity clipped to FASTEST_RAD_S, which bounds it in a field that feeds energy to the arm."""
    return clip(rate, -s.FASTEST_RAD_S, s.FASTEST_RAD_S)


@kernel
def begin_step(t, lanes):  # type: ignore[no-untyped-def]
    """Set the first stage of a Runge-Kutta step to the present angles and velocities."""
    for i in range(len(lanes)):
        for j in range(3):
            t[(s.STAGE_ANGLE_1 + j) * L + i] = t[(s.ANGLE_1 + j) * L + i]
            t[(s.STAGE_VELOCITY_1 + j) * L + i] = t[(s.VELOCITY_1 + j) * L + i]


@kernel
def stage(t, lanes, number, ahead):  # type: ignore[no-untyped-def]
    """Compute one stage of a Runge-Kutta step under the TORQUE and OUTSIDE torques of the tile.

    Args:
        t: tile. Its STAGE columns hold the point of this stage and receive that of the next; its SUM columns hold the
            partial sums of `weighted_sum`.
        lanes: as for `loop.advance`.
        number: of this stage, 0..3.
        ahead: time from the start of the step to the next stage, s.
    """
    for i in range(len(lanes)):
        v1 = t[s.STAGE_VELOCITY_1 * L + i]
        v2 = t[s.STAGE_VELOCITY_2 * L + i]
        v3 = t[s.STAGE_VELOCITY_3 * L + i]
        a1, a2, a3 = acceleration(
            t, i, t[s.STAGE_ANGLE_2 * L + i], t[s.STAGE_ANGLE_3 * L + i], v1, v2, v3,
            t[s.TORQUE_1 * L + i] + t[s.OUTSIDE_1 * L + i],
            t[s.TORQUE_2 * L + i] + t[s.OUTSIDE_2 * L + i],
            t[s.TORQUE_3 * L + i] + t[s.OUTSIDE_3 * L + i],
        )  # fmt: skip
        _accumulate(t, s.SUM_VELOCITY_1 * L + i, number, v1)
        _accumulate(t, s.SUM_VELOCITY_2 * L + i, number, v2)
        _accumulate(t, s.SUM_VELOCITY_3 * L + i, number, v3)
        _accumulate(t, s.SUM_ACCELERATION_1 * L + i, number, a1)
        _accumulate(t, s.SUM_ACCELERATION_2 * L + i, number, a2)
        _accumulate(t, s.SUM_ACCELERATION_3 * L + i, number, a3)
        t[s.STAGE_ANGLE_1 * L + i] = fma(ahead, v1, t[s.ANGLE_1 * L + i])
        t[s.STAGE_ANGLE_2 * L + i] = fma(ahead, v2, t[s.ANGLE_2 * L + i])
        t[s.STAGE_ANGLE_3 * L + i] = fma(ahead, v3, t[s.ANGLE_3 * L + i])
        t[s.STAGE_VELOCITY_1 * L + i] = fma(ahead, a1, t[s.VELOCITY_1 * L + i])
        t[s.STAGE_VELOCITY_2 * L + i] = fma(ahead, a2, t[s.VELOCITY_2 * L + i])
        t[s.STAGE_VELOCITY_3 * L + i] = fma(ahead, a3, t[s.VELOCITY_3 * L + i])


@inlined
def _accumulate(t, at, number, rate):  # type: ignore[no-untyped-def]
    """Add a stage's rate to the sum at `at`, in the order of `weighted_sum`."""
    middle = number == 1 or number == 2
    before = t[at]
    t[at] = rate if number == 0 else (fma(2.0, rate, before) if middle else rate + before)


@kernel
def end_step(t, lanes, step):  # type: ignore[no-untyped-def]
    """Write the velocity after a step of `step` seconds to VELOCITY, and its mean over the step to SUM_VELOCITY."""
    sixth = step / 6.0
    for i in range(len(lanes)):
        for j in range(3):
            before = t[(s.VELOCITY_1 + j) * L + i]
            t[(s.VELOCITY_1 + j) * L + i] = clip_velocity(fma(sixth, t[(s.SUM_ACCELERATION_1 + j) * L + i], before))
            t[(s.SUM_VELOCITY_1 + j) * L + i] = clip_velocity(ONE_SIXTH * t[(s.SUM_VELOCITY_1 + j) * L + i])


@inlined
def overshoot(t, i, step, rate1, rate2, rate3):  # type: ignore[no-untyped-def]
    """Return how far the joints at these velocities would pass their stops in `step` seconds, summed, rad."""
    end1 = fma(step, rate1, t[s.ANGLE_1 * L + i])
    end2 = fma(step, rate2, t[s.ANGLE_2 * L + i])
    end3 = fma(step, rate3, t[s.ANGLE_3 * L + i])
    past1 = end1 - clip(end1, t[s.LOWER_1 * L + i], t[s.UPPER_1 * L + i])
    past2 = end2 - clip(end2, t[s.LOWER_2 * L + i], t[s.UPPER_2 * L + i])
    past3 = end3 - clip(end3, t[s.LOWER_3 * L + i], t[s.UPPER_3 * L + i])
    return abs(past1) + abs(past2) + abs(past3)


@kernel
def find_overshoot(t, lanes, step):  # type: ignore[no-untyped-def]
    """Write `overshoot` at the mean velocities of this step to the OVERSHOOT column."""
    for i in range(len(lanes)):
        t[s.OVERSHOOT * L + i] = overshoot(
            t, i, step,
            t[s.SUM_VELOCITY_1 * L + i], t[s.SUM_VELOCITY_2 * L + i], t[s.SUM_VELOCITY_3 * L + i],
        )  # fmt: skip


@kernel
def turn_joints(t, lanes, step):  # type: ignore[no-untyped-def]
    """Turn the joints by the mean velocity of this step; with OVERSHOOT up to date, none crosses its limit."""
    for i in range(len(lanes)):
        if t[s.OVERSHOOT * L + i] > 0.0:
            _apply_stops(t, i, step)
    for i in range(len(lanes)):
        for j in range(3):
            t[(s.ANGLE_1 + j) * L + i] = fma(step, t[(s.SUM_VELOCITY_1 + j) * L + i], t[(s.ANGLE_1 + j) * L + i])


@inlined
def _mobility(t, i):  # type: ignore[no-untyped-def]
    """Return the inverse of lane `i`'s inertia matrix in joint angles, 1/(kg m2): r11, r12, r13, r22, r23, r33."""
    free = t[s.WRIST_FREE * L + i]
    sine2, cosine2 = sine_and_cosine(t[s.ANGLE_2 * L + i])
    sine3, cosine3 = sine_and_cosine(t[s.ANGLE_3 * L + i])
    a11, a22, a33 = t[s.INERTIA_11 * L + i], t[s.INERTIA_22 * L + i], t[s.INERTIA_33 * L + i]
    a12 = t[s.INERTIA_12 * L + i] * cosine2
    a13 = t[s.INERTIA_13 * L + i] * (cosine2 * cosine3 - sine2 * sine3)
    a23 = t[s.INERTIA_23 * L + i] * cosine3
    k11 = a22 * a33 - a23 * a23
    k12 = a13 * a23 - a12 * a33
    k13 = a12 * a23 - a13 * a22
    k22 = a11 * a33 - a13 * a13
    k23 = a12 * a13 - a11 * a23
    k33 = a11 * a22 - a12 * a12
    scale = 1.0 / (a11 * k11 + a12 * k12 + a13 * k13)
    return (
        scale * k11,
        scale * (k12 - k11),
        scale * (k13 - k12) * free,
        scale * (k22 - 2.0 * k12 + k11),
        scale * (k23 - k22 - k13 + k12) * free,
        scale * (k33 - 2.0 * k23 + k22) * free,
    )


@kernel
def _apply_stops(t, i, step):  # type: ignore[no-untyped-def]
    """Change lane `i`'s velocities, mean and after this step, so that no joint crosses its limit.

    The stops are inelastic. A joint about to cross receives the impulse that brings it just to its limit; the inertia
    matrix passes the impulse on to the other joints. Several joints at their stops are solved by Gauss-Seidel sweeps;
    what remains is clipped.
    """
    r11, r12, r13, r22, r23, r33 = _mobility(t, i)
    v1 = t[s.SUM_VELOCITY_1 * L + i]
    v2 = t[s.SUM_VELOCITY_2 * L + i]
    v3 = t[s.SUM_VELOCITY_3 * L + i]
    rate = 1.0 / step
    high1 = (t[s.UPPER_1 * L + i] - t[s.ANGLE_1 * L + i]) * rate
    high2 = (t[s.UPPER_2 * L + i] - t[s.ANGLE_2 * L + i]) * rate
    high3 = (t[s.UPPER_3 * L + i] - t[s.ANGLE_3 * L + i]) * rate
    low1 = (t[s.LOWER_1 * L + i] - t[s.ANGLE_1 * L + i]) * rate
    low2 = (t[s.LOWER_2 * L + i] - t[s.ANGLE_2 * L + i]) * rate
    low3 = (t[s.LOWER_3 * L + i] - t[s.ANGLE_3 * L + i]) * rate
    for _ in range(STOP_SWEEPS):
        excess1 = v1 - clip(v1, low1, high1)
        if excess1 != 0.0:
            impulse = -excess1 / r11
            v1 += impulse * r11
            v2 += impulse * r12
            v3 += impulse * r13
        excess2 = v2 - clip(v2, low2, high2)
        if excess2 != 0.0:
            impulse = -excess2 / r22
            v1 += impulse * r12
            v2 += impulse * r22
            v3 += impulse * r23
        excess3 = v3 - clip(v3, low3, high3)
        if excess3 != 0.0 and r33 > 0.0:
            impulse = -excess3 / r33
            v1 += impulse * r13
            v2 += impulse * r23
            v3 += impulse * r33
        if abs(excess1) + abs(excess2) + abs(excess3) < 1e-9:
            break
    v1 = clip(v1, low1, high1)
    v2 = clip(v2, low2, high2)
    v3 = clip(v3, low3, high3)
    t[s.SUM_VELOCITY_1 * L + i] = v1
    t[s.SUM_VELOCITY_2 * L + i] = v2
    t[s.SUM_VELOCITY_3 * L + i] = v3
    t[s.VELOCITY_1 * L + i] = v1
    t[s.VELOCITY_2 * L + i] = v2
    t[s.VELOCITY_3 * L + i] = v3


@kernel
def apply_impulse(t, i, w, first, j1, j2, j3, change):  # type: ignore[no-untyped-def]
    """Change the speed along a generalised direction by an impulse along it; return the impulse.

    Args:
        t, i, w: tile, lane and its row.
        first: column of the first of three joint velocities to change.
        j1, j2, j3: the direction, a row of a Jacobian.
        change: of j . velocity.
    """
    r11, r12, r13, r22, r23, r33 = _mobility(t, i)
    u1 = r11 * j1 + r12 * j2 + r13 * j3
    u2 = r12 * j1 + r22 * j2 + r23 * j3
    u3 = r13 * j1 + r23 * j2 + r33 * j3
    impulse = change / (j1 * u1 + j2 * u2 + j3 * u3)
    w[first] += impulse * u1
    w[first + 1] += impulse * u2
    w[first + 2] += impulse * u3
    return impulse


@kernel
def forward_dynamics(t, angle, velocity, torque, result):  # type: ignore[no-untyped-def]
    """Write the joint accelerations of n states to `result` (n, 3) rad/s2.

    Args:
        t: tile, whose lane 0 holds the inertia constants.
        angle, velocity, torque: (n, 3) rad, rad/s and N m.
        result: (n, 3), overwritten.
    """
    for k in range(angle.shape[0]):
        result[k, 0], result[k, 1], result[k, 2] = acceleration(
            t, 0, angle[k, 1], angle[k, 2], velocity[k, 0], velocity[k, 1], velocity[k, 2],
            torque[k, 0], torque[k, 1], torque[k, 2],
        )  # fmt: skip


@kernel
def inverse_dynamics(length, mass, centre, inertia, angle, velocity, acceleration, torque):  # type: ignore[no-untyped-def]
    """Write the joint torques of n states to `torque` (n, 3) N m: segment by segment from the hand inwards.

    Source: Featherstone 2008, Rigid Body Dynamics Algorithms, section 5.3.

    Args:
        length, mass, centre, inertia: of the three segments, as in `Arm`.
        angle, velocity, acceleration: (n, 3) rad, rad/s and rad/s2.
        torque: (n, 3), overwritten.
    """
    for i in range(len(angle)):
        absolute = _summed(angle[i, 0], angle[i, 1], angle[i, 2])
        rate = _summed(velocity[i, 0], velocity[i, 1], velocity[i, 2])
        spin = _summed(acceleration[i, 0], acceleration[i, 1], acceleration[i, 2])
        moment, force_x, force_y = 0.0, 0.0, 0.0
        for k in (2, 1, 0):
            x, y = 0.0, 0.0
            for j in range(k + 1):
                # Acceleration of a point along the segment, beyond that of the segment's proximal joint.
                along = centre[k] if j == k else length[j]
                cosine, sine = math.cos(absolute[j]), math.sin(absolute[j])
                x -= along * (spin[j] * sine + rate[j] * rate[j] * cosine)
                y += along * (spin[j] * cosine - rate[j] * rate[j] * sine)
            own_x, own_y = mass[k] * x, mass[k] * y
            cosine, sine = math.cos(absolute[k]), math.sin(absolute[k])
            moment += inertia[k] * spin[k]
            moment += centre[k] * (cosine * own_y - sine * own_x) + length[k] * (cosine * force_y - sine * force_x)
            force_x += own_x
            force_y += own_y
            torque[i, k] = moment


@inlined
def _summed(first, second, third):  # type: ignore[no-untyped-def]
    """Return the absolute values of three segments from relative ones of the joints."""
    return first, first + second, first + second + third
