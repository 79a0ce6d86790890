"""A surface over an array, the map from the table to its pixels, and the few smooth shapes of every picture.

pygame's polygons have hard edges and its smooth circles sit on whole pixels. So every shape here is an
outline: a polygon filled in one colour, with a smooth line around it, which may lie between pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

from reach.render.palette import Colour

Pixel = tuple[float, float]
Pixels = list[Pixel]

# Pictures with a shorter side than this carry no words and no shadows: nobody could read them.
WORDS_FROM_PX = 200


@dataclass(frozen=True)
class Canvas:
    """A surface with the map from the table to its pixels: x_px = x0 + scale * x, y_px = y0 - scale * y."""

    surface: pygame.Surface
    width: int
    height: int
    scale: float
    x0: float
    y0: float

    @property
    def wordy(self) -> bool:
        """Large enough for words and shadows."""
        return min(self.width, self.height) >= WORDS_FROM_PX

    @property
    def text_px(self) -> int:
        """Size of the writing."""
        return max(11, round(0.027 * min(self.width, self.height)))

    def at(self, place: Sequence[float]) -> Pixel:
        """Pixel of a place (m)."""
        return self.x0 + self.scale * place[0], self.y0 - self.scale * place[1]

    def along(self, path: NDArray[np.float64], most: int) -> Pixels:
        """Pixels of a path (n, 2) m, thinned to about `most` points; the last one is always kept."""
        every = max(1, -(-len(path) // most))
        kept = path[len(path) - 1 :: -every]
        scale, x0, y0 = self.scale, self.x0, self.y0
        return [(x0 + scale * x, y0 - scale * y) for x, y in kept.tolist()]


def fill(canvas: Canvas, outline: Pixels, colour: Colour, edge: Colour) -> None:
    """Fill an outline and line it. Polygons cut fractions off; the half added makes that rounding."""
    pygame.draw.polygon(canvas.surface, colour, [(x + 0.5, y + 0.5) for x, y in outline])
    pygame.draw.aalines(canvas.surface, edge, True, outline)


@lru_cache(maxsize=64)
def unit_circle(corners: int) -> tuple[Pixel, ...]:
    turns = [2.0 * math.pi * corner / corners for corner in range(corners)]
    return tuple((math.cos(turn), math.sin(turn)) for turn in turns)


def disc(centre: Pixel, radius: float) -> Pixels:
    """Outline of a disc, pixels."""
    x, y = centre
    return [(x + radius * c, y + radius * s) for c, s in unit_circle(min(40, 8 + int(1.2 * radius)))]


def capsule(start: Pixel, end: Pixel, start_radius: float, end_radius: float) -> Pixels:
    """Outline of the hull of two discs, pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    apart = math.hypot(dx, dy)
    if apart <= abs(start_radius - end_radius):
        return disc(start, start_radius) if start_radius > end_radius else disc(end, end_radius)
    heading = math.atan2(dy, dx)
    lean = math.acos((start_radius - end_radius) / apart)
    outline: Pixels = []
    for (x, y), radius, first, sweep in (
        (end, end_radius, heading - lean, 2.0 * lean),
        (start, start_radius, heading + lean, 2.0 * (math.pi - lean)),
    ):
        steps = min(14, 3 + int(0.5 * radius))
        turns = [first + k * sweep / steps for k in range(steps + 1)]
        outline += [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]
    return outline


def shifted(outline: Pixels, dx: float, dy: float) -> Pixels:
    return [(x + dx, y + dy) for x, y in outline]


def dashes(canvas: Canvas, start: Pixel, end: Pixel, colour: Colour) -> None:
    """A dashed line between two pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    dash = max(2.0, 0.009 * min(canvas.width, canvas.height))
    for k in range(int(length / (2.0 * dash)) + 1):
        first, last = 2 * k * dash / max(length, 1e-9), min(1.0, (2 * k + 1) * dash / max(length, 1e-9))
        pygame.draw.aaline(
            canvas.surface,
            colour,
            (start[0] + first * dx, start[1] + first * dy),
            (start[0] + last * dx, start[1] + last * dy),
            2 if canvas.wordy else 1,
        )
