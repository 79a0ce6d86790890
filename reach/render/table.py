"""Draw a scene: the table seen from above with arm, hand, cup, paths, forces, and seen positions.

The static background (room, force field, channel, earlier paths, start, labels) is cached; a frame begins as a copy of
it. Pictures are NumPy arrays, and `pygame.display` is not used. The square of the table around `SHOWN_CENTRE_M` is
always shown; a picture that is not square shows more at its sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import picture_size
from reach.jit import say_when_compiling
from reach.render import labels, palette
from reach.render.bodies import Hand, draw_arm, draw_cup, draw_hand, draw_seen_cup, draw_shadow, locate_hand
from reach.render.canvas import FORCE_RIMS, HOLLOW, STRAIGHT, Canvas, Frame, Pixel, draw_shapes
from reach.render.labels import METRES_PER_NEWTON, LabelContent
from reach.render.palette import Colour
from reach.scene import Scene
from reach.sim.layout import SHOWN_CENTRE_M, SHOWN_M
from reach.sim.retina import LAMP_RGB, ROW_HALF_M, ROW_Y_M, lamp_places_m

GRID_M = 0.10
TABLE_EDGE_M = 0.10
START_RADIUS_M = 0.010
# Length of the longest arrow of a field's force, and the smallest force that is drawn.
LONGEST_ARROW_M, SMALLEST_FORCE_N = 0.09, 0.05
# Speed of the hand for which a velocity field is drawn; a reach of 20 cm in 0.6 s has 0 to 0.6 m/s.
SHOWN_SPEED_M_S = 0.4
# Force channel: half the width between its walls, its length from the start, the thickness of a wall, and its length
# before the start, so that the hand is between the walls at the start too.
CHANNEL_HALF_M, CHANNEL_LENGTH_M, WALL_M, WALL_BEFORE_M = 0.014, 0.32, 0.006, 0.01
# Colour of a lamp that is on, as on the retina.
LAMP_ON: Colour = (int(LAMP_RGB[1][0]), int(LAMP_RGB[1][1]), int(LAMP_RGB[1][2]))


def background_of(scene: Scene, content: LabelContent, width: int, height: int) -> Frame:
    """Return the background of a scene, (height, width, 3), cached: copy it before drawing."""
    past_paths = tuple(map(_bytes, scene.past_paths))
    field, force, channel = map(_bytes, (scene.field_n_s_per_m, scene.constant_force_n, scene.channel))
    forces = field, scene.position_field_n_per_m or 0.0, force, channel
    return _labelled_background(content, width, height, tuple(scene.start.tolist()), past_paths, *forces)


def _bytes(values: NDArray[np.float64] | None) -> bytes:
    """Return an array as a key of a cache."""
    return b"" if values is None else np.asarray(values, dtype=np.float64).tobytes()


@lru_cache(maxsize=4)
def _labelled_background(content: LabelContent, *background: Any) -> Frame:
    frame = _background(*background).copy()
    labels.draw_labels(Canvas(frame), content)
    return frame


@lru_cache(maxsize=4)
def _background(
    width: int,
    height: int,
    start: Pixel,
    past_paths: tuple[bytes, ...],
    field: bytes,
    aside: float,
    force: bytes,
    channel: bytes,
) -> Frame:
    canvas = Canvas(draw_room(width, height).copy())
    if field or aside or force:
        matrix = np.frombuffer(field or bytes(32)).reshape(2, 2)
        _draw_field(canvas, np.array(start), matrix, aside, np.frombuffer(force or bytes(16)))
    if channel:
        _draw_channel(canvas, np.array(start), np.frombuffer(channel))
    thick = max(0.8, 1.1 * canvas.rim_px)
    for age, data in zip(range(len(past_paths), 0, -1), past_paths, strict=True):
        past = np.frombuffer(data).reshape(-1, 2)
        canvas.path(past, 50 if canvas.has_labels else 12, palette.faded_path(age), thick_px=thick, dot_px=0.0)
    canvas.ring(canvas.pixel(start), max(2.0, START_RADIUS_M * canvas.scale), palette.FAINT_INK)
    canvas.flush()
    return canvas.frame


@lru_cache(maxsize=4)
def draw_room(width: int, height: int) -> Frame:
    """Return table, grid and the person who sits at it, (height, width, 3), cached: copy it before drawing."""
    scale = min(width, height) / SHOWN_M
    x = (np.arange(width)[None, :] + 0.5 - 0.5 * width) / scale + SHOWN_CENTRE_M[0]
    y = SHOWN_CENTRE_M[1] - (np.arange(height)[:, None] + 0.5 - 0.5 * height) / scale
    picture = np.empty((height, width, 3))
    picture[:] = palette.TABLE

    def paint(colour: Colour, outside_m: NDArray[np.float64]) -> None:
        cover = np.clip(0.5 - outside_m * scale, 0.0, 1.0)[..., None]
        picture[:] += cover * (np.array(colour) - picture)

    line = 0.5 / scale
    for places in (x, y):
        paint(palette.GRID, np.abs(places - GRID_M * np.round(places / GRID_M)) - line + 0.0 * (x + y))
    paint(palette.TABLE_EDGE, y - TABLE_EDGE_M + 0.0 * x)
    paint(palette.FLOOR, y - (TABLE_EDGE_M - max(0.006, 2.0 * line)) + 0.0 * x)
    for colour, (middle_x, middle_y), (half_x, half_y) in (
        (palette.TORSO, (-0.185, -0.03), (0.225, 0.095)),
        (palette.HEAD, (-0.185, -0.005), (0.075, 0.088)),
    ):
        shape = np.sqrt(((x - middle_x) / half_x) ** 2 + ((y - middle_y) / half_y) ** 2)
        paint(colour, (shape - 1.0) * min(half_x, half_y))
    return picture.round().astype(np.uint8)


def force_arrow_m(force: Pixel, longest_m: float) -> Pixel:
    """Return the arrow, m, of a force, N: METRES_PER_NEWTON per newton, at most `longest_m`."""
    newton = math.hypot(*force)
    longest = longest_m / METRES_PER_NEWTON
    factor = METRES_PER_NEWTON * (1.0 if newton <= longest else longest / newton)
    return factor * force[0], factor * force[1]


def _draw_field(
    canvas: Canvas,
    start: NDArray[np.float64],
    field: NDArray[np.float64],
    aside: float,
    force: NDArray[np.float64],
) -> None:
    """Draw arrows of F = B v + k (y, -x) + F0 on a hand that moves straight away from the start at SHOWN_SPEED_M_S.

    A curl field looks like a vortex about the start, and a constant force like a uniform stream.
    """
    # A small picture has fewer and longer arrows.
    spacing, longer = (0.1, 1.0) if canvas.has_labels else (0.15, 1.4)
    thick = max(0.7, 1.3 * canvas.rim_px)
    half_x, half_y = 0.5 * canvas.width / canvas.scale, 0.5 * canvas.height / canvas.scale
    # The highest arrow is below caption, time and badge.
    highest = SHOWN_CENTRE_M[1] + half_y - (labels.header_px(canvas) / canvas.scale if canvas.has_labels else 0.0)
    xs = _grid_centres(SHOWN_CENTRE_M[0] - half_x, SHOWN_CENTRE_M[0] + half_x, spacing)
    ys = _grid_centres(max(TABLE_EDGE_M + 0.02, SHOWN_CENTRE_M[1] - half_y), highest, spacing)
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    out = places - start
    distance = np.maximum(np.hypot(out[:, 0], out[:, 1]), 1e-9)[:, None]
    forces = SHOWN_SPEED_M_S * (out / distance) @ field.T + aside * out[:, ::-1] * [1.0, -1.0] + force
    for (x, y), (force_x, force_y) in zip(places.tolist(), forces.tolist(), strict=True):
        if math.hypot(force_x, force_y) < SMALLEST_FORCE_N:
            continue
        along_x, along_y = force_arrow_m((force_x, force_y), LONGEST_ARROW_M)
        by_x, by_y = 0.5 * longer * along_x, 0.5 * longer * along_y
        canvas.arrow(canvas.pixel((x - by_x, y - by_y)), canvas.pixel((x + by_x, y + by_y)), thick, palette.FIELD)
    canvas.flush()


def _grid_centres(low: float, high: float, spacing: float) -> NDArray[np.float64]:
    """Return the midpoints between the multiples of `spacing` from low to high."""
    first, last = math.ceil(low / spacing - 0.5), math.floor(high / spacing - 0.5)
    return np.array([spacing * (k + 0.5) for k in range(first, last + 1)], dtype=np.float64)


def _draw_channel(canvas: Canvas, start: NDArray[np.float64], along: NDArray[np.float64]) -> None:
    """Draw the two walls that keep the hand on a line from the start."""
    beside = np.array([-along[1], along[0]])
    thick = max(0.6, 0.5 * WALL_M * canvas.scale)
    first, last = start - WALL_BEFORE_M * along, start + CHANNEL_LENGTH_M * along
    for side in (-1.0, 1.0):
        offset = side * (CHANNEL_HALF_M + 0.5 * WALL_M) * beside
        canvas.capsule(
            canvas.pixel((first + offset).tolist()),
            canvas.pixel((last + offset).tolist()),
            (thick, thick),
            palette.WALL,
            palette.WALL_EDGE,
            STRAIGHT,
        )
    canvas.flush()


# --- frame ----------------------------------------------------------------------------------------------------

# Seen and true positions closer than this are drawn as one.
SEEN_DIFFERS_M = 0.004
LONGEST_HAND_ARROW_M = 0.30


def draw(scene: Scene, width: int, height: int) -> Frame:
    """Return the picture of a scene.

    A velocity field and a constant force are shown as faint arrows on the whole table: each arrow is the force on a
    hand that moves straight away from the start at 0.4 m/s, 1 cm per newton, at most 9 cm. The present force on the
    hand is a dark arrow from the hand with the same scale, at most 30 cm.

    Args:
        scene: the scene, which is not changed.
        width, height: size, 16 to 4096 pixels.

    Returns:
        (height, width, 3) uint8, RGB, a new array.

    Raises:
        ValueError: width or height is out of range.
    """
    width, height = picture_size(width, height)
    say_when_compiling(draw_shapes, "the drawing (a few seconds)")
    hand_differs = scene.seen_hand is not None and _differs_visibly(scene.seen_hand, scene.grasp_point)
    cup_differs = scene.cup_present and _differs_visibly(scene.seen_cup, scene.cup)
    content = labels.label_content(scene, seen_differs=hand_differs or cup_differs)
    canvas = Canvas(background_of(scene, content, width, height).copy())
    hand = locate_hand(canvas, scene)
    if canvas.has_labels:
        draw_shadow(canvas, scene, hand)
    draw_cup(canvas, scene)
    draw_arm(canvas, scene)
    draw_hand(canvas, scene, hand)
    dots = 0.0
    if canvas.has_labels:
        # Dots at equal time intervals show the speed of the hand by their distance.
        dots = max(2.0, 0.007 * canvas.side)
    thick = max(0.9, 1.5 * canvas.rim_px)
    canvas.path(scene.path, 75 if canvas.has_labels else 24, palette.PATH, thick_px=thick, dot_px=dots)
    if hand_differs and scene.seen_hand is not None:
        _draw_seen_hand(canvas, hand, canvas.pixel(scene.grasp_point.tolist()), canvas.pixel(scene.seen_hand.tolist()))
    if cup_differs:
        draw_seen_cup(canvas, scene)
    if content.error and scene.seen_hand is not None:
        _draw_error(canvas, canvas.pixel(scene.seen_hand.tolist()), canvas.pixel(scene.seen_cup.tolist()))
    if scene.hand_force_n is not None:
        _draw_hand_force(canvas, scene.grasp_point, scene.hand_force_n)
    if scene.lamps is not None:
        draw_lamps(canvas, scene.lamps.tolist())
    canvas.flush()
    if canvas.has_labels:
        labels.draw_time(canvas, scene.time_s, below_caption=bool(scene.caption))
    return canvas.frame


def _differs_visibly(seen: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    (seen_x, seen_y), (x, y) = seen.tolist(), true.tolist()
    return math.hypot(seen_x - x, seen_y - y) > SEEN_DIFFERS_M


def _draw_seen_hand(canvas: Canvas, hand: Hand, grasp: Pixel, seen: Pixel) -> None:
    """Draw the outline of fingers and palm at their seen position, connected to the true hand."""
    if canvas.has_labels:
        canvas.dashes(grasp, seen, 1.4 * canvas.rim_px, palette.SEEN)
    dx, dy = seen[0] - grasp[0], seen[1] - grasp[1]
    for start, end, thick in hand.bars:
        start, end = (start[0] + dx, start[1] + dy), (end[0] + dx, end[1] + dy)
        if canvas.has_labels:
            canvas.capsule(start, end, (thick, thick), HOLLOW, palette.SEEN)
        else:
            canvas.line(start, end, canvas.rim_px + 0.4, palette.SEEN)


def draw_lamps(canvas: Canvas, lamps: Sequence[float]) -> None:
    """Draw a dark row of lamps at the far edge of the table, on top of everything else."""
    places, radius = lamp_places_m(len(lamps))
    pixels = [canvas.pixel((x, ROW_Y_M)) for x in places.tolist()]
    half_px = ROW_HALF_M * canvas.scale
    canvas.capsule(pixels[0], pixels[-1], (half_px, half_px), palette.LAMP_ROW)
    for pixel, lamp in zip(pixels, lamps, strict=True):
        if lamp > 0.0:
            canvas.disc(pixel, radius * canvas.scale, LAMP_ON)
        else:
            canvas.ring(pixel, radius * canvas.scale, palette.LAMP_RIM)


def _draw_error(canvas: Canvas, seen_hand: Pixel, seen_cup: Pixel) -> None:
    """Draw the seen error: an arrow from the seen hand to the seen cup."""
    halo = palette.TABLE if canvas.has_labels else None
    canvas.arrow(seen_hand, seen_cup, max(1.0, 2.2 * canvas.rim_px), palette.SEEN, halo)


def _draw_hand_force(canvas: Canvas, hand: NDArray[np.float64], force: NDArray[np.float64]) -> None:
    force_x, force_y = force.tolist()
    if math.hypot(force_x, force_y) < SMALLEST_FORCE_N:
        return
    x, y = hand.tolist()
    along_x, along_y = force_arrow_m((force_x, force_y), LONGEST_HAND_ARROW_M)
    halo = palette.TABLE if canvas.has_labels else None
    thick = max(1.0, FORCE_RIMS * canvas.rim_px)
    canvas.arrow(canvas.pixel((x, y)), canvas.pixel((x + along_x, y + along_y)), thick, palette.FORCE, halo)
