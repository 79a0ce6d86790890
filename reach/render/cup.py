"""The cup: standing, held, lying on its side, taken away, and where the eye sees it."""

from __future__ import annotations

import math

from reach.render import palette
from reach.render.canvas import Canvas, Pixel, between
from reach.render.rasteriser import STRAIGHT
from reach.render.scene import Scene

CUP_HEIGHT_M = 0.10
SHADOW_M = 0.007


def draw_cup(canvas: Canvas, scene: Scene) -> None:
    """The cup of a scene, in whichever state it is."""
    cup, radius = canvas.at(scene.cup.tolist()), scene.cup_radius * canvas.scale
    if not scene.cup_present:
        _draw_gone(canvas, cup, radius)
    elif scene.cup_tipped:
        _draw_tipped(canvas, cup, canvas.at(scene.grasp_point.tolist()), radius)
    else:
        draw_standing(canvas, cup, radius, scene.cup_held)


def draw_seen_cup(canvas: Canvas, scene: Scene) -> None:
    """Where the eye sees the cup, joined to where it is."""
    cup, seen = canvas.at(scene.cup.tolist()), canvas.at(scene.seen_cup.tolist())
    radius = scene.cup_radius * canvas.scale
    canvas.ring(seen, radius, palette.SEEN)
    if canvas.wordy:
        canvas.dashes(cup, seen, 1.4 * canvas.rim_px, palette.SEEN)
        canvas.ring(seen, 0.72 * radius, palette.SEEN)


def draw_standing(canvas: Canvas, cup: Pixel, radius: float, held: bool) -> None:
    """A cup that stands at a pixel, with a radius in pixels."""
    if canvas.wordy:
        by = SHADOW_M * canvas.scale
        canvas.disc((cup[0] + by, cup[1] + by), radius, palette.SHADOW)
    rim, edge = (palette.HELD, palette.HELD_EDGE) if held else (palette.CUP_RIM, palette.CUP_EDGE)
    if canvas.wordy:
        canvas.disc(cup, radius - 0.5 * canvas.rim_px, rim, edge)
        canvas.disc(cup, (0.74 if held else 0.82) * radius, palette.CUP_WALL, edge)
        canvas.disc(cup, 0.64 * radius, palette.CUP_INSIDE)
    else:
        canvas.disc(cup, radius, rim)
        canvas.disc(cup, 0.5 * radius, palette.CUP_INSIDE)


def _draw_gone(canvas: Canvas, cup: Pixel, radius: float) -> None:
    """A ring of dashes where it stood."""
    dashes = max(6, 2 * round(radius / 4.0))
    thick = 1.4 * canvas.rim_px
    for k in range(0, 2 * dashes, 2):
        first, last = (math.pi * turn / dashes for turn in (k, k + 1))
        start = cup[0] + radius * math.cos(first), cup[1] + radius * math.sin(first)
        end = cup[0] + radius * math.cos(last), cup[1] + radius * math.sin(last)
        canvas.line(start, end, thick, palette.GONE)


def _draw_tipped(canvas: Canvas, cup: Pixel, hand: Pixel, radius: float) -> None:
    """A cup that lies on its side, its mouth away from the hand, and what ran out of it."""
    away = math.dist(cup, hand)
    forth = between(hand, cup, 1.0, away) if away > 1e-6 else (hand[0], hand[1] - 1.0)
    ux, uy = forth[0] - hand[0], forth[1] - hand[1]
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
