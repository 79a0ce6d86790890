"""Dynamics of the planar arm, compiled: full inertia and Coriolis coupling, Runge-Kutta steps, joint stops.

In absolute segment angles phi, the kinetic energy is T = 1/2 sum_ij A_ij cos(phi_i - phi_j) phi'_i phi'_j, where the
constants A_ij depend on the body only. The equations of motion are therefore

    sum_j A_ij cos(phi_i - phi_j) phi''_j + sum_j A_ij sin(phi_i - phi_j) phi'_j^2 = Q_i

(Goldstein, Classical Mechanics, chapter 1, for the Lagrangian). With the joint torques t, Q = (t1 - t2, t2 - t3, t3).
With a locked wrist the forearm includes the hand, and the wrist never accelerates.

An external force F at the grasp point (velocity field, constant force, pulse, force channel) adds J^T F to the torques.
"""

from __future__ import annotations

import math

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import clip, fma, sine_and_cosine

L = s.LANES
# Saturation of the robot's force in each direction, well above the forces of reaches in common fields.
LARGEST_FORCE_N = 100.0
# Largest speed with which the channel returns a hand that is beside it.
CHANNEL_SPEED_M_S = 0.5
CHANNEL_ITERATIONS = 3
ONE_SIXTH = 1.0 / 6.0
# Number of Gauss-Seidel sweeps over the joints at their stops.
STOP_SWEEPS = 16


@inlined
def read_three(t, column, i):  # type: ignore[no-untyped-def]
    """Return lane `i` of a column of tile `t` and of the next two columns, for example of the three joints."""
    return t[column * L + i], t[(column + 1) * L + i], t[(column + 2) * L + i]


@inlined
def write_three(t, column, i, values):  # type: ignore[no-untyped-def]
    """Write three values to the columns that `read_three` reads."""
    t[column * L + i], t[(column + 1) * L + i], t[(column + 2) * L + i] = values


@inlined
def sum_of(first, second):  # type: ignore[no-untyped-def]
    """Return the sum of two vectors of three numbers."""
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


@inlined
def difference_of(first, second):  # type: ignore[no-untyped-def]
    """Return the difference of two vectors of three numbers."""
    return first[0] - second[0], first[1] - second[1], first[2] - second[2]


@inlined
def moved(factor, rate, start):  # type: ignore[no-untyped-def]
    """Return factor x rate + start for vectors of three numbers, rounded once."""
    return fma(factor, rate[0], start[0]), fma(factor, rate[1], start[1]), fma(factor, rate[2], start[2])


@inlined
def _lever_arms(t, i, q):  # type: ignore[no-untyped-def]
    """Return x and y of the vectors from shoulder, elbow and wrist to the grasp point, m, at joint angles q."""
    sine1, cosine1 = sine_and_cosine(q[0])
    sine2, cosine2 = sine_and_cosine(q[0] + q[1])
    sine3, cosine3 = sine_and_cosine(q[0] + q[1] + q[2])
    x3 = t[s.WRIST_TO_GRASP * L + i] * cosine3
    y3 = t[s.WRIST_TO_GRASP * L + i] * sine3
    x2 = x3 + t[s.LENGTH_2 * L + i] * cosine2
    y2 = y3 + t[s.LENGTH_2 * L + i] * sine2
    return (x2 + t[s.LENGTH_1 * L + i] * cosine1, x2, x3), (y2 + t[s.LENGTH_1 * L + i] * sine1, y2, y3)


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
    """Return the earliest onset in `columns` over the lanes of tile `t`; NEVER if none is set."""
    earliest = s.NEVER
    for column in columns:
        for i in range(len(lanes)):
            earliest = min(earliest, t[column * L + i])
    return earliest


@kernel
def clear_forces(t, lanes):  # type: ignore[no-untyped-def]
    """Set the external forces of every lane to zero."""
    for column in (s.OUTSIDE_1, s.OUTSIDE_2, s.OUTSIDE_3, s.HAND_FORCE_X, s.HAND_FORCE_Y):
        for i in range(len(lanes)):
            t[column * L + i] = 0.0


