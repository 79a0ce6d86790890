"""The cup and the hand that pushes, tips, grips and loses it, compiled.

The hand is a fork of four capsules in its own frame (u along the hand, v to its left, origin at the grasp point): two
fingers parallel to u, the palm across their bases and the back of the hand. The cup is a disc on a table with
friction, moved quasi-statically (Mason 1986, Int J Robotics Res 5(3)): it goes just as far as the hand pushes it and
stops with it. Both fingers on opposite sides make a grip with friction 2 mu N along the fingers; pulled harder than
that, it slips.

The cup is light beside the arm (0.25 kg), so its push back on the hand is left out.
"""

from __future__ import annotations

import math

from numba import njit

from reach.sim import state as s

GRAVITY_M_S2 = 9.81
TOUCH_TOLERANCE_M = 1e-4
# Both fingers still hold a cup this far beyond their tips, inside the friction cone of the fingertips.
TIP_HOLD_M = 0.012
LEAST_GRIP_N = 0.3
CAPSULES = 4


@njit(cache=True, inline="always")
def capsule(p, half, k):  # type: ignore[no-untyped-def]
    """Capsule k (left finger, right finger, palm, back of the hand): start u, v, end u, v and radius, hand's frame.

    `half` is the distance of a finger's centre line from the hand's axis.
    """
    palm = p[s.PALM_OFFSET]
    if k == 0:
        return palm, half, p[s.TIP_OFFSET], half, p[s.FINGER_RADIUS]
    if k == 1:
        return palm, -half, p[s.TIP_OFFSET], -half, p[s.FINGER_RADIUS]
    if k == 2:
        return palm, -half, palm, half, p[s.PALM_RADIUS]
    return p[s.WRIST_OFFSET], 0.0, palm - p[s.HAND_RADIUS] + p[s.PALM_RADIUS], 0.0, p[s.HAND_RADIUS]


@njit(cache=True, inline="always")
def clearance(p, half, k, u, v):  # type: ignore[no-untyped-def]
    """Gap between the cup's rim at (u, v) and capsule k, m, with the contact point and the unit normal to the cup."""
    u0, v0, u1, v1, radius = capsule(p, half, k)
    du = u1 - u0
    dv = v1 - v0
    along = ((u - u0) * du + (v - v0) * dv) / max(du * du + dv * dv, 1e-12)
    along = min(1.0, max(0.0, along))
    nu = u - (u0 + along * du)
    nv = v - (v0 + along * dv)
    distance = math.sqrt(nu * nu + nv * nv)
    if distance > 1e-9:
        nu /= distance
        nv /= distance
    else:
        nu = 1.0
        nv = 0.0
    return distance - radius - p[s.CUP_RADIUS], u - nu * distance, v - nv * distance, nu, nv


@njit(cache=True)
def smallest_clearance(b, p, x, y):  # type: ignore[no-untyped-def]
    """Gap between the hand and a cup at (x, y), m; negative when they overlap."""
    gx, gy, hx, hy, _, _, _ = hand_frame(b, p)
    u = (x - gx) * hx + (y - gy) * hy
    v = -(x - gx) * hy + (y - gy) * hx
    half = 0.5 * b[s.APERTURE] + p[s.FINGER_RADIUS]
    least = 1e9
    for k in range(CAPSULES):
        gap, _, _, _, _ = clearance(p, half, k, u, v)
        least = min(least, gap)
    return least


@njit(cache=True, inline="always")
def hand_frame(b, p):  # type: ignore[no-untyped-def]
    """Grasp point (m), unit axis of the hand, grasp-point velocity (m/s) and turning rate (rad/s) of body row `b`."""
    f1 = b[s.ANGLE_1]
    f2 = f1 + b[s.ANGLE_2]
    f3 = f2 + b[s.ANGLE_3]
    w1 = b[s.VELOCITY_1]
    w2 = w1 + b[s.VELOCITY_2]
    w3 = w2 + b[s.VELOCITY_3]
    x1 = p[s.LENGTH_1] * math.cos(f1)
    y1 = p[s.LENGTH_1] * math.sin(f1)
    x2 = p[s.LENGTH_2] * math.cos(f2)
    y2 = p[s.LENGTH_2] * math.sin(f2)
    hx = math.cos(f3)
    hy = math.sin(f3)
    reach = p[s.GRASP]
    return (
        x1 + x2 + reach * hx, y1 + y2 + reach * hy, hx, hy,
        -y1 * w1 - y2 * w2 - reach * hy * w3, x1 * w1 + x2 * w2 + reach * hx * w3, w3,
    )  # fmt: skip


