"""The canvas: a frame with the map from the table to pixels, and a compiled rasteriser.

Every shape is a capsule: two end points with a radius each, a linear change of the radius in between, and round or
straight ends. A disc is a capsule of length 0, an arrowhead is a capsule that narrows to a point, and a limb is a
capsule with a rim of another colour. The coverage of a pixel is computed from the distance of its centre to the
outline. Shapes can therefore lie between pixels, and a picture of 84 pixels shows the same as one of 600 pixels. Shapes
are collected and drawn together in one compiled call.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np
import pygame
from numpy.typing import NDArray

from reach.jit import inlined, kernel
from reach.render.palette import Colour
from reach.sim.layout import SHOWN_CENTRE_M, SHOWN_M

Frame = NDArray[np.uint8]  # (height, width, 3)
Pixel = tuple[float, float]

# Columns of a shape; lengths in pixels, colours 0..255. Half of the rim lies inside the outline.
X0, Y0, RADIUS_0, X1, Y1, RADIUS_1, ENDS, RIM_PX, FILL, RIM, COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14
# Values of `ENDS`: both round, both straight, or the first round and the second straight.
ROUND, STRAIGHT, ROUND_THEN_STRAIGHT = 0.0, 1.0, 2.0
# A fill whose first number is below 0 leaves the interior unchanged.
HOLLOW = (-1.0, 0.0, 0.0)


@kernel
def _signed_distance(along, across, length, radius_0, radius_1, taper, lean, straight_0, straight_1):  # type: ignore[no-untyped-def]
    """Return the distance of a point from the outline of a capsule, pixels; it is negative inside.

    `taper` is the change of radius per length, `lean` the cosine of the angle of this slope.
    """
    if along < 0.0:
        if straight_0:
            return max((across - radius_0) * lean, -along)
        return math.sqrt(along * along + across * across) - radius_0
    if along > length:
        beyond = along - length
        if straight_1:
            return max((across - radius_1) * lean, beyond)
        return math.sqrt(beyond * beyond + across * across) - radius_1
    outside = (across - radius_0 - taper * along) * lean
    if straight_0:
        outside = max(outside, -along)
    if straight_1:
        outside = max(outside, along - length)
    return outside


@inlined
def _clip_interval(first, last, slope, least):  # type: ignore[no-untyped-def]
    """Return the part of the interval first..last on which slope * x >= least."""
    if slope > 1e-9:
        return max(first, least / slope), last
    if slope < -1e-9:
        return first, min(last, least / slope)
    return first, last if least <= 0.0 else first - 1.0


@kernel
def draw_capsule(frame, x0, y0, radius_0, x1, y1, radius_1, ends, rim_px, fill, rim):  # type: ignore[no-untyped-def]
    """Draw one capsule into a frame (height, width, 3); the arguments are the columns of a shape."""
    height, width, _ = frame.shape
    reach = max(radius_0, radius_1) + 0.5 * rim_px + 0.5
    left, right = max(0.0, min(x0, x1) - reach), min(width - 1.0, max(x0, x1) + reach)
    top, bottom = max(0, math.ceil(min(y0, y1) - reach)), min(height - 1, math.floor(max(y0, y1) + reach))
    dx, dy = x1 - x0, y1 - y0
    length = math.sqrt(dx * dx + dy * dy)
    ux, uy = (dx / length, dy / length) if length > 0.0 else (1.0, 0.0)
    taper = (radius_1 - radius_0) / length if length > 0.0 else 0.0
    lean = 1.0 / math.sqrt(1.0 + taper * taper)
    straight_0, straight_1 = ends == STRAIGHT, ends != ROUND
    hollow = fill[0] < 0.0
    # Depth below the outline, pixels, from which a pixel is completely fill.
    deep = 0.5 + 0.5 * rim_px
    # Round ends extend beyond the straight sides by less than the square of the taper.
    edge = radius_0 + deep / lean + taper * taper * max(radius_0, radius_1)
    core_0, core_1 = radius_0 - deep / lean, radius_1 - deep / lean
    start_depth, end_depth = deep if straight_0 else 0.0, length - (deep if straight_1 else 0.0)
    for row in range(top, bottom + 1):
        py = row - y0
        # Columns of this row that the shape may touch: between both sides, moved outwards.
        first, last = left - x0, right - x0
        if length > 0.0:
            first, last = _clip_interval(first, last, taper * ux + uy, py * ux - edge - taper * py * uy)
            first, last = _clip_interval(first, last, taper * ux - uy, -py * ux - edge - taper * py * uy)
        begin, end = math.ceil(first + x0), math.floor(last + x0)
        # Columns that are certainly inside: between both sides and both ends, or within the disc at a round end. The
        # capsule is convex, so all columns between two such columns are inside too.
        inside, beyond = end + 1, begin
        if length > 0.0:
            first, last = _clip_interval(first, last, taper * ux + uy, py * ux - core_0 - taper * py * uy)
            first, last = _clip_interval(first, last, taper * ux - uy, -py * ux - core_0 - taper * py * uy)
            first, last = _clip_interval(first, last, ux, start_depth - py * uy)
            first, last = _clip_interval(first, last, -ux, py * uy - end_depth)
            if first <= last:
                inside, beyond = math.ceil(first + x0), math.floor(last + x0) + 1
        if not straight_0 and abs(py) < core_0:
            half = math.sqrt(core_0 * core_0 - py * py)
            inside, beyond = min(inside, math.ceil(x0 - half)), max(beyond, math.floor(x0 + half) + 1)
        if not straight_1 and abs(py - dy) < core_1:
            half = math.sqrt(core_1 * core_1 - (py - dy) * (py - dy))
            inside, beyond = min(inside, math.ceil(x1 - half)), max(beyond, math.floor(x1 + half) + 1)
        inside, beyond = max(inside, begin), min(beyond, end + 1)
        if inside >= beyond:
            inside = beyond = end + 1
        elif not hollow:
            for column in range(inside, beyond):
                for channel in range(3):
                    frame[row, column, channel] = np.uint8(fill[channel])
        for part in range(2):
            for column in range(begin if part == 0 else beyond, inside if part == 0 else end + 1):
                px = column - x0
                along, across = px * ux + py * uy, abs(py * ux - px * uy)
                outside = _signed_distance(
                    along, across, length, radius_0, radius_1, taper, lean, straight_0, straight_1
                )
                covered = min(1.0, deep - outside)
                if covered <= 0.0:
                    continue
                inner = covered if rim_px <= 0.0 else min(1.0, max(0.0, 0.5 - outside - 0.5 * rim_px))
                outer = covered - inner
                if hollow:
                    inner = 0.0
                # Adding 0.5 makes the truncation round to nearest.
                bare = 1.0 - outer - inner
                for channel in range(3):
                    mixed = bare * frame[row, column, channel] + outer * rim[channel] + inner * fill[channel]
                    frame[row, column, channel] = np.uint8(mixed + 0.5)


@kernel
def draw_shapes(frame, shapes):  # type: ignore[no-untyped-def]
    """Draw shapes (n, COLUMNS) into a frame (height, width, 3) uint8 in place; later shapes cover earlier ones."""
    for k in range(shapes.shape[0]):
        shape = shapes[k]
        fill, rim = (shape[8], shape[9], shape[10]), (shape[11], shape[12], shape[13])
        x0, y0, radius_0, x1, y1, radius_1 = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
        draw_capsule(frame, x0, y0, radius_0, x1, y1, radius_1, shape[ENDS], shape[RIM_PX], fill, rim)


@kernel
def draw_path(frame, path, every, x0, y0, scale, radius, dot_radius, colour):  # type: ignore[no-untyped-def]
    """Draw a path as a line, with dots at equal time intervals.

    Args:
        frame: (height, width, 3) uint8, drawn on in place.
        path: (n, 2) m; the line goes through every `every`-th point and the last one.
        every: 1 or more.
        x0, y0, scale: map from the table to the frame.
        radius: half the thickness of the line, pixels.
        dot_radius: radius of a dot at every second point of the line, pixels; 0 for no dots.
        colour: three numbers, 0..255.
    """
    last = path.shape[0] - 1
    for k in range(last, 0, -every):
        before = max(0, k - every)
        ax, ay = x0 + scale * path[k, 0], y0 - scale * path[k, 1]
        bx, by = x0 + scale * path[before, 0], y0 - scale * path[before, 1]
        draw_capsule(frame, ax, ay, radius, bx, by, radius, ROUND_THEN_STRAIGHT, 0.0, colour, colour)
    if dot_radius > 0.0:
        for k in range(last, -1, -2 * every):
            ax, ay = x0 + scale * path[k, 0], y0 - scale * path[k, 1]
            draw_capsule(frame, ax, ay, dot_radius, ax, ay, dot_radius, ROUND, 0.0, colour, colour)


# --- canvas ---------------------------------------------------------------------------------------------------


# Pictures whose shorter side is below this have no shadows and no labels, which would be illegible.
LABELS_FROM_PX = 200
# Pictures whose shorter side is below this have no space for legend and keys.
LEGEND_FROM_PX = 280
THINNEST_RIM_PX, THICKEST_RIM_PX = 0.6, 3.0
# Shorter side, pixels, of a picture in which rims are one pixel wide.
RIM_UNIT_PX = 550.0
# Thickness of the arrow of a force on the hand, in widths of a rim.
FORCE_RIMS = 2.6
# Width and length of an arrowhead, in thicknesses of the shaft.
HEAD_WIDTH, HEAD_LENGTH = 4.0, 4.6


class Canvas:
    """A frame with the map from the table to its pixels: x_px = x0 + scale * x, y_px = y0 - scale * y.

    Args:
        frame: (height, width, 3) uint8, drawn on in place. The centre of the first pixel is (0, 0).
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.height: int = frame.shape[0]
        self.width: int = frame.shape[1]
        self.side: int = min(self.width, self.height)
        self.scale = self.side / SHOWN_M
        self.x0 = 0.5 * self.width - 0.5 - self.scale * SHOWN_CENTRE_M[0]
        self.y0 = 0.5 * self.height - 0.5 + self.scale * SHOWN_CENTRE_M[1]

        self.has_labels = self.side >= LABELS_FROM_PX
        self.has_legend = self.side >= LEGEND_FROM_PX
        self.rim_px = min(THICKEST_RIM_PX, max(THINNEST_RIM_PX, self.side / RIM_UNIT_PX))
        self._shapes: list[float] = []

    @property
    def text_px(self) -> int:
        """Return the font size."""
        return max(11, round(0.027 * self.side))

    def pixel(self, place: Sequence[float]) -> Pixel:
        """Return the pixel at a position on the table, m."""
        return self.x0 + self.scale * place[0], self.y0 - self.scale * place[1]

    def place(self, pixel: Pixel) -> Pixel:
        """Return the position on the table, m, of a pixel."""
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
        """Draw a capsule with radii (pixels) at its start and end, and a rim if its colour is given."""
        rim_px = self.rim_px if rim is not None else 0.0
        self._shapes += (*start, radii[0], *end, radii[1], ends, rim_px, *fill, *(rim or fill))

    def disc(self, middle: Pixel, radius: float, fill: Sequence[float], rim: Colour | None = None) -> None:
        """Draw a disc, with a rim if its colour is given."""
        self.capsule(middle, middle, (radius, radius), fill, rim)

    def ring(self, middle: Pixel, radius: float, colour: Colour) -> None:
        """Draw the outline of a disc."""
        self.capsule(middle, middle, (radius, radius), HOLLOW, colour)

    def line(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour) -> None:
        """Draw a straight line with round ends."""
        self.capsule(start, end, (0.5 * thick_px, 0.5 * thick_px), colour)

    def dashes(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour) -> None:
        """Draw a dashed line that begins with a dash."""
        length = math.dist(start, end)
        dash = max(2.0, 0.009 * self.side)
        # Cut off a line to a position far outside the frame.
        shown = min(length, 4.0 * (self.width + self.height))
        for k in range(int(shown / (2.0 * dash)) + 1):
            first, last = 2 * k * dash, min(length, (2 * k + 1) * dash)
            self.line(between(start, end, first, length), between(start, end, last, length), thick_px, colour)

    def arrow(self, start: Pixel, end: Pixel, thick_px: float, colour: Colour, halo: Colour | None = None) -> None:
        """Draw an arrow from start to end, with a halo if its colour is given; a short arrow has a small head."""
        length = math.dist(start, end)
        if length <= 0.0:
            return
        thick = min(thick_px, length / (1.3 * HEAD_LENGTH))
        neck = between(start, end, length - HEAD_LENGTH * thick, length)
        half = 0.5 * thick
        head = 0.5 * HEAD_WIDTH * thick
        if halo is not None:
            margin = self.rim_px
            self.capsule(start, neck, (half + margin, half + margin), halo)
            self.capsule(
                between(start, end, length - HEAD_LENGTH * thick - margin, length), end, (head + margin, margin), halo
            )
        self.capsule(start, neck, (half, half), colour)
        self.capsule(neck, end, (head, 0.2), colour, ends=STRAIGHT)

    def path(
        self, path: NDArray[np.float64], max_points: int, colour: Colour, *, thick_px: float, dot_px: float
    ) -> None:
        """Draw a path (n, 2) m through about `max_points` of its points, on top of all shapes so far."""
        if len(path) < 2:
            return
        self.flush()
        every = max(1, -(-len(path) // max_points))
        points = np.ascontiguousarray(path, dtype=np.float64)
        red, green, blue = map(float, colour)
        radii = 0.5 * thick_px, 0.5 * dot_px
        draw_path(self.frame, points, every, self.x0, self.y0, self.scale, *radii, (red, green, blue))

    def flush(self) -> None:
        """Draw the shapes collected so far into the frame."""
        if self._shapes:
            draw_shapes(self.frame, np.frombuffer(array("d", self._shapes)).reshape(-1, COLUMNS))
            self._shapes = []

    def write(self, text: pygame.Surface, left: float, top: float) -> None:
        """Draw rendered text on top of all shapes so far, with its upper left corner at a pixel."""
        self.flush()
        surface = pygame.image.frombuffer(self.frame.data, (self.width, self.height), "RGB")
        surface.blit(text, (left, top))


def between(start: Pixel, end: Pixel, distance: float, length: float) -> Pixel:
    """Return the pixel at a distance from start on the line to end; `length` is the length of this line."""
    share = distance / length if length > 0.0 else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
