"""The contact of hand and cup, compiled: the hand pushes, tips, grips and loses the cup.

The hand is a fork of four capsules in its own frame (u along the hand, v to its left, origin at the grasp point): two
fingers parallel to u, the palm across their bases, and the back of the hand. The cup is a disc on a table with friction
and moves quasi-statically (Mason 1986, Int J Robotics Res 5(3)): exactly as far as the hand pushes it. Two fingers on
opposite sides form a grip with friction 2 mu N along the fingers; under a larger force the cup slips.

The cup (0.25 kg) is light compared with the arm, so its force on the hand is neglected.
"""

from __future__ import annotations

import math

from reach.jit import inlined, kernel
from reach.sim import layout as s
from reach.sim.elementary import clip, sine_and_cosine

L = s.LANES

GRAVITY_M_S2 = 9.81
TOUCH_TOLERANCE_M = 1e-4
# Largest distance of a cup's centre beyond the fingertips at which the fingers can hold the cup: it is then within the
# friction cone of the fingertips.
TIP_HOLD_M = 0.012
LEAST_GRIP_N = 0.3
CAPSULES = 4
FINGERS = (0, 1)
# Number of sweeps over the hand's capsules to resolve an overlap with the cup.
PUSHES = 24
# Columns that are 0 for a cup that no part of the hand can touch.
OF_A_HELD_CUP = (
    s.CUP_VELOCITY_X, s.CUP_VELOCITY_Y, s.TOUCH_LEFT, s.TOUCH_RIGHT, s.TOUCH_PALM, s.GRIP_FORCE, s.HELD_S,
)  # fmt: skip


@inlined
def capsule(w, half, k):  # type: ignore[no-untyped-def]
    """Return start u, v, end u, v and radius, m, of capsule k (left finger, right finger, palm, back of the hand).

    `half` is the distance of a finger's centre line from the hand's axis.
    """
    palm = w[s.PALM_OFFSET]
    if k == 0:
        return palm, half, w[s.TIP_OFFSET], half, w[s.FINGER_RADIUS]
    if k == 1:
        return palm, -half, w[s.TIP_OFFSET], -half, w[s.FINGER_RADIUS]
    if k == 2:
        return palm, -half, palm, half, w[s.PALM_RADIUS]
    return w[s.WRIST_OFFSET], 0.0, palm - w[s.HAND_RADIUS] + w[s.PALM_RADIUS], 0.0, w[s.HAND_RADIUS]


@inlined
def clearance(w, half, k, u, v):  # type: ignore[no-untyped-def]
    """Return the gap between a cup at (u, v) and capsule k, m, the contact point, and the unit normal to the cup."""
    u0, v0, u1, v1, radius = capsule(w, half, k)
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
    return distance - radius - w[s.CUP_RADIUS], u - nu * distance, v - nv * distance, nu, nv


@kernel
def smallest_clearance(w, x, y):  # type: ignore[no-untyped-def]
    """Return the gap between the hand of row `w` and a cup at (x, y), m; it is negative for an overlap."""
    u = (x - w[s.HAND_X]) * w[s.AXIS_X] + (y - w[s.HAND_Y]) * w[s.AXIS_Y]
    v = -(x - w[s.HAND_X]) * w[s.AXIS_Y] + (y - w[s.HAND_Y]) * w[s.AXIS_X]
    half = 0.5 * w[s.APERTURE] + w[s.FINGER_RADIUS]
    least = 1e9
    for k in range(CAPSULES):
        gap, _, _, _, _ = clearance(w, half, k, u, v)
        least = min(least, gap)
    return least


@kernel
def place_hands(t, lanes):  # type: ignore[no-untyped-def]
    """Write grasp points, m, their velocities, m/s, and axes and turning rates, rad/s, of the hands of a tile."""
    for i in range(len(lanes)):
        f1 = t[s.ANGLE_1 * L + i]
        f2 = f1 + t[s.ANGLE_2 * L + i]
        f3 = f2 + t[s.ANGLE_3 * L + i]
        w1 = t[s.VELOCITY_1 * L + i]
        w2 = w1 + t[s.VELOCITY_2 * L + i]
        w3 = w2 + t[s.VELOCITY_3 * L + i]
        sine1, cosine1 = sine_and_cosine(f1)
        sine2, cosine2 = sine_and_cosine(f2)
        hy, hx = sine_and_cosine(f3)
        x1 = t[s.LENGTH_1 * L + i] * cosine1
        y1 = t[s.LENGTH_1 * L + i] * sine1
        x2 = t[s.LENGTH_2 * L + i] * cosine2
        y2 = t[s.LENGTH_2 * L + i] * sine2
        reach = t[s.WRIST_TO_GRASP * L + i]
        t[s.HAND_X * L + i] = x1 + x2 + reach * hx
        t[s.HAND_Y * L + i] = y1 + y2 + reach * hy
        t[s.AXIS_X * L + i] = hx
        t[s.AXIS_Y * L + i] = hy
        t[s.HAND_VELOCITY_X * L + i] = -y1 * w1 - y2 * w2 - reach * hy * w3
        t[s.HAND_VELOCITY_Y * L + i] = x1 * w1 + x2 * w2 + reach * hx * w3
        t[s.TURNING * L + i] = w3


