"""Draw the moving bodies of a scene: arm with muscles or joint torques, hand with touch, and cup in each state.

Angles are counter-clockwise, so flexors lie on the left of a limb, seen from its upper end, and extensors on the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from reach.render import palette
from reach.render.canvas import ROUND, ROUND_THEN_STRAIGHT, STRAIGHT, Canvas, Pixel, between
from reach.render.palette import blend
from reach.scene import Points, Scene

# Half the thickness of a muscle at rest, and the increase at full activation, m.
STRAND_M, BELLY_M = 0.0012, 0.0062
UPPER_ARM, ELBOW, FOREARM = range(3)
# Paths of the flexors of the shoulder, of the elbow, of both, and of the wrist. A point is (limb, share of the limb's
# length, distance from its axis as a share of half its thickness). The second and third points are the ends of the
# muscle belly. Extensors are mirrored; biarticular muscles lie nearest to the bone.
MUSCLE_PATHS = (
    ((UPPER_ARM, -0.12, 0.50), (UPPER_ARM, 0.10, 0.62), (UPPER_ARM, 0.22, 0.62), (UPPER_ARM, 0.42, 0.60)),
    ((UPPER_ARM, 0.46, 0.6), (UPPER_ARM, 0.64, 0.62), (UPPER_ARM, 0.76, 0.62), (ELBOW, 0, 0.62), (FOREARM, 0.22, 0.52)),
    ((UPPER_ARM, 0.08, 0.22), (UPPER_ARM, 0.36, 0.23), (UPPER_ARM, 0.62, 0.23), (ELBOW, 0, 0.26), (FOREARM, 0.3, 0.18)),
    ((FOREARM, 0.28, 0.50), (FOREARM, 0.50, 0.52), (FOREARM, 0.64, 0.52), (FOREARM, 0.92, 0.50)),
)


def draw_muscles(canvas: Canvas, joints: Points, activations: Points) -> None:
    """Draw the muscles of an arm; joints (4, 2) m, activations (8,) 0..1."""
    shoulder, elbow, wrist = joints[:3].tolist()
    upper, upper_left = _limb(shoulder, elbow)
    fore, fore_left = _limb(elbow, wrist)
    # At the elbow, the direction to the left is half-way between both.
    left = upper_left[0] + fore_left[0], upper_left[1] + fore_left[1]
    length = math.hypot(*left) + 1e-9
    # Limb -> beginning, extent, direction to the left, and half the thickness at both ends, m.
    limbs = (
        (shoulder, upper, upper_left, (SHOULDER_RADIUS_M, ELBOW_RADIUS_M)),
        (elbow, (0.0, 0.0), (left[0] / length, left[1] / length), (ELBOW_RADIUS_M, ELBOW_RADIUS_M)),
        (elbow, fore, fore_left, (ELBOW_RADIUS_M, WRIST_RADIUS_M)),
    )
    for muscle, activation in enumerate(activations.tolist()):
        side, strongest = (1.0, palette.FLEXION) if muscle % 2 == 0 else (-1.0, palette.EXTENSION)
        # Square root, because a reach uses about a tenth of the possible activation.
        active = math.sqrt(activation)
        colour = [
            rest + active * (strong - rest) for rest, strong in zip(palette.MUSCLE_AT_REST, strongest, strict=True)
        ]
        thin, thick = STRAND_M * canvas.scale, (STRAND_M + BELLY_M * active) * canvas.scale
        points = []
        for limb, share, beside in MUSCLE_PATHS[muscle // 2]:
            (x, y), (along_x, along_y), (left_x, left_y), (first, last) = limbs[limb]
            out = side * beside * (first + share * (last - first))
            points.append(canvas.pixel((x + share * along_x + out * left_x, y + share * along_y + out * left_y)))
        radii = (thin, thick, thick, thin, thin)
        for (start, end), (radius, next_radius) in zip(pairwise(points), pairwise(radii), strict=False):
            canvas.capsule(start, end, (radius, next_radius), colour)


def _limb(start: Sequence[float], end: Sequence[float]) -> tuple[Pixel, Pixel]:
    """Return the extent of a limb, m, and the unit vector to its left."""
    x, y = end[0] - start[0], end[1] - start[1]
    length = math.hypot(x, y) + 1e-9
    return (x, y), (-y / length, x / length)


# --- arm and hand ---------------------------------------------------------------------------------------------

# Half the thickness of the arm at shoulder, elbow and wrist, and of the hand, m.
SHOULDER_RADIUS_M, ELBOW_RADIUS_M, WRIST_RADIUS_M, HAND_RADIUS_M = 0.046, 0.036, 0.026, 0.025
PALM_RADIUS_M = 0.010
# Radii of the discs at shoulder, elbow and wrist, m; larger where their colour shows a torque.
JOINT_RADII_M = (0.017, 0.014, 0.011)
EFFORT_RADII_M = (0.022, 0.019, 0.015)
SHADOW_M = 0.007
# Smallest radius of a finger, pixels, so that it is visible in a small picture.
THINNEST_FINGER_PX = 0.7


Bar = tuple[Pixel, Pixel, float]


class Hand(NamedTuple):
    """Positions of the parts of the hand, pixels; a bar is (start, end, half its thickness)."""

    wrist: Pixel
    palm: Pixel
    back_px: float
    # Left finger, right finger, palm.
    bars: tuple[Bar, Bar, Bar]


def locate_hand(canvas: Canvas, scene: Scene) -> Hand:
    """Return the hand of a scene in pixels."""
    pixel = canvas.pixel
    (left, left_tip), (right, right_tip) = ((pixel(base), pixel(tip)) for base, tip in scene.fingers.tolist())
    wrist, palm = scene.joints[2:].tolist()
    finger_px = max(THINNEST_FINGER_PX, scene.finger_radius * canvas.scale)
    palm_px = max(finger_px, PALM_RADIUS_M * canvas.scale)
    bars = (left, left_tip, finger_px), (right, right_tip, finger_px), (left, right, palm_px)
    # The back of the hand is narrower than the distance between the fingers.
    return Hand(pixel(wrist), pixel(palm), 0.4 * math.dist(left, right), bars)


def draw_shadow(canvas: Canvas, scene: Scene, hand: Hand) -> None:
    """Draw the shadow of forearm and hand on the table."""
    elbow, wrist = (canvas.pixel(place) for place in scene.joints[1:3].tolist())
    offset = SHADOW_M * canvas.scale

    def shade(start: Pixel, end: Pixel, first_px: float, second_px: float, ends: float = ROUND) -> None:
        start, end = (start[0] + offset, start[1] + offset), (end[0] + offset, end[1] + offset)
        canvas.capsule(start, end, (first_px, second_px), palette.SHADOW, ends=ends)

    shade(elbow, wrist, ELBOW_RADIUS_M * canvas.scale, WRIST_RADIUS_M * canvas.scale)
    shade(hand.wrist, hand.palm, HAND_RADIUS_M * canvas.scale, hand.back_px, ROUND_THEN_STRAIGHT)
    for start, end, thick in hand.bars:
        shade(start, end, thick, thick)


def draw_arm(canvas: Canvas, scene: Scene) -> None:
    """Draw forearm, upper arm, muscles, and the joints at shoulder and elbow."""
    joints = [canvas.pixel(place) for place in scene.joints[:3].tolist()]
    shoulder, elbow, wrist = joints
    scale = canvas.scale
    sleeve, edge = palette.SLEEVE if scene.activation is None else palette.TRANSPARENT_SLEEVE, palette.SLEEVE_EDGE
    canvas.capsule(elbow, wrist, (ELBOW_RADIUS_M * scale, WRIST_RADIUS_M * scale), sleeve, edge)
    canvas.capsule(shoulder, elbow, (SHOULDER_RADIUS_M * scale, ELBOW_RADIUS_M * scale), sleeve, edge)
    if scene.activation is not None:
        draw_muscles(canvas, scene.joints, scene.activation)
    for joint in (0, 1):
        _draw_joint(canvas, scene, joint, joints[joint])


def draw_hand(canvas: Canvas, scene: Scene, hand: Hand) -> None:
    """Draw the hand: highlighted where it is touched, pale if the eye does not see it."""
    skin, edge = palette.SKIN, palette.SKIN_EDGE
    if scene.seen_hand is None:
        skin, edge = palette.HIDDEN, palette.HIDDEN_EDGE
    back_radii = (HAND_RADIUS_M * canvas.scale, hand.back_px)
    canvas.capsule(hand.wrist, hand.palm, back_radii, skin, edge, ROUND_THEN_STRAIGHT)
    touch_colour = palette.TOUCHED if canvas.has_labels else palette.TOUCHED_SMALL
    touched = scene.touch.tolist()
    for k in (2, 1, 0):
        start, end, thick = hand.bars[k]
        canvas.capsule(start, end, (thick, thick), touch_colour if touched[k] else skin, edge)
    _draw_joint(canvas, scene, 2, hand.wrist)
    if not any(touched) or not canvas.has_labels:
        return
    cup = canvas.pixel(scene.cup.tolist())
    for k in (0, 1, 2):
        if touched[k]:
            start, end, thick = hand.bars[k]
            canvas.disc(_nearest_point(cup, start, end), max(2.0, 0.6 * thick), palette.FAILURE, palette.INK)


def _draw_joint(canvas: Canvas, scene: Scene, joint: int, place: Pixel) -> None:
    if scene.effort is None:
        canvas.disc(place, JOINT_RADII_M[joint] * canvas.scale, palette.JOINT, palette.SLEEVE_EDGE)
        return
    effort = float(scene.effort[joint])
    # Square root, because a reach uses a small part of the largest torque.
    shown = math.sqrt(min(1.0, abs(effort)))
    colour = blend(palette.JOINT, palette.FLEXION if effort > 0.0 else palette.EXTENSION, shown)
    canvas.disc(place, EFFORT_RADII_M[joint] * canvas.scale, colour, palette.SLEEVE_EDGE)


def _nearest_point(place: Pixel, start: Pixel, end: Pixel) -> Pixel:
    """Return the point on the segment from start to end that is nearest to a pixel."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((place[0] - start[0]) * dx + (place[1] - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
    along = min(1.0, max(0.0, along))
    return start[0] + along * dx, start[1] + along * dy


