"""The table seen from above: arm, hand, cup, paths, and what the eye makes of them, drawn into an array.

Nothing here touches `pygame.display`: a picture is a NumPy array that a pygame surface lies over while it
is drawn. The square of the table around `SHOWN_CENTRE_M` always fits; a picture that is not square shows more at
its sides.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

from reach.render import acting, labels, palette
from reach.render.canvas import Canvas, Pixel, Pixels, capsule, dashes, disc, fill, shifted, unit_circle
from reach.render.palette import Colour
from reach.render.scene import Scene
from reach.render.sketch import sketch
from reach.sim.state import SHOWN_CENTRE_M, SHOWN_M

Frame = NDArray[np.uint8]

SMALLEST_PX, LARGEST_PX = 16, 4096
GRID_M = 0.10
TABLE_EDGE_M = 0.10
# Half the thickness of the arm at shoulder, elbow and wrist, and of the hand, m.
SHOULDER_RADIUS_M, ELBOW_RADIUS_M, WRIST_RADIUS_M, HAND_RADIUS_M = 0.046, 0.036, 0.026, 0.025
CUP_HEIGHT_M = 0.10
SHADOW_M = 0.007
START_RADIUS_M = 0.010
# Seen and true places nearer than this look the same.
SEEN_DIFFERS_M = 0.004


def draw(scene: Scene, width: int, height: int) -> Frame:
    """The picture of a scene.

    Args:
        scene: what to draw; it is not changed.
        width, height: of the picture, 16 to 4096 pixels.

    Returns:
        (height, width, 3) uint8, RGB, an array of its own.
    """
    earlier = tuple(np.asarray(path, dtype=np.float64).tobytes() for path in scene.past_paths)
    start_x, start_y = scene.start.tolist()
    field = None if scene.field_n_s_per_m is None else tuple(scene.field_n_s_per_m.ravel().tolist())
    channel = None if scene.channel is None else tuple(scene.channel.tolist())
    frame = _ground(width, height, (start_x, start_y), earlier, field, channel).copy()
    canvas = _canvas(frame)
    hand_differs = scene.seen_hand is not None and _differ(scene.seen_hand, scene.grasp_point)
    cup_differs = scene.cup_present and _differ(scene.seen_cup, scene.cup)
    picture = _paint if canvas.wordy else sketch
    picture(canvas, scene, hand_differs, cup_differs)
    labels.write(
        canvas,
        caption=scene.caption,
        time_s=scene.time_s,
        seen_differs=hand_differs or cup_differs,
        hidden=scene.seen_hand is None,
        success=scene.success,
        tipped=scene.cup_tipped,
    )
    return frame


def _canvas(frame: Frame) -> Canvas:
    """A canvas over a frame: what is drawn on it is drawn into the frame."""
    height, width, _ = frame.shape
    scale = min(width, height) / SHOWN_M
    return Canvas(
        surface=pygame.image.frombuffer(frame.data, (width, height), "RGB"),
        width=width,
        height=height,
        scale=scale,
        x0=0.5 * width - 0.5 - scale * SHOWN_CENTRE_M[0],
        y0=0.5 * height - 0.5 + scale * SHOWN_CENTRE_M[1],
    )


def _differ(seen: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    (seen_x, seen_y), (x, y) = seen.tolist(), true.tolist()
    return math.hypot(seen_x - x, seen_y - y) > SEEN_DIFFERS_M


def _paint(canvas: Canvas, scene: Scene, seen_hand_differs: bool, seen_cup_differs: bool) -> None:
    """The scene with outlines and shadows."""
    joints = [canvas.at(place) for place in scene.joints.tolist()]
    fingers = [(canvas.at(base), canvas.at(tip)) for base, tip in scene.fingers.tolist()]
    grasp, cup = canvas.at(scene.grasp_point.tolist()), canvas.at(scene.cup.tolist())

    segments = _arm_outlines(canvas, joints)
    hand = _hand_outlines(canvas, joints, fingers, scene.finger_radius)
    standing = scene.cup_present and not scene.cup_tipped
    _draw_shadows(canvas, [segments[0], *hand], cup, scene.cup_radius if standing else 0.0)
    if not scene.cup_present:
        pygame.draw.aalines(canvas.surface, palette.HIDDEN_EDGE, True, disc(cup, scene.cup_radius * canvas.scale))
    elif scene.cup_tipped:
        _draw_tipped_cup(canvas, cup, grasp, scene.cup_radius)
    else:
        _draw_cup(canvas, cup, scene.cup_radius, scene.cup_held)
    _draw_arm(canvas, segments, joints)
    if scene.activation is not None:
        thick = 0.5 * (SHOULDER_RADIUS_M + ELBOW_RADIUS_M), 0.5 * (ELBOW_RADIUS_M + WRIST_RADIUS_M)
        acting.draw_muscles(canvas, joints, (thick[0] * canvas.scale, thick[1] * canvas.scale), scene.activation)
    _draw_hand(canvas, scene, hand, fingers, cup)
    if scene.effort is not None:
        acting.draw_efforts(canvas, joints, scene.effort)
    if scene.hand_force_n is not None:
        acting.draw_hand_force(canvas, grasp, scene.hand_force_n)
    _draw_path(canvas, scene.path)
    if seen_hand_differs and scene.seen_hand is not None:
        _draw_seen_hand(canvas, hand, grasp, canvas.at(scene.seen_hand.tolist()))
    if seen_cup_differs:
        _draw_seen_cup(canvas, cup, canvas.at(scene.seen_cup.tolist()), scene.cup_radius)


# --- what stands still -------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _room(width: int, height: int) -> Frame:
    """Table, grid, and the person who sits at it, (height, width, 3)."""
    for name, size in (("width", width), ("height", height)):
        if not SMALLEST_PX <= size <= LARGEST_PX:
            raise ValueError(f"{name} is {size}; {SMALLEST_PX} to {LARGEST_PX} pixels is allowed")
    scale = min(width, height) / SHOWN_M
    x = (np.arange(width)[None, :] + 0.5 - 0.5 * width) / scale + SHOWN_CENTRE_M[0]
    y = SHOWN_CENTRE_M[1] - (np.arange(height)[:, None] + 0.5 - 0.5 * height) / scale
    room = np.empty((height, width, 3))
    room[:] = palette.TABLE

    def paint(colour: Colour, outside_m: NDArray[np.float64], softness_px: float = 1.0) -> None:
        cover = np.clip(0.5 - outside_m * scale / softness_px, 0.0, 1.0)[..., None]
        room[:] += cover * (np.array(colour) - room)

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
    return room.round().astype(np.uint8)


@lru_cache(maxsize=4)
def _ground(
    width: int,
    height: int,
    start: Pixel,
    earlier: tuple[bytes, ...],
    field: tuple[float, ...] | None,
    channel: tuple[float, ...] | None,
) -> Frame:
    """The room with what stays the same during a reach: field, channel, the start (m) and the paths of earlier ones."""
    ground = _room(width, height).copy()
    canvas = _canvas(ground)
    if field is not None:
        xx, xy, yx, yy = field
        acting.draw_field(canvas, start, (xx, xy, yx, yy))
    if channel is not None:
        along_x, along_y = channel
        acting.draw_channel(canvas, start, (along_x, along_y))
    for age, kept in zip(range(len(earlier), 0, -1), earlier, strict=True):
        path = np.frombuffer(kept).reshape(-1, 2)
        if len(path) > 1:
            pixels = canvas.along(path, 50 if canvas.wordy else 12)
            pygame.draw.aalines(canvas.surface, palette.faded_path(age), False, pixels)
    ring = disc(canvas.at(start), max(2.0, START_RADIUS_M * canvas.scale))
    pygame.draw.aalines(canvas.surface, palette.FAINT_INK, True, ring)
    return ground


def _draw_shadows(canvas: Canvas, outlines: list[Pixels], cup: Pixel, cup_radius: float) -> None:
    by = SHADOW_M * canvas.scale
    if cup_radius > 0.0:
        outlines = [*outlines, disc(cup, cup_radius * canvas.scale)]
    for outline in outlines:
        pygame.draw.polygon(canvas.surface, palette.SHADOW, shifted(outline, by + 0.5, by + 0.5))


# --- arm, hand and cup -------------------------------------------------------------------------------------


def _arm_outlines(canvas: Canvas, joints: Pixels) -> list[Pixels]:
    """Forearm and upper arm."""
    shoulder, elbow, wrist, _ = joints
    scale = canvas.scale
    return [
        capsule(elbow, wrist, ELBOW_RADIUS_M * scale, WRIST_RADIUS_M * scale),
        capsule(shoulder, elbow, SHOULDER_RADIUS_M * scale, ELBOW_RADIUS_M * scale),
    ]


def _hand_outlines(canvas: Canvas, joints: Pixels, fingers: list[tuple[Pixel, Pixel]], radius: float) -> list[Pixels]:
    """Left finger, right finger, palm, back of the hand."""
    scale = canvas.scale
    (left, left_tip), (right, right_tip) = fingers
    thick = radius * scale
    palm = max(0.010, radius) * scale
    wrist = joints[2]
    return [
        capsule(left, left_tip, thick, thick),
        capsule(right, right_tip, thick, thick),
        capsule(left, right, palm, palm),
        _back_of_hand(wrist, joints[3], (left, right), HAND_RADIUS_M * scale),
    ]


def _back_of_hand(wrist: Pixel, palm: Pixel, bases: tuple[Pixel, Pixel], radius: float) -> Pixels:
    """A half disc about the wrist that widens towards the bases of the fingers."""
    heading = math.atan2(palm[1] - wrist[1], palm[0] - wrist[0])
    steps = min(14, 4 + int(0.5 * radius))
    turns = [heading + math.pi * (0.5 + k / steps) for k in range(steps + 1)]
    outline = [(wrist[0] + radius * math.cos(turn), wrist[1] + radius * math.sin(turn)) for turn in turns]
    # On from where the half disc ends, so that the outline does not cross itself.
    ordered = sorted(bases, key=lambda base: math.dist(base, outline[-1]))
    return outline + [(palm[0] + 0.8 * (x - palm[0]), palm[1] + 0.8 * (y - palm[1])) for x, y in ordered]


def _draw_arm(canvas: Canvas, segments: list[Pixels], joints: Pixels) -> None:
    for outline in segments:
        fill(canvas, outline, palette.SLEEVE, palette.SLEEVE_EDGE)
    for place, radius in zip(joints, (0.017, 0.014), strict=False):
        fill(canvas, disc(place, radius * canvas.scale), palette.JOINT, palette.SLEEVE_EDGE)


def _draw_hand(
    canvas: Canvas,
    scene: Scene,
    outlines: list[Pixels],
    fingers: list[tuple[Pixel, Pixel]],
    cup: Pixel,
) -> None:
    hidden = scene.seen_hand is None
    skin, edge = (palette.HIDDEN, palette.HIDDEN_EDGE) if hidden else (palette.SKIN, palette.SKIN_EDGE)
    touch = [bool(touched) for touched in scene.touch]
    for outline, touched in zip(reversed(outlines), (False, *reversed(touch)), strict=True):
        fill(canvas, outline, palette.LIT if touched else skin, edge)
    wrist = canvas.at(scene.joints[2].tolist())
    fill(canvas, disc(wrist, 0.011 * canvas.scale), palette.JOINT, palette.SLEEVE_EDGE)
    light = max(2.0, 0.55 * scene.finger_radius * canvas.scale)
    palm = (fingers[0][0], fingers[1][0])
    for touched, (base, tip) in zip(touch, (*fingers, palm), strict=True):
        if touched:
            fill(canvas, disc(_nearest(cup, base, tip), light), palette.FAILURE, palette.INK)


def _nearest(place: Pixel, start: Pixel, end: Pixel) -> Pixel:
    """The point of the segment from start to end that is nearest to a place, pixels."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((place[0] - start[0]) * dx + (place[1] - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9)
    along = min(1.0, max(0.0, along))
    return start[0] + along * dx, start[1] + along * dy


