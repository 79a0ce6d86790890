"""A frame that is being drawn: the map from the table to its pixels, and the few shapes of every picture.

Shapes are gathered and laid into the frame together, in one compiled call.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

from reach.render.palette import Colour
from reach.render.rasteriser import HOLLOW, ROUND, SHAPE, STRAIGHT, lay_path, lay_shapes
from reach.sim.layout import SHOWN_CENTRE_M, SHOWN_M

Frame = NDArray[np.uint8]
Pixel = tuple[float, float]

# Pictures with a shorter side than this carry no words and no shadows: nobody could read them.
WORDS_FROM_PX = 200
# Below this there is room for caption, trial, time and outcome, but for no legend and no keys.
LEGEND_FROM_PX = 280
THINNEST_RIM_PX, THICKEST_RIM_PX = 0.6, 3.0
# A rim is one pixel wide where the shorter side has this many.
RIM_UNIT_PX = 550.0
# Thickness of the arrow of a force that acts on the hand, in rims.
FORCE_RIMS = 2.6
# Width of an arrowhead, and its length, in thicknesses of the shaft.
HEAD_WIDTH, HEAD_LENGTH = 4.0, 4.6


class Canvas:
    """A frame with the map from the table to its pixels: x_px = x0 + scale * x, y_px = y0 - scale * y.

    Args:
        frame: (height, width, 3) uint8, drawn on in place. The middle of the first pixel is (0, 0).
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.height: int = frame.shape[0]
        self.width: int = frame.shape[1]
        self.side: int = min(self.width, self.height)
        self.scale = self.side / SHOWN_M
        self.x0 = 0.5 * self.width - 0.5 - self.scale * SHOWN_CENTRE_M[0]
        self.y0 = 0.5 * self.height - 0.5 + self.scale * SHOWN_CENTRE_M[1]
        # Large enough for words and shadows.
        self.wordy = self.side >= WORDS_FROM_PX
        self.roomy = self.side >= LEGEND_FROM_PX
        self.rim_px = min(THICKEST_RIM_PX, max(THINNEST_RIM_PX, self.side / RIM_UNIT_PX))
        self._shapes: list[float] = []

    @property
    def text_px(self) -> int:
        """Size of the writing."""
        return max(11, round(0.027 * self.side))

    def at(self, place: Sequence[float]) -> Pixel:
        """Pixel of a place (m)."""
        return self.x0 + self.scale * place[0], self.y0 - self.scale * place[1]

    def place(self, pixel: Pixel) -> Pixel:
        """Place (m) of a pixel."""
        return (pixel[0] - self.x0) / self.scale, (self.y0 - pixel[1]) / self.scale

    def capsule(
        self,
        start: Pixel,
        end: Pixel,
        radii: Pixel,
        fill: Sequence[float],
        rim: Colour | None = None,
        ends: float = ROUND,
    ) -> None:
        """A capsule with a radius (pixels) at its start and at its end, lined with a rim where one is given."""
        lined = self.rim_px if rim is not None else 0.0
        self._shapes += (*start, radii[0], *end, radii[1], ends, lined, *fill, *(rim or fill))

    def disc(self, middle: Pixel, radius: float, fill: Sequence[float], rim: Colour | None = None) -> None:
        """A disc, lined with a rim where one is given."""
        self.capsule(middle, middle, (radius, radius), fill, rim)

    def ring(self, middle: Pixel, radius: float, colour: Colour) -> None:
        """The outline of a disc."""
        self.capsule(middle, middle, (radius, radius), HOLLOW, colour)

    def line(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour) -> None:
        """A straight line with round ends."""
        self.capsule(start, end, (0.5 * thick_px, 0.5 * thick_px), colour)

    def dashes(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour) -> None:
        """A dashed line that begins with a dash."""
        length = math.dist(start, end)
        dash = max(2.0, 0.009 * self.side)
        # A line to a place far outside is drawn as far as the frame can show it.
        shown = min(length, 4.0 * (self.width + self.height))
        for k in range(int(shown / (2.0 * dash)) + 1):
            first, last = 2 * k * dash, min(length, (2 * k + 1) * dash)
            self.line(between(start, end, first, length), between(start, end, last, length), thick_px, colour)

    def arrow(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour, halo: Colour | None = None) -> None:
        """An arrow from start to end; its head shrinks where the arrow is short. A halo sets it off from the rest."""
        length = math.dist(start, end)
        if length <= 0.0:
            return
        thick = min(thick_px, length / (1.3 * HEAD_LENGTH))
        neck = between(start, end, length - HEAD_LENGTH * thick, length)
        half = 0.5 * thick
        head = 0.5 * HEAD_WIDTH * thick
        if halo is not None:
            by = self.rim_px
            self.capsule(start, neck, (half + by, half + by), halo)
            self.capsule(between(start, end, length - HEAD_LENGTH * thick - by, length), end, (head + by, by), halo)
        self.capsule(start, neck, (half, half), colour)
        self.capsule(neck, end, (head, 0.2), colour, ends=STRAIGHT)

    def path(self, path: NDArray[np.float64], most: int, colour: Colour, *, thick_px: float, dot_px: float) -> None:
        """A path (n, 2) m through about `most` of its points, over all shapes so far."""
        if len(path) < 2:
            return
        self.lay()
        every = max(1, -(-len(path) // most))
        points = np.ascontiguousarray(path, dtype=np.float64)
        red, green, blue = colour
        ink = (float(red), float(green), float(blue))
        lay_path(self.frame, points, every, self.x0, self.y0, self.scale, 0.5 * thick_px, 0.5 * dot_px, ink)

    def lay(self) -> None:
        """Lay the shapes gathered so far into the frame."""
        if self._shapes:
            lay_shapes(self.frame, np.frombuffer(array("d", self._shapes)).reshape(-1, SHAPE))
            self._shapes = []

    def write(self, words: pygame.Surface, left: float, top: float) -> None:
        """Write words over all shapes so far, with their upper left corner at a pixel."""
        self.lay()
        ground = pygame.image.frombuffer(self.frame.data, (self.width, self.height), "RGB")
        ground.blit(words, (left, top))


def between(start: Pixel, end: Pixel, distance: float, length: float) -> Pixel:
    """The pixel at a distance from start on the line to end, which is `length` away."""
    share = distance / length if length > 0.0 else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