@kernel
def move_hands_and_cups(t, lanes, step):  # type: ignore[no-untyped-def]
    """Place every hand of a tile, move its fingers towards GOAL_APERTURE for `step` seconds, and move its cup.

    A cup that no part of the hand can touch in this step keeps its position; the other cups are moved lane by lane.
    """
    place_hands(t, lanes)
    for i in range(len(lanes)):
        dx = t[s.CUP_X * L + i] - t[s.HAND_X * L + i]
        dy = t[s.CUP_Y * L + i] - t[s.HAND_Y * L + i]
        u = dx * t[s.AXIS_X * L + i] + dy * t[s.AXIS_Y * L + i]
        v = -dx * t[s.AXIS_Y * L + i] + dy * t[s.AXIS_X * L + i]
        # Compare with the capsules of the hand, widened by the largest movement of the fingers in this step.
        aperture = t[s.APERTURE * L + i]
        most = t[s.APERTURE_SPEED * L + i] * step
        half = 0.5 * aperture + t[s.FINGER_RADIUS * L + i]
        palm = t[s.PALM_OFFSET * L + i]
        back = palm - t[s.HAND_RADIUS * L + i] + t[s.PALM_RADIUS * L + i]
        along_finger = u - clip(u, palm, t[s.TIP_OFFSET * L + i])
        across_finger = abs(v) - half
        across_palm = v - clip(v, -half, half)
        along_back = u - clip(u, t[s.WRIST_OFFSET * L + i], back)
        around = t[s.CUP_RADIUS * L + i] + TOUCH_TOLERANCE_M + most
        to_finger = around + t[s.FINGER_RADIUS * L + i]
        to_palm = around + t[s.PALM_RADIUS * L + i]
        to_back = around + t[s.HAND_RADIUS * L + i]
        near = along_finger * along_finger + across_finger * across_finger < to_finger * to_finger
        near = near | ((u - palm) * (u - palm) + across_palm * across_palm < to_palm * to_palm)
        near = near | (along_back * along_back + v * v < to_back * to_back)
        # The hand also pulls a gripped cup along if it has moved away from the cup in this step.
        near = near | (t[s.GRIP_FORCE * L + i] > 0.0)
        near = near & (t[s.TIPPED * L + i] == 0.0) & (t[s.CUP_PRESENT * L + i] > 0.0)
        near = near & (t[s.CUP_IS_MARK * L + i] == 0.0)
        opened = aperture + clip(t[s.GOAL_APERTURE * L + i] - aperture, -most, most)
        t[s.NEAR * L + i] = 1.0 if near else 0.0
        t[s.APERTURE * L + i] = aperture if near else opened
        t[s.PENETRATION * L + i] = 0.0
    _release_cups(t, lanes)
    for i in range(len(lanes)):
        if t[s.NEAR * L + i] > 0.0:
            _move_cup(t[i::L], step)


@kernel
def _release_cups(t, lanes):  # type: ignore[no-untyped-def]
    """Clear velocity, touch, grip and holding time of every cup that no part of its hand can touch."""
    for column in OF_A_HELD_CUP:
        for i in range(len(lanes)):
            value = t[column * L + i]
            t[column * L + i] = value if t[s.NEAR * L + i] > 0.0 else 0.0


@inlined
def _nearest_free(w, half, u, v):  # type: ignore[no-untyped-def]
    """Return the position nearest to (u, v) outside the bounding box of the hand.

    It is used for a cup that was struck so hard that each capsule pushes it into another.
    """
    room = w[s.CUP_RADIUS] + 1e-6
    ahead = w[s.TIP_OFFSET] + w[s.FINGER_RADIUS] + room
    behind = w[s.WRIST_OFFSET] - w[s.HAND_RADIUS] - room
    aside = math.copysign(max(half + w[s.FINGER_RADIUS], w[s.HAND_RADIUS]) + room, v)
    if ahead - u < min(u - behind, abs(aside - v)):
        return ahead, v
    if u - behind < abs(aside - v):
        return behind, v
    return u, aside