def _draw_cup(canvas: Canvas, cup: Pixel, radius_m: float, held: bool) -> None:
    radius = radius_m * canvas.scale
    rim, edge = (palette.HELD, palette.HELD_EDGE) if held else (palette.CUP_RIM, palette.CUP_EDGE)
    fill(canvas, disc(cup, radius - 0.5), rim, edge)
    fill(canvas, disc(cup, (0.74 if held else 0.82) * radius), palette.CUP_WALL, edge)
    fill(canvas, disc(cup, 0.64 * radius), palette.CUP_INSIDE, palette.CUP_INSIDE)


def _draw_tipped_cup(canvas: Canvas, cup: Pixel, hand: Pixel, radius_m: float) -> None:
    """A cup that lies on its side, its mouth away from the hand, and what ran out of it."""
    away = math.hypot(cup[0] - hand[0], cup[1] - hand[1])
    ux, uy = ((cup[0] - hand[0]) / away, (cup[1] - hand[1]) / away) if away > 1e-6 else (0.0, -1.0)
    radius, half = radius_m * canvas.scale, 0.5 * CUP_HEIGHT_M * canvas.scale

    def place(along: float, across: float) -> Pixel:
        return cup[0] + along * ux - across * uy, cup[1] + along * uy + across * ux

    for along, across, size in ((1.55, 0.1, 0.95), (2.1, -0.45, 0.6), (2.35, 0.35, 0.45)):
        fill(canvas, disc(place(along * half, across * radius), size * radius), palette.SPILL, palette.SPILL)
    body = [
        place(half, radius),
        place(half, -radius),
        place(-half, -0.78 * radius),
        place(-half, 0.78 * radius),
    ]
    fill(canvas, body, palette.CUP_RIM, palette.CUP_EDGE)
    for size, inside in ((1.0, palette.CUP_WALL), (0.72, palette.CUP_INSIDE)):
        mouth = [place(half + 0.3 * size * radius * c, size * radius * s) for c, s in unit_circle(20)]
        fill(canvas, mouth, inside, palette.CUP_EDGE)


