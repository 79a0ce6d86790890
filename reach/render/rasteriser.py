"""The compiled rasteriser: every shape of a picture is a capsule, laid into the frame with softened edges.

A capsule runs from one point to another, with a radius at each that changes evenly in between; its ends are round or
cut straight. A disc is one without length, an arrowhead one that narrows to nothing, a limb one with a rim in another
colour. How much of a pixel a shape covers is taken from the distance of the pixel's middle to the outline. So shapes
may lie between pixels, and a picture of 84 pixels shows what one of 600 does.
"""

from __future__ import annotations

import math

import numpy as np

from reach.sim.jit import inlined, kernel

# Columns of a shape, in pixels and colours (0..255). The rim lies half inside and half outside the outline.
X0, Y0, RADIUS_0, X1, Y1, RADIUS_1, ENDS, RIM_PX, FILL, RIM, SHAPE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14
# What `ENDS` may be: both round, both straight, or the first round and the second straight.
ROUND, STRAIGHT, ROUND_THEN_STRAIGHT = 0.0, 1.0, 2.0
# A fill whose first number is below 0 leaves the inside as it is.
HOLLOW = (-1.0, 0.0, 0.0)


@kernel
def _outside(along, across, length, radius_0, radius_1, taper, lean, straight_0, straight_1):  # type: ignore[no-untyped-def]
    """Distance of a point from the outline of a capsule, pixels, below 0 inside; `taper` is its change of radius along
    its length, `lean` the cosine of that angle."""
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
def _within(first, last, slope, least):  # type: ignore[no-untyped-def]
    """The part of the interval first..last on which slope * x >= least."""
    if slope > 1e-9:
        return max(first, least / slope), last
    if slope < -1e-9:
        return first, min(last, least / slope)
    return first, last if least <= 0.0 else first - 1.0


@kernel
def lay_capsule(frame, x0, y0, radius_0, x1, y1, radius_1, ends, rim_px, fill, rim):  # type: ignore[no-untyped-def]
    """Lay one capsule over a frame (height, width, 3); its columns are those of a shape, above."""
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
    red, green, blue = np.uint8(fill[0]), np.uint8(fill[1]), np.uint8(fill[2])
    # Deeper than this below the outline a pixel is fill alone.
    deep = 0.5 + 0.5 * rim_px
    # Round ends stand out from the straight sides by less than the square of the taper.
    edge = radius_0 + deep / lean + taper * taper * max(radius_0, radius_1)
    core_0, core_1 = radius_0 - deep / lean, radius_1 - deep / lean
    start_depth, end_depth = deep if straight_0 else 0.0, length - (deep if straight_1 else 0.0)
    for row in range(top, bottom + 1):
        py = row - y0
        # Where this row may touch the shape: between both sides, moved out.
        first, last = left - x0, right - x0
        if length > 0.0:
            first, last = _within(first, last, taper * ux + uy, py * ux - edge - taper * py * uy)
            first, last = _within(first, last, taper * ux - uy, -py * ux - edge - taper * py * uy)
        begin, end = math.ceil(first + x0), math.floor(last + x0)
        # Where it is surely inside: between both sides and both ends, or within the disc at a round end. A capsule is
        # convex, so what lies between two such places is inside too.
        inside, beyond = end + 1, begin
        if length > 0.0:
            first, last = _within(first, last, taper * ux + uy, py * ux - core_0 - taper * py * uy)
            first, last = _within(first, last, taper * ux - uy, -py * ux - core_0 - taper * py * uy)
            first, last = _within(first, last, ux, start_depth - py * uy)
            first, last = _within(first, last, -ux, py * uy - end_depth)
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
                frame[row, column, 0] = red
                frame[row, column, 1] = green
                frame[row, column, 2] = blue
        for part in range(2):
            for column in range(begin if part == 0 else beyond, inside if part == 0 else end + 1):
                px = column - x0
                along, across = px * ux + py * uy, abs(py * ux - px * uy)
                outside = _outside(along, across, length, radius_0, radius_1, taper, lean, straight_0, straight_1)
                covered = min(1.0, deep - outside)
                if covered <= 0.0:
                    continue
                inner = covered if rim_px <= 0.0 else min(1.0, max(0.0, 0.5 - outside - 0.5 * rim_px))
                outer = covered - inner
                if hollow:
                    inner = 0.0
                # The half added makes the cut a rounding.
                bare = 1.0 - outer - inner
                frame[row, column, 0] = np.uint8(bare * frame[row, column, 0] + outer * rim[0] + inner * fill[0] + 0.5)
                frame[row, column, 1] = np.uint8(bare * frame[row, column, 1] + outer * rim[1] + inner * fill[1] + 0.5)
                frame[row, column, 2] = np.uint8(bare * frame[row, column, 2] + outer * rim[2] + inner * fill[2] + 0.5)


@kernel
def lay_shapes(frame, shapes):  # type: ignore[no-untyped-def]
    """Lay shapes over a frame, the first one lowest.

    Args:
        frame: (height, width, 3) uint8, painted in place.
        shapes: (n, SHAPE), see the columns above.
    """
    for k in range(shapes.shape[0]):
        shape = shapes[k]
        fill, rim = (shape[8], shape[9], shape[10]), (shape[11], shape[12], shape[13])
        x0, y0, radius_0, x1, y1, radius_1 = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
        lay_capsule(frame, x0, y0, radius_0, x1, y1, radius_1, shape[ENDS], shape[RIM_PX], fill, rim)


@kernel
def lay_path(frame, path, every, x0, y0, scale, radius, dot_radius, colour):  # type: ignore[no-untyped-def]
    """Lay a path over a frame as a line, with dots at even steps of time.

    Args:
        frame: (height, width, 3) uint8, painted in place.
        path: (n, 2) m; drawn through every `every`-th point, the last one always.
        every: 1 or more.
        x0, y0, scale: the map from the table to the frame.
        radius: half the thickness of the line, pixels.
        dot_radius: of a dot at every second point of the line, pixels; 0 for none.
        colour: three numbers, 0..255.
    """
    last = path.shape[0] - 1
    for k in range(last, 0, -every):
        before = max(0, k - every)
        ax, ay = x0 + scale * path[k, 0], y0 - scale * path[k, 1]
        bx, by = x0 + scale * path[before, 0], y0 - scale * path[before, 1]
        lay_capsule(frame, ax, ay, radius, bx, by, radius, ROUND_THEN_STRAIGHT, 0.0, colour, colour)
    if dot_radius > 0.0:
        for k in range(last, -1, -2 * every):
            ax, ay = x0 + scale * path[k, 0], y0 - scale * path[k, 1]
            lay_capsule(frame, ax, ay, dot_radius, ax, ay, dot_radius, ROUND, 0.0, colour, colour)