# --- cup ------------------------------------------------------------------------------------------------------

CUP_HEIGHT_M = 0.10


def draw_cup(canvas: Canvas, scene: Scene) -> None:
    """Draw the cup of a scene: standing, held, tipped over, removed, or a mark on the table."""
    cup, radius = canvas.pixel(scene.cup.tolist()), scene.cup_radius * canvas.scale
    if not scene.cup_present:
        _draw_removed(canvas, cup, radius)
    elif scene.cup_is_mark:
        canvas.disc(cup, radius, palette.CUP_WALL, palette.CUP_EDGE)
        canvas.disc(cup, 0.25 * radius, palette.CUP_RIM)
    elif scene.cup_tipped:
        _draw_tipped(canvas, cup, canvas.pixel(scene.grasp_point.tolist()), radius)
    else:
        draw_standing_cup(canvas, cup, radius, scene.cup_held)


def draw_seen_cup(canvas: Canvas, scene: Scene) -> None:
    """Draw the position at which the eye sees the cup, connected to the true position."""
    cup, seen = canvas.pixel(scene.cup.tolist()), canvas.pixel(scene.seen_cup.tolist())
    radius = scene.cup_radius * canvas.scale
    canvas.ring(seen, radius, palette.SEEN)
    if canvas.has_labels:
        canvas.dashes(cup, seen, 1.4 * canvas.rim_px, palette.SEEN)
        canvas.ring(seen, 0.72 * radius, palette.SEEN)