# --- what happened and what was seen -----------------------------------------------------------------------


def _draw_path(canvas: Canvas, path: NDArray[np.float64]) -> None:
    if len(path) < 2:
        return
    pixels = canvas.along(path, 75)
    pygame.draw.aalines(canvas.surface, palette.PATH, False, pixels)
    # Dots at even steps of time: far apart where the hand was fast.
    size = max(1.0, 0.0035 * min(canvas.width, canvas.height))
    for place in pixels[::2]:
        pygame.draw.circle(canvas.surface, palette.PATH, (place[0] + 0.5, place[1] + 0.5), size)


def _draw_seen_hand(canvas: Canvas, hand: list[Pixels], grasp: Pixel, seen: Pixel) -> None:
    """Outlines of fingers and palm where the eye sees them."""
    dashes(canvas, grasp, seen, palette.SEEN)
    for outline in hand[:3]:
        moved = shifted(outline, seen[0] - grasp[0], seen[1] - grasp[1])
        pygame.draw.aalines(canvas.surface, palette.SEEN, True, moved)


def _draw_seen_cup(canvas: Canvas, cup: Pixel, seen: Pixel, radius_m: float) -> None:
    dashes(canvas, cup, seen, palette.SEEN)
    for share in (1.0, 0.72):
        pygame.draw.aalines(canvas.surface, palette.SEEN, True, disc(seen, share * radius_m * canvas.scale))
