"""One control step of a batch of worlds, compiled: filter, springs, fields, arm, hand, cup and senses."""

from __future__ import annotations

import math

from numba import njit

from reach.sim import state as s
from reach.sim.actuators import equilibrium, posture_torque
from reach.sim.dynamics import acceleration, is_at_stop, stop
from reach.sim.grasp import hand_frame, move_cup, smallest_clearance
from reach.sim.noise import draw
from reach.sim.senses import observe, sense


@njit(cache=True)
def _field_torque(p, d, q1, q2, q3, v1, v2, v3):  # type: ignore[no-untyped-def]
    """Joint torques of the velocity field at the hand: F = B v, tau = J^T F."""
    f2 = q1 + q2
    f3 = f2 + q3
    x3 = p[s.GRASP] * math.cos(f3)
    y3 = p[s.GRASP] * math.sin(f3)
    x2 = x3 + p[s.LENGTH_2] * math.cos(f2)
    y2 = y3 + p[s.LENGTH_2] * math.sin(f2)
    x1 = x2 + p[s.LENGTH_1] * math.cos(q1)
    y1 = y2 + p[s.LENGTH_1] * math.sin(q1)
    vx = -y1 * v1 - y2 * v2 - y3 * v3
    vy = x1 * v1 + x2 * v2 + x3 * v3
    fx = d[s.FIELD_11] * vx + d[s.FIELD_12] * vy
    fy = d[s.FIELD_21] * vx + d[s.FIELD_22] * vy
    return x1 * fy - y1 * fx, x2 * fy - y2 * fx, x3 * fy - y3 * fx


@njit(cache=True)
def _acceleration(b, p, d, g, q1, q2, q3, v1, v2, v3):  # type: ignore[no-untyped-def]
    """Joint accelerations under the springs' command in body row `b` and the field in `d`; `g` scales the springs."""
    t1, t2, t3 = posture_torque(
        p, b[s.COMMAND_1], b[s.COMMAND_2], b[s.COMMAND_3], q1, q2, q3, v1, v2, v3, g[0], g[1], g[2]
    )
    if b[s.CLOCK] >= d[s.FIELD_ONSET]:
        e1, e2, e3 = _field_torque(p, d, q1, q2, q3, v1, v2, v3)
        t1 += e1
        t2 += e2
        t3 += e3
    return acceleration(p, q2, q3, v1, v2, v3, t1, t2, t3)


@njit(cache=True)
def move_arm(b, p, d, g, step):  # type: ignore[no-untyped-def]
    """Move the arm for `step` seconds: classical Runge-Kutta of fourth order, then the inelastic joint stops.

    Args:
        b: (BODY_SIZE,) body row, updated.
        p: (SETTING_SIZE,) settings.
        d: (DISTURBANCE_SIZE,) disturbance.
        g: three factors on the spring torques of shoulder, elbow and wrist (1 without motor noise).
        step: s.
    """
    half = 0.5 * step
    q1, q2, q3 = b[s.ANGLE_1], b[s.ANGLE_2], b[s.ANGLE_3]
    v1, v2, v3 = b[s.VELOCITY_1], b[s.VELOCITY_2], b[s.VELOCITY_3]
    a1, a2, a3 = _acceleration(b, p, d, g, q1, q2, q3, v1, v2, v3)
    m1, m2, m3 = v1 + half * a1, v2 + half * a2, v3 + half * a3
    b1, b2, b3 = _acceleration(b, p, d, g, q1 + half * v1, q2 + half * v2, q3 + half * v3, m1, m2, m3)
    n1, n2, n3 = v1 + half * b1, v2 + half * b2, v3 + half * b3
    c1, c2, c3 = _acceleration(b, p, d, g, q1 + half * m1, q2 + half * m2, q3 + half * m3, n1, n2, n3)
    e1, e2, e3 = v1 + step * c1, v2 + step * c2, v3 + step * c3
    d1, d2, d3 = _acceleration(b, p, d, g, q1 + step * n1, q2 + step * n2, q3 + step * n3, e1, e2, e3)
    mean1 = (v1 + 2.0 * (m1 + n1) + e1) / 6.0
    mean2 = (v2 + 2.0 * (m2 + n2) + e2) / 6.0
    mean3 = (v3 + 2.0 * (m3 + n3) + e3) / 6.0
    v1 += step * (a1 + 2.0 * (b1 + c1) + d1) / 6.0
    v2 += step * (a2 + 2.0 * (b2 + c2) + d2) / 6.0
    v3 += step * (a3 + 2.0 * (b3 + c3) + d3) / 6.0
    if is_at_stop(p, q1, q2, q3, mean1, mean2, mean3, step):
        mean1, mean2, mean3 = stop(p, q1, q2, q3, mean1, mean2, mean3, step)
        v1, v2, v3 = mean1, mean2, mean3
    b[s.ANGLE_1] = q1 + step * mean1
    b[s.ANGLE_2] = q2 + step * mean2
    b[s.ANGLE_3] = q3 + step * mean3
    b[s.VELOCITY_1] = v1
    b[s.VELOCITY_2] = v2
    b[s.VELOCITY_3] = v3