def draw_standing_cup(canvas: Canvas, cup: Pixel, radius: float, held: bool) -> None:
    """Draw a standing cup at a pixel, with a radius in pixels."""
    if canvas.has_labels:
        offset = SHADOW_M * canvas.scale
        canvas.disc((cup[0] + offset, cup[1] + offset), radius, palette.SHADOW)
    rim, edge = (palette.HELD, palette.HELD_EDGE) if held else (palette.CUP_RIM, palette.CUP_EDGE)
    if canvas.has_labels:
        canvas.disc(cup, radius - 0.5 * canvas.rim_px, rim, edge)
        canvas.disc(cup, (0.74 if held else 0.82) * radius, palette.CUP_WALL, edge)
        canvas.disc(cup, 0.64 * radius, palette.CUP_INSIDE)
    else:
        canvas.disc(cup, radius, rim)
        canvas.disc(cup, 0.5 * radius, palette.CUP_INSIDE)


def _draw_removed(canvas: Canvas, cup: Pixel, radius: float) -> None:
    """Draw a dashed ring where the cup stood."""
    dashes = max(6, 2 * round(radius / 4.0))
    thick = 1.4 * canvas.rim_px
    for k in range(0, 2 * dashes, 2):
        first, last = (math.pi * turn / dashes for turn in (k, k + 1))
        start = cup[0] + radius * math.cos(first), cup[1] + radius * math.sin(first)
        end = cup[0] + radius * math.cos(last), cup[1] + radius * math.sin(last)
        canvas.line(start, end, thick, palette.REMOVED)


def _draw_tipped(canvas: Canvas, cup: Pixel, hand: Pixel, radius: float) -> None:
    """Draw a cup that lies on its side, with its mouth away from the hand, and its spilt content."""
    away = math.dist(cup, hand)
    ahead = between(hand, cup, 1.0, away) if away > 1e-6 else (hand[0], hand[1] - 1.0)
    ux, uy = ahead[0] - hand[0], ahead[1] - hand[1]
    half = 0.5 * CUP_HEIGHT_M * canvas.scale

    def place(along: float, across: float) -> Pixel:
        return cup[0] + along * ux - across * uy, cup[1] + along * uy + across * ux

    for along, across, size in ((1.55, 0.1, 0.95), (2.1, -0.45, 0.6), (2.35, 0.35, 0.45)):
        canvas.disc(place(along * half, across * radius), size * radius, palette.SPILL)
    rim, edge = palette.CUP_RIM, palette.CUP_EDGE
    canvas.capsule(place(-half, 0.0), place(half, 0.0), (0.78 * radius, radius), rim, edge, STRAIGHT)
    for size, inside in ((1.0, palette.CUP_WALL), (0.72, palette.CUP_INSIDE)):
        thick = 0.3 * size * radius
        left, right = (place(half, side * (size * radius - thick)) for side in (-1.0, 1.0))
        canvas.capsule(left, right, (thick, thick), inside, edge)
