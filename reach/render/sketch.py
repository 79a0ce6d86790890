"""The same scene in few strokes, for pictures too small for outlines: 84 pixels for a network, a thumbnail.

Fingers are a pixel or two wide there, so limbs are thick smooth lines; only the cup, whose place matters
most, is a disc that may lie between pixels.
"""

from __future__ import annotations

import math

import pygame

from reach.render import palette
from reach.render.acting import draw_hand_force
from reach.render.canvas import Canvas, Pixel, disc, fill
from reach.render.palette import Colour
from reach.render.scene import Scene

# Thickness of upper arm, forearm and the hand, and radius of the joints, m.
UPPER_ARM_M, FOREARM_M, HAND_M, JOINT_M = 0.080, 0.060, 0.044, 0.036
PATH_POINTS = 24


def sketch(canvas: Canvas, scene: Scene, seen_hand_differs: bool, seen_cup_differs: bool) -> None:
    """Draw cup, arm, hand and path, and the seen places where they differ."""
    at, surface = canvas.at, canvas.surface
    shoulder, elbow, wrist, palm = (at(place) for place in scene.joints.tolist())
    (left, left_tip), (right, right_tip) = ((at(base), at(tip)) for base, tip in scene.fingers.tolist())
    cup, grasp = at(scene.cup.tolist()), at(scene.grasp_point.tolist())
    radius = scene.cup_radius * canvas.scale

    if not scene.cup_present:
        pygame.draw.aalines(surface, palette.HIDDEN_EDGE, True, disc(cup, radius))
    elif scene.cup_tipped:
        _fallen_cup(canvas, cup, grasp, radius)
    else:
        rim = palette.HELD if scene.cup_held else palette.CUP_RIM
        fill(canvas, disc(cup, radius - 0.5), rim, rim)
        pygame.draw.circle(surface, palette.CUP_INSIDE, (cup[0] + 0.5, cup[1] + 0.5), 0.5 * radius)

    _limb(canvas, elbow, wrist, FOREARM_M, palette.SLEEVE)
    _limb(canvas, shoulder, elbow, UPPER_ARM_M, palette.SLEEVE_EDGE)
    for place in (shoulder, elbow):
        pygame.draw.aacircle(surface, palette.SLEEVE_EDGE, place, JOINT_M * canvas.scale)
    skin = palette.HIDDEN_EDGE if scene.seen_hand is None else palette.SKIN_EDGE
    _limb(canvas, wrist, palm, HAND_M, skin)
    thick = 2.0 * scene.finger_radius
    for start, end, touched in zip(
        (left, left, right), (right, left_tip, right_tip), scene.touch[[2, 0, 1]].tolist(), strict=True
    ):
        _limb(canvas, start, end, thick, palette.LIT_SMALL if touched else skin)
    if len(scene.path) > 1:
        pygame.draw.aalines(surface, palette.PATH, False, canvas.along(scene.path, PATH_POINTS))

    if seen_hand_differs and scene.seen_hand is not None:
        seen = at(scene.seen_hand.tolist())
        dx, dy = seen[0] - grasp[0], seen[1] - grasp[1]
        fork = [(x + dx, y + dy) for x, y in (left_tip, left, right, right_tip)]
        pygame.draw.aalines(surface, palette.SEEN, False, fork)
    if scene.hand_force_n is not None:
        draw_hand_force(canvas, grasp, scene.hand_force_n)
    if seen_cup_differs:
        pygame.draw.aalines(surface, palette.SEEN, True, disc(at(scene.seen_cup.tolist()), radius))


def _limb(canvas: Canvas, start: Pixel, end: Pixel, thick_m: float, colour: Colour) -> None:
    pygame.draw.aaline(canvas.surface, colour, start, end, math.ceil(thick_m * canvas.scale))


def _fallen_cup(canvas: Canvas, cup: Pixel, hand: Pixel, radius: float) -> None:
    """A bar away from the hand, and a spill before its mouth."""
    away = max(1e-6, math.dist(cup, hand))
    ux, uy = (cup[0] - hand[0]) / away, (cup[1] - hand[1]) / away
    spill = disc((cup[0] + 2.4 * radius * ux, cup[1] + 2.4 * radius * uy), radius)
    fill(canvas, spill, palette.SPILL, palette.SPILL)
    ends = [(cup[0] + side * 1.4 * radius * ux, cup[1] + side * 1.4 * radius * uy) for side in (-1.0, 1.0)]
    pygame.draw.aaline(canvas.surface, palette.CUP_RIM, ends[0], ends[1], max(2, round(1.8 * radius)))