@kernel
def apply_forces(t, lanes):  # type: ignore[no-untyped-def]
    """Write the joint torques of F = B v + k (y, -x) + constant + pulse + channel at this Runge-Kutta stage.

    The channel's force is that of the previous step; `hold_in_channel` adds the difference.
    """
    for i in range(len(lanes)):
        v = read_three(t, s.STAGE_VELOCITY_1, i)
        x, y = _lever_arms(t, i, read_three(t, s.STAGE_ANGLE_1, i))
        vx = -y[0] * v[0] - y[1] * v[1] - y[2] * v[2]
        vy = x[0] * v[0] + x[1] * v[1] + x[2] * v[2]
        clock = t[s.CLOCK * L + i]
        field = 1.0 if clock >= t[s.FIELD_ONSET * L + i] else 0.0
        aside = t[s.POSITION_FIELD * L + i] if clock >= t[s.POSITION_FIELD_ONSET * L + i] else 0.0
        constant = 1.0 if clock >= t[s.FORCE_ONSET * L + i] else 0.0
        nudge = 1.0 if t[s.NUDGE_ONSET * L + i] <= clock < t[s.NUDGE_UNTIL * L + i] else 0.0
        fx = (
            field * (t[s.FIELD_11 * L + i] * vx + t[s.FIELD_12 * L + i] * vy)
            + aside * (y[0] - t[s.START_Y * L + i])
            + constant * t[s.FORCE_X * L + i]
            + nudge * t[s.NUDGE_X * L + i]
        )
        fy = (
            field * (t[s.FIELD_21 * L + i] * vx + t[s.FIELD_22 * L + i] * vy)
            - aside * (x[0] - t[s.START_X * L + i])
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
        outside = x[0] * fy - y[0] * fx, x[1] * fy - y[1] * fx, x[2] * fy - y[2] * fx
        write_three(t, s.OUTSIDE_1, i, outside)


@kernel
def hold_in_channel(t, i, step):  # type: ignore[no-untyped-def]
    """Apply impulses that bring the hand of lane `i` onto the channel's line, without lateral speed.

    The channel is a rigid, frictionless slot from the start through the initial position of the cup, rotated by the
    channel's angle. A stiff spring (Scheidt et al. 2000, J Neurophysiol 84:853) would need a far smaller step.
    CHANNEL_FORCE is the mean force of the wall on the hand over the step, N, positive to the left of the line.
    """
    w = t[i::L]
    if w[s.CHANNEL_ONSET] == s.NEVER:
        return
    along_x, along_y = _channel(t, i)
    aside = (w[s.HAND_Y] - w[s.START_Y]) * along_x - (w[s.HAND_X] - w[s.START_X]) * along_y
    back = CHANNEL_SPEED_M_S * step
    goal = aside - min(back, max(-back, aside))
    across = (0.0, 0.0, 0.0)
    for _ in range(CHANNEL_ITERATIONS):
        rate = read_three(t, s.SUM_VELOCITY_1, i)
        q = w[s.ANGLE_1] + step * rate[0], w[s.ANGLE_2] + step * rate[1], w[s.ANGLE_3] + step * rate[2]
        x, y = _lever_arms(t, i, q)
        across = y[0] * along_y + x[0] * along_x, y[1] * along_y + x[1] * along_x, y[2] * along_y + x[2] * along_x
        aside = (y[0] - w[s.START_Y]) * along_x - (x[0] - w[s.START_X]) * along_y
        apply_impulse(t, i, s.SUM_VELOCITY_1, across, (goal - aside) / step)
    end = across[0] * w[s.VELOCITY_1] + across[1] * w[s.VELOCITY_2] + across[2] * w[s.VELOCITY_3]
    w[s.CHANNEL_FORCE] += apply_impulse(t, i, s.VELOCITY_1, across, -end) / step


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
def acceleration(t, i, q, v, torque):  # type: ignore[no-untyped-def]
    """Return the joint accelerations, rad/s2, of the arm in lane `i` of tile `t`.

    Args:
        t, i: tile and lane, which hold the inertia constants.
        q: joint angles, rad; the shoulder angle has no effect, because there is no gravity.
        v: joint velocities, rad/s.
        torque: joint torques, N m.
    """
    free = t[s.WRIST_FREE * L + i]
    w2 = v[0] + v[1]
    w3 = w2 + v[2]
    sine2, cosine2 = sine_and_cosine(q[1])
    sine3, cosine3 = sine_and_cosine(q[2])
    a12 = t[s.INERTIA_12 * L + i]
    a13 = t[s.INERTIA_13 * L + i]
    a23 = t[s.INERTIA_23 * L + i]
    # Coupling times the sine of the angle between two segments.
    c12 = a12 * sine2
    c13 = a13 * fma(sine2, cosine3, cosine2 * sine3)
    c23 = a23 * sine3
    square1 = v[0] * v[0]
    square2 = w2 * w2
    square3 = w3 * w3
    wrist = free * torque[2]
    b1 = fma(c12, square2, fma(c13, square3, torque[0] - torque[1]))
    b2 = fma(-c12, square1, fma(c23, square3, torque[1] - wrist))
    b3 = fma(-c13, square1, fma(-c23, square2, wrist))
    x1, x2, x3 = _solve(
        t[s.INERTIA_11 * L + i], t[s.INERTIA_22 * L + i], t[s.INERTIA_33 * L + i],
        a12 * cosine2, a13 * fma(cosine2, cosine3, -sine2 * sine3), a23 * cosine3, b1, b2, b3,
    )  # fmt: skip
    return x1, x2 - x1, free * (x3 - x2)


@inlined
def weighted_sum(first, second, third, fourth):  # type: ignore[no-untyped-def]
    """Return six times the mean rate of three joints over a Runge-Kutta step, from the rates in its four stages."""
    return sum_of(fourth, moved(2.0, third, moved(2.0, second, first)))


@inlined
def clip_velocity(rate):  # type: ignore[no-untyped-def]
    """Clip joint velocities to FASTEST_RAD_S, which bounds them in a field that adds energy to the arm."""
    fastest = s.FASTEST_RAD_S
    return clip(rate[0], -fastest, fastest), clip(rate[1], -fastest, fastest), clip(rate[2], -fastest, fastest)


@inlined
def mean_velocity(sums):  # type: ignore[no-untyped-def]
    """Return the joint velocities over a Runge-Kutta step from their `weighted_sum`."""
    return clip_velocity((ONE_SIXTH * sums[0], ONE_SIXTH * sums[1], ONE_SIXTH * sums[2]))


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
        t: tile. Its STAGE columns hold the state of this stage and receive the state of the next; its SUM columns hold
            the partial sums of `weighted_sum`.
        lanes: as for `loop.advance`.
        number: number of this stage, 0..3.
        ahead: time from the start of the step to the next stage, s.
    """
    for i in range(len(lanes)):
        v = read_three(t, s.STAGE_VELOCITY_1, i)
        torque = sum_of(read_three(t, s.TORQUE_1, i), read_three(t, s.OUTSIDE_1, i))
        a = acceleration(t, i, read_three(t, s.STAGE_ANGLE_1, i), v, torque)
        _accumulate(t, s.SUM_VELOCITY_1, i, number, v)
        _accumulate(t, s.SUM_ACCELERATION_1, i, number, a)
        write_three(t, s.STAGE_ANGLE_1, i, moved(ahead, v, read_three(t, s.ANGLE_1, i)))
        write_three(t, s.STAGE_VELOCITY_1, i, moved(ahead, a, read_three(t, s.VELOCITY_1, i)))


@inlined
def _accumulate(t, column, i, number, rate):  # type: ignore[no-untyped-def]
    """Add a stage's rates to the sums in `column` and the next two columns, in the order of `weighted_sum`."""
    for j in range(3):
        at = (column + j) * L + i
        middle = number == 1 or number == 2
        before = t[at]
        t[at] = rate[j] if number == 0 else (fma(2.0, rate[j], before) if middle else rate[j] + before)


@kernel
def end_step(t, lanes, step):  # type: ignore[no-untyped-def]
    """Write the velocity after a step of `step` seconds to VELOCITY, and its mean over the step to SUM_VELOCITY."""
    sixth = step / 6.0
    for i in range(len(lanes)):
        velocity = moved(sixth, read_three(t, s.SUM_ACCELERATION_1, i), read_three(t, s.VELOCITY_1, i))
        mean = mean_velocity(read_three(t, s.SUM_VELOCITY_1, i))
        write_three(t, s.VELOCITY_1, i, clip_velocity(velocity))
        write_three(t, s.SUM_VELOCITY_1, i, mean)


@inlined
def overshoot(t, i, step, rate):  # type: ignore[no-untyped-def]
    """Return the angle, rad, summed over joints, by which these velocities would exceed the stops in `step` seconds."""
    end = moved(step, rate, read_three(t, s.ANGLE_1, i))
    low = read_three(t, s.LOWER_1, i)
    high = read_three(t, s.UPPER_1, i)
    past1 = end[0] - clip(end[0], low[0], high[0])
    past2 = end[1] - clip(end[1], low[1], high[1])
    past3 = end[2] - clip(end[2], low[2], high[2])
    return abs(past1) + abs(past2) + abs(past3)


@kernel
def find_overshoot(t, lanes, step):  # type: ignore[no-untyped-def]
    """Write the `overshoot` of the mean velocities of this step to the OVERSHOOT column."""
    for i in range(len(lanes)):
        t[s.OVERSHOOT * L + i] = overshoot(t, i, step, read_three(t, s.SUM_VELOCITY_1, i))


@kernel
def turn_joints(t, lanes, step):  # type: ignore[no-untyped-def]
    """Turn the joints by the mean velocity of this step without crossing a limit; OVERSHOOT must be up to date."""
    for i in range(len(lanes)):
        if t[s.OVERSHOOT * L + i] > 0.0:
            _apply_stops(t, i, step)
    for i in range(len(lanes)):
        angle = moved(step, read_three(t, s.SUM_VELOCITY_1, i), read_three(t, s.ANGLE_1, i))
        write_three(t, s.ANGLE_1, i, angle)


@inlined
def _mobility(t, i):  # type: ignore[no-untyped-def]
    """Return the rows of the inverse of lane `i`'s inertia matrix in joint angles, 1/(kg m2)."""
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
    r12 = scale * (k12 - k11)
    r13 = scale * (k13 - k12) * free
    r23 = scale * (k23 - k22 - k13 + k12) * free
    r22 = scale * (k22 - 2.0 * k12 + k11)
    r33 = scale * (k33 - 2.0 * k23 + k22) * free
    return (scale * k11, r12, r13), (r12, r22, r23), (r13, r23, r33)


@kernel
def _apply_stops(t, i, step):  # type: ignore[no-untyped-def]
    """Change the mean velocities of this step and the velocities after it so that no joint of lane `i` crosses a limit.

    The stops are inelastic. A joint that would cross its limit receives the impulse that brings it exactly to the
    limit; through the inertia matrix, the impulse also changes the velocities of the other joints. Gauss-Seidel sweeps
    solve for several joints at their stops; a remaining overshoot is clipped.
    """
    w = t[i::L]
    mobility = _mobility(t, i)
    rate = 1.0 / step
    for _ in range(STOP_SWEEPS):
        past = 0.0
        for j in range(3):
            low = (w[s.LOWER_1 + j] - w[s.ANGLE_1 + j]) * rate
            high = (w[s.UPPER_1 + j] - w[s.ANGLE_1 + j]) * rate
            excess = w[s.SUM_VELOCITY_1 + j] - clip(w[s.SUM_VELOCITY_1 + j], low, high)
            past += abs(excess)
            if excess != 0.0 and mobility[j][j] > 0.0:
                impulse = -excess / mobility[j][j]
                for k in range(3):
                    w[s.SUM_VELOCITY_1 + k] += impulse * mobility[j][k]
        if past < 1e-9:
            break
    for j in range(3):
        low = (w[s.LOWER_1 + j] - w[s.ANGLE_1 + j]) * rate
        high = (w[s.UPPER_1 + j] - w[s.ANGLE_1 + j]) * rate
        w[s.VELOCITY_1 + j] = w[s.SUM_VELOCITY_1 + j] = clip(w[s.SUM_VELOCITY_1 + j], low, high)


@kernel
def apply_impulse(t, i, column, direction, change):  # type: ignore[no-untyped-def]
    """Change the speed along a generalised direction by an impulse along it; return the impulse.

    Args:
        t, i: tile and lane.
        column: column of the first of three joint velocities to change.
        direction: a row of a Jacobian.
        change: wanted change of direction . velocity.
    """
    j1, j2, j3 = direction
    r1, r2, r3 = _mobility(t, i)
    u1 = r1[0] * j1 + r1[1] * j2 + r1[2] * j3
    u2 = r2[0] * j1 + r2[1] * j2 + r2[2] * j3
    u3 = r3[0] * j1 + r3[1] * j2 + r3[2] * j3
    impulse = change / (j1 * u1 + j2 * u2 + j3 * u3)
    write_three(t, column, i, sum_of(read_three(t, column, i), (impulse * u1, impulse * u2, impulse * u3)))
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
        result[k, 0], result[k, 1], result[k, 2] = acceleration(t, 0, angle[k], velocity[k], torque[k])


@kernel
def inverse_dynamics(length, mass, centre, inertia, angle, velocity, acceleration, torque):  # type: ignore[no-untyped-def]
    """Write the joint torques of n states to `torque` (n, 3) N m, computed segment by segment from the hand inwards.

    Source: Featherstone 2008, Rigid Body Dynamics Algorithms, section 5.3.

    Args:
        length, mass, centre, inertia: properties of the three segments, as in `Arm`.
        angle, velocity, acceleration: (n, 3) rad, rad/s and rad/s2.
        torque: (n, 3), overwritten.
    """
    for i in range(len(angle)):
        absolute, rate, spin = _summed(angle[i]), _summed(velocity[i]), _summed(acceleration[i])
        moment, force_x, force_y = 0.0, 0.0, 0.0
        for k in (2, 1, 0):
            x, y = 0.0, 0.0
            for j in range(k + 1):
                # Acceleration of a point of the segment relative to the segment's proximal joint.
                along = centre[k] if j == k else length[j]
                cosine, sine = math.cos(absolute[j]), math.sin(absolute[j])
                x -= along * (spin[j] * sine + rate[j] * rate[j] * cosine)
                y += along * (spin[j] * cosine - rate[j] * rate[j] * sine)
            inertial_x, inertial_y = mass[k] * x, mass[k] * y
            cosine, sine = math.cos(absolute[k]), math.sin(absolute[k])
            moment += inertia[k] * spin[k]
            moment += centre[k] * (cosine * inertial_y - sine * inertial_x) + length[k] * (
                cosine * force_y - sine * force_x
            )
            force_x += inertial_x
            force_y += inertial_y
            torque[i, k] = moment


@inlined
def _summed(relative):  # type: ignore[no-untyped-def]
    """Return the absolute values of three segments from the relative values of the joints."""
    return relative[0], relative[0] + relative[1], relative[0] + relative[1] + relative[2]
