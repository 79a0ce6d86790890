"""The arm and the hand: limbs, torques as colour at the joints, and fingers that light up where they feel."""

from __future__ import annotations

import math
from typing import NamedTuple

from reach.render import palette
from reach.render.canvas import Canvas, Pixel
from reach.render.palette import blend
from reach.render.rasteriser import ROUND, ROUND_THEN_STRAIGHT
from reach.render.scene import Scene
from reach.render.strands import draw_muscles

# Half the thickness of the arm at shoulder, elbow and wrist, and of the hand, m.
SHOULDER_RADIUS_M, ELBOW_RADIUS_M, WRIST_RADIUS_M, HAND_RADIUS_M = 0.046, 0.036, 0.026, 0.025
PALM_RADIUS_M = 0.010
# The discs at shoulder, elbow and wrist, m; larger where their colour shows a torque.
JOINT_RADII_M = (0.017, 0.014, 0.011)
EFFORT_RADII_M = (0.022, 0.019, 0.015)
SHADOW_M = 0.007
# Fingers are never drawn thinner than this, so that a network sees them in a small picture, pixels.
THINNEST_FINGER_PX = 0.7


Bar = tuple[Pixel, Pixel, float]


class Hand(NamedTuple):
    """Where the parts of the hand are, pixels; a bar is from, to, and half the thickness."""

    wrist: Pixel
    palm: Pixel
    back_px: float
    # Left finger, right finger, palm.
    bars: tuple[Bar, Bar, Bar]


def hand_of(canvas: Canvas, scene: Scene) -> Hand:
    """The hand of a scene in pixels."""
    at = canvas.at
    (left, left_tip), (right, right_tip) = ((at(base), at(tip)) for base, tip in scene.fingers.tolist())
    wrist, palm = scene.joints[2:].tolist()
    finger_px = max(THINNEST_FINGER_PX, scene.finger_radius * canvas.scale)
    palm_px = max(finger_px, PALM_RADIUS_M * canvas.scale)
    bars = (left, left_tip, finger_px), (right, right_tip, finger_px), (left, right, palm_px)
    # The back of the hand meets the palm within the bases of the fingers.
    return Hand(at(wrist), at(palm), 0.4 * math.dist(left, right), bars)


def draw_shadow(canvas: Canvas, scene: Scene, hand: Hand) -> None:
    """The shadow of forearm and hand on the table."""
    elbow, wrist = (canvas.at(place) for place in scene.joints[1:3].tolist())
    by = SHADOW_M * canvas.scale

    def shade(start: Pixel, end: Pixel, first_px: float, second_px: float, ends: float = ROUND) -> None:
        start, end = (start[0] + by, start[1] + by), (end[0] + by, end[1] + by)
        canvas.capsule(start, end, (first_px, second_px), palette.SHADOW, ends=ends)

    shade(elbow, wrist, ELBOW_RADIUS_M * canvas.scale, WRIST_RADIUS_M * canvas.scale)
    shade(hand.wrist, hand.palm, HAND_RADIUS_M * canvas.scale, hand.back_px, ROUND_THEN_STRAIGHT)
    for start, end, thick in hand.bars:
        shade(start, end, thick, thick)


def draw_arm(canvas: Canvas, scene: Scene) -> None:
    """Forearm, upper arm, muscles, and the joints at shoulder and elbow."""
    joints = [canvas.at(place) for place in scene.joints[:3].tolist()]
    shoulder, elbow, wrist = joints
    scale = canvas.scale
    sleeve, edge = palette.SLEEVE if scene.activation is None else palette.SHEER_SLEEVE, palette.SLEEVE_EDGE
    canvas.capsule(elbow, wrist, (ELBOW_RADIUS_M * scale, WRIST_RADIUS_M * scale), sleeve, edge)
    canvas.capsule(shoulder, elbow, (SHOULDER_RADIUS_M * scale, ELBOW_RADIUS_M * scale), sleeve, edge)
    if scene.activation is not None:
        draw_muscles(canvas, scene, (SHOULDER_RADIUS_M, ELBOW_RADIUS_M, WRIST_RADIUS_M))
    for joint in (0, 1):
        _draw_joint(canvas, scene, joint, joints[joint])


def draw_hand(canvas: Canvas, scene: Scene, hand: Hand) -> None:
    """The hand, lit where it is touched; hollow when it is hidden from the eye."""
    skin, edge = palette.SKIN, palette.SKIN_EDGE
    if scene.seen_hand is None:
        skin, edge = palette.HIDDEN, palette.HIDDEN_EDGE
    back_radii = (HAND_RADIUS_M * canvas.scale, hand.back_px)
    canvas.capsule(hand.wrist, hand.palm, back_radii, skin, edge, ROUND_THEN_STRAIGHT)
    lit = palette.LIT if canvas.wordy else palette.LIT_SMALL
    touched = scene.touch.tolist()
    for k in (2, 1, 0):
        start, end, thick = hand.bars[k]
        canvas.capsule(start, end, (thick, thick), lit if touched[k] else skin, edge)
    _draw_joint(canvas, scene, 2, hand.wrist)
    if not any(touched) or not canvas.wordy:
        return
    cup = canvas.at(scene.cup.tolist())
    for k in (0, 1, 2):
        if touched[k]:
            start, end, thick = hand.bars[k]
            canvas.disc(_nearest(cup, start, end), max(2.0, 0.6 * thick), palette.FAILURE, palette.INK)


def _draw_joint(canvas: Canvas, scene: Scene, joint: int, place: Pixel) -> None:
    if scene.effort is None:
        canvas.disc(place, JOINT_RADII_M[joint] * canvas.scale, palette.JOINT, palette.SLEEVE_EDGE)
        return
    effort = float(scene.effort[joint])
    # The root, because a reach takes a small part of the largest torque.
    shown = math.sqrt(min(1.0, abs(effort)))
    colour = blend(palette.JOINT, palette.FLEXION if effort > 0.0 else palette.EXTENSION, shown)
    canvas.disc(place, EFFORT_RADII_M[joint] * canvas.scale, colour, palette.SLEEVE_EDGE)


def _nearest(place: Pixel, start: Pixel, end: Pixel) -> Pixel:
    """The point of the segment from start to end that is nearest to a place, pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((place[0] - start[0]) * dx + (place[1] - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
    along = min(1.0, max(0.0, along))
    return start[0] + along * dx, start[1] + along * dy