@kernel
def _move_cup(w, step):  # type: ignore[no-untyped-def]
    """Move the fingers of row `w` towards GOAL_APERTURE for `step` seconds, and the cup with the hand.

    Writes aperture, cup position and velocity, touch, grip, holding time, tipped and penetration.
    """
    gx, gy, hx, hy = w[s.HAND_X], w[s.HAND_Y], w[s.AXIS_X], w[s.AXIS_Y]
    gvx, gvy, turning = w[s.HAND_VELOCITY_X], w[s.HAND_VELOCITY_Y], w[s.TURNING]
    target_aperture = w[s.GOAL_APERTURE]
    friction = w[s.SLIP_FRICTION] if w[s.CLOCK] >= w[s.SLIP_ONSET] else w[s.FINGER_FRICTION]
    forward = gvx * hx + gvy * hy
    sideways = -gvx * hy + gvy * hx
    cup_forward = w[s.CUP_VELOCITY_X] * hx + w[s.CUP_VELOCITY_Y] * hy
    cup_sideways = -w[s.CUP_VELOCITY_X] * hy + w[s.CUP_VELOCITY_Y] * hx
    old_x = w[s.CUP_X]
    old_y = w[s.CUP_Y]
    gripped = w[s.GRIP_FORCE] > 0.0
    if gripped:
        u = w[s.GRIP_U]
        v = 0.0
        holding = 2.0 * friction * w[s.GRIP_FORCE] / w[s.CUP_MASS]
        most = max(0.0, holding - w[s.TABLE_FRICTION] * GRAVITY_M_S2) * step
        needed = forward - cup_forward
        if abs(needed) > most:
            kept = cup_forward + math.copysign(most, needed)
            u += (kept - forward) * step
    else:
        u = (old_x - gx) * hx + (old_y - gy) * hy
        v = -(old_x - gx) * hy + (old_y - gy) * hx

    finger = w[s.FINGER_RADIUS]
    apart = w[s.CUP_RADIUS] + finger
    old_aperture = w[s.APERTURE]
    most = w[s.APERTURE_SPEED] * step
    aperture = old_aperture + min(most, max(-most, target_aperture - old_aperture))
    beyond = max(0.0, u - w[s.TIP_OFFSET])
    between = u > w[s.PALM_OFFSET] and beyond < TIP_HOLD_M and abs(v) < 0.5 * old_aperture + finger
    grip = 0.0
    if between:
        narrowest = 2.0 * (math.sqrt(apart * apart - beyond * beyond) - finger)
        if aperture <= narrowest:
            aperture = narrowest
            grip = w[s.GRIP_STIFFNESS] * max(0.0, narrowest - target_aperture)
    half = 0.5 * aperture + finger
    opening = 0.5 * (aperture - old_aperture) / step

    touched = False
    tipped = False
    settled = False
    for _ in range(PUSHES):
        settled = True
        for k in range(CAPSULES):
            gap, cu, cv, nu, nv = clearance(w, half, k, u, v)
            if gap < -1e-7:
                settled = False
                touched = True
                known = w[s.TOUCH_LEFT + min(k, 2)] > 0.0
                if not known and not gripped:
                    hand_u = forward - turning * cv
                    hand_v = sideways + turning * cu
                    if k == 0:
                        hand_v += opening
                    elif k == 1:
                        hand_v -= opening
                    strike = (hand_u - cup_forward) * nu + (hand_v - cup_sideways) * nv
                    tipped = tipped or strike > w[s.TIP_SPEED]
                u -= gap * nu
                v -= gap * nv
        if settled:
            break
    if not settled:
        u, v = _nearest_free(w, half, u, v)

    worst = 0.0
    palm = 0.0
    for k in range(CAPSULES):
        gap, _, _, _, _ = clearance(w, half, k, u, v)
        worst = min(worst, gap)
        touch = 1.0 if gap < TOUCH_TOLERANCE_M else 0.0
        if k < 2:
            w[s.TOUCH_LEFT + k] = touch
        else:
            palm = max(palm, touch)
    w[s.TOUCH_PALM] = palm
    if w[s.TOUCH_LEFT] == 0.0 or w[s.TOUCH_RIGHT] == 0.0:
        grip = 0.0
    if touched or gripped:
        w[s.CUP_X] = gx + u * hx - v * hy
        w[s.CUP_Y] = gy + u * hy + v * hx
    w[s.CUP_VELOCITY_X] = (w[s.CUP_X] - old_x) / step
    w[s.CUP_VELOCITY_Y] = (w[s.CUP_Y] - old_y) / step
    w[s.APERTURE] = aperture
    w[s.GRIP_FORCE] = grip
    w[s.GRIP_U] = u
    w[s.HELD_S] = w[s.HELD_S] + step if grip >= LEAST_GRIP_N else 0.0
    w[s.PENETRATION] = -worst
    if tipped:
        w[s.TIPPED] = 1.0
