"""What acts on the arm: muscles and joint torques, the force on the hand, a force field, the walls of a channel."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pygame
from numpy.typing import NDArray

from reach.render import palette
from reach.render.canvas import Canvas, Pixel, Pixels, disc, fill
from reach.render.palette import Colour

# Arrows: metres of picture for a newton on the hand and in a field, the longest, and the size of their heads, m.
HAND_ARROW_M_PER_N, FIELD_ARROW_M_PER_N, LONGEST_ARROW_M, HEAD_M = 0.012, 0.006, 0.16, 0.010
# A field is shown as the force on a hand that passes on its way out from the start, at this speed.
FIELD_SPEED_M_S = 0.3
FIELD_GRID_M = 0.08
FIELD_RIGHT_M, FIELD_FORWARD_M = (-0.36, 0.44), (0.24, 0.72)
CHANNEL_HALF_WIDTH_M, CHANNEL_LENGTH_M = 0.014, 0.32
# Largest radius of the colour in a joint, m.
JOINT_M = (0.014, 0.0115, 0.009)
# For each muscle: segment and share along it where its strand begins and ends, and its distance from the bone as a
# share of the segment's half thickness; flexors lie to the left of the segment's direction.
STRANDS = (
    ((0, 0.02), (0, 0.42), 0.45), ((0, 0.02), (0, 0.42), -0.45),
    ((0, 0.55), (1, 0.35), 0.45), ((0, 0.55), (1, 0.35), -0.45),
    ((0, 0.06), (1, 0.30), 0.80), ((0, 0.06), (1, 0.30), -0.80),
    ((1, 0.45), (1, 0.97), 0.50), ((1, 0.45), (1, 0.97), -0.50),
)  # fmt: skip
Numbers = NDArray[np.float64]


def draw_efforts(canvas: Canvas, joints: Pixels, effort: Numbers) -> None:
    """Colour shoulder, elbow and wrist by their torques: the more, the fuller; orange flexes, blue extends."""
    for place, radius, share in zip(joints, JOINT_M, effort.tolist(), strict=False):
        colour = palette.FLEXION if share > 0.0 else palette.EXTENSION
        shown = math.sqrt(min(1.0, abs(share)))
        if shown > 0.05:
            mixed = palette.blend(palette.JOINT, colour, shown)
            fill(canvas, disc(place, radius * canvas.scale), mixed, palette.SLEEVE_EDGE)


def draw_muscles(canvas: Canvas, joints: Pixels, half_thick_px: tuple[float, float], activation: Numbers) -> None:
    """Draw a strand for each muscle: the more active, the thicker and redder."""
    for (start, end, aside), active in zip(STRANDS, activation.tolist(), strict=True):
        places = [_beside(joints, half_thick_px, start, aside), _beside(joints, half_thick_px, end, aside)]
        if start[0] != end[0]:
            # Past the elbow, between what is beside the one segment there and beside the other.
            (x0, y0), (x1, y1) = (_beside(joints, half_thick_px, at, aside) for at in ((0, 1.0), (1, 0.0)))
            places.insert(1, (0.5 * (x0 + x1), 0.5 * (y0 + y1)))
        # The root, because a reach takes a tenth of what muscles can do.
        shown = math.sqrt(min(1.0, active))
        colour = palette.blend(palette.SINEW, palette.FLEXION, shown)
        width = max(1, round((0.003 + 0.007 * shown) * canvas.scale))
        for one, other in pairwise(places):
            pygame.draw.aaline(canvas.surface, colour, one, other, width)


def _beside(joints: Pixels, half_thick_px: tuple[float, float], where: tuple[int, float], aside: float) -> Pixel:
    """A place beside a segment, pixels; rows grow downwards, so the left of a direction (x, y) is (y, -x)."""
    segment, share = where
    (x0, y0), (x1, y1) = joints[segment], joints[segment + 1]
    length = max(1e-6, math.hypot(x1 - x0, y1 - y0))
    off = aside * half_thick_px[segment] / length
    return x0 + share * (x1 - x0) + off * (y1 - y0), y0 + share * (y1 - y0) - off * (x1 - x0)


def draw_hand_force(canvas: Canvas, grasp: Pixel, force_n: Numbers) -> None:
    """An arrow from the hand, 1.2 cm for each newton that pushes it from outside."""
    _arrow(canvas, grasp, force_n, HAND_ARROW_M_PER_N, palette.FORCE, 3)


def draw_field(canvas: Canvas, start: tuple[float, float], field: tuple[float, float, float, float]) -> None:
    """Faint arrows over the table: the force of a velocity field on a hand that passes there on its way out."""
    xx, xy, yx, yy = field
    for x in np.arange(*FIELD_RIGHT_M, FIELD_GRID_M).tolist():
        for y in np.arange(*FIELD_FORWARD_M, FIELD_GRID_M).tolist():
            away = math.hypot(x - start[0], y - start[1])
            if away > 0.5 * FIELD_GRID_M:
                vx, vy = (FIELD_SPEED_M_S * d / away for d in (x - start[0], y - start[1]))
                force = np.array([xx * vx + xy * vy, yx * vx + yy * vy])
                _arrow(canvas, canvas.at((x, y)), force, FIELD_ARROW_M_PER_N, palette.FIELD, 1)


def draw_channel(canvas: Canvas, start: tuple[float, float], along: tuple[float, float]) -> None:
    """Two faint walls along a channel from the start."""
    for side in (-CHANNEL_HALF_WIDTH_M, CHANNEL_HALF_WIDTH_M):
        x, y = start[0] - side * along[1], start[1] + side * along[0]
        end = canvas.at((x + CHANNEL_LENGTH_M * along[0], y + CHANNEL_LENGTH_M * along[1]))
        pygame.draw.aaline(canvas.surface, palette.FIELD, canvas.at((x, y)), end, 3)


def _arrow(canvas: Canvas, tail: Pixel, force_n: Numbers, m_per_n: float, colour: Colour, width: int) -> None:
    fx, fy = force_n.tolist()
    size = math.hypot(fx, fy)
    length = min(LONGEST_ARROW_M, size * m_per_n) * canvas.scale
    if length < 2.0:
        return
    ux, uy = fx / size, -fy / size
    tip = tail[0] + length * ux, tail[1] + length * uy
    head = min(HEAD_M * canvas.scale, 0.6 * length)
    neck = tip[0] - head * ux, tip[1] - head * uy
    pygame.draw.aaline(canvas.surface, colour, tail, neck, width)
    barbs = [(neck[0] - 0.5 * head * uy * side, neck[1] + 0.5 * head * ux * side) for side in (1.0, -1.0)]
    fill(canvas, [tip, *barbs], colour, colour)