@njit(cache=True)
def place_hand(b, p):  # type: ignore[no-untyped-def]
    """Write grasp point and its velocity from the joint angles and velocities of `b`."""
    gx, gy, _, _, vx, vy, _ = hand_frame(b, p)
    b[s.HAND_X] = gx
    b[s.HAND_Y] = gy
    b[s.HAND_VELOCITY_X] = vx
    b[s.HAND_VELOCITY_Y] = vy


@njit(cache=True)
def advance(body, history, key, noise, setting, disturbance, action, observation):  # type: ignore[no-untyped-def]
    """Advance every world by one control step of 20 ms and write its observation.

    Args:
        body, history, key, noise, setting, disturbance, action: the arrays of `state.World`; `action` is in [-1, 1].
        observation: (num_envs, OBSERVATION_SIZE) float32, overwritten.
    """
    step = s.INNER_STEP_S
    for i in range(body.shape[0]):
        b = body[i]
        p = setting[i]
        d = disturbance[i]
        c1 = equilibrium(p, 0, action[i, 0])
        c2 = equilibrium(p, 1, action[i, 1])
        c3 = equilibrium(p, 2, action[i, 2])
        target_aperture = 0.5 * (action[i, 3] + 1.0) * p[s.LARGEST_APERTURE]
        tape = noise[i]
        draw(key[i], int(b[s.CLOCK]) // s.INNER_STEPS + 1, tape)
        gain = (
            1.0 + p[s.TORQUE_NOISE] * tape[s.NOISE_TORQUE_1],
            1.0 + p[s.TORQUE_NOISE] * tape[s.NOISE_TORQUE_2],
            1.0 + p[s.TORQUE_NOISE] * tape[s.NOISE_TORQUE_3],
        )
        for _ in range(s.INNER_STEPS):
            if b[s.TIPPED] == 0.0:
                b[s.COMMAND_1] += p[s.COMMAND_RATE] * (c1 - b[s.COMMAND_1])
                b[s.COMMAND_2] += p[s.COMMAND_RATE] * (c2 - b[s.COMMAND_2])
                b[s.COMMAND_3] += p[s.COMMAND_RATE] * (c3 - b[s.COMMAND_3])
                move_arm(b, p, d, gain, step)
                place_hand(b, p)
                move_cup(b, p, target_aperture, step)
                if b[s.JUMPED] == 0.0 and b[s.CLOCK] + 1.0 >= d[s.JUMP_ONSET] and b[s.GRIP_FORCE] == 0.0:
                    x = b[s.CUP_X] + d[s.JUMP_X]
                    y = b[s.CUP_Y] + d[s.JUMP_Y]
                    if smallest_clearance(b, p, x, y) > 0.0:
                        b[s.CUP_X] = x
                        b[s.CUP_Y] = y
                        b[s.JUMPED] = 1.0
            speed = math.sqrt(b[s.HAND_VELOCITY_X] ** 2 + b[s.HAND_VELOCITY_Y] ** 2)
            b[s.STILL_S] = b[s.STILL_S] + step if speed < s.STILL_SPEED_M_S else 0.0
            b[s.CLOCK] += 1.0
            sense(b, d, history[i], b[s.CLOCK])
        observe(b, p, history[i], tape, action[i], observation[i])


@njit(cache=True)
def begin(body, history, key, noise, setting, disturbance, action, observation):  # type: ignore[no-untyped-def]
    """Fill the past of every world with its initial state, as if it had rested there, and write the observation."""
    for i in range(body.shape[0]):
        place_hand(body[i], setting[i])
        for clock in range(1 - s.HISTORY_ROWS, 1):
            sense(body[i], disturbance[i], history[i], float(clock))
        draw(key[i], 0, noise[i])
        observe(body[i], setting[i], history[i], noise[i], action[i], observation[i])