@njit(cache=True)
def move_cup(b, p, target_aperture, step):  # type: ignore[no-untyped-def]
    """Move the fingers towards `target_aperture` (m) for `step` seconds and let the hand act on the cup.

    Changes body row `b`: aperture, cup position and velocity, touch, grip force, time held, tipped, penetration.
    """
    gx, gy, hx, hy, gvx, gvy, turning = hand_frame(b, p)
    forward = gvx * hx + gvy * hy
    sideways = -gvx * hy + gvy * hx
    cup_forward = b[s.CUP_VELOCITY_X] * hx + b[s.CUP_VELOCITY_Y] * hy
    cup_sideways = -b[s.CUP_VELOCITY_X] * hy + b[s.CUP_VELOCITY_Y] * hx
    old_x = b[s.CUP_X]
    old_y = b[s.CUP_Y]
    gripped = b[s.GRIP_FORCE] > 0.0
    if gripped:
        u = b[s.GRIP_U]
        v = 0.0
        holding = 2.0 * p[s.FINGER_FRICTION] * b[s.GRIP_FORCE] / p[s.CUP_MASS]
        most = max(0.0, holding - p[s.TABLE_FRICTION] * GRAVITY_M_S2) * step
        needed = forward - cup_forward
        if abs(needed) > most:
            kept = cup_forward + math.copysign(most, needed)
            u += (kept - forward) * step
    else:
        u = (old_x - gx) * hx + (old_y - gy) * hy
        v = -(old_x - gx) * hy + (old_y - gy) * hx

    finger = p[s.FINGER_RADIUS]
    apart = p[s.CUP_RADIUS] + finger
    old_aperture = b[s.APERTURE]
    most = p[s.APERTURE_SPEED] * step
    aperture = old_aperture + min(most, max(-most, target_aperture - old_aperture))
    beyond = max(0.0, u - p[s.TIP_OFFSET])
    between = u > p[s.PALM_OFFSET] and beyond < TIP_HOLD_M and abs(v) < 0.5 * old_aperture + finger
    grip = 0.0
    if between:
        narrowest = 2.0 * (math.sqrt(apart * apart - beyond * beyond) - finger)
        if aperture <= narrowest:
            aperture = narrowest
            grip = p[s.GRIP_STIFFNESS] * max(0.0, narrowest - target_aperture)
    half = 0.5 * aperture + finger
    opening = 0.5 * (aperture - old_aperture) / step

    touched = False
    tipped = False
    for _ in range(24):
        settled = True
        for k in range(CAPSULES):
            gap, cu, cv, nu, nv = clearance(p, half, k, u, v)
            if gap < -1e-7:
                settled = False
                touched = True
                known = b[s.TOUCH_LEFT + min(k, 2)] > 0.0
                if not known and not gripped:
                    hand_u = forward - turning * cv
                    hand_v = sideways + turning * cu
                    if k == 0:
                        hand_v += opening
                    elif k == 1:
                        hand_v -= opening
                    strike = (hand_u - cup_forward) * nu + (hand_v - cup_sideways) * nv
                    tipped = tipped or strike > p[s.TIP_SPEED]
                u -= gap * nu
                v -= gap * nv
        if settled:
            break

    worst = 0.0
    palm = 0.0
    for k in range(CAPSULES):
        gap, _, _, _, _ = clearance(p, half, k, u, v)
        worst = min(worst, gap)
        touch = 1.0 if gap < TOUCH_TOLERANCE_M else 0.0
        if k < 2:
            b[s.TOUCH_LEFT + k] = touch
        else:
            palm = max(palm, touch)
    b[s.TOUCH_PALM] = palm
    if b[s.TOUCH_LEFT] == 0.0 or b[s.TOUCH_RIGHT] == 0.0:
        grip = 0.0
    if touched or gripped:
        b[s.CUP_X] = gx + u * hx - v * hy
        b[s.CUP_Y] = gy + u * hy + v * hx
    b[s.CUP_VELOCITY_X] = (b[s.CUP_X] - old_x) / step
    b[s.CUP_VELOCITY_Y] = (b[s.CUP_Y] - old_y) / step
    b[s.APERTURE] = aperture
    b[s.GRIP_FORCE] = grip
    b[s.GRIP_U] = u
    b[s.HELD_S] = b[s.HELD_S] + step if grip >= LEAST_GRIP_N else 0.0
    b[s.PENETRATION] = -worst
    if tipped:
        b[s.TIPPED] = 1.0
