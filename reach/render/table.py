"""The table seen from above: arm, hand, cup, paths, forces, and what the eye makes of them, drawn into an array.

Nothing here touches `pygame.display`: a picture is a NumPy array. The square of the table around `SHOWN_CENTRE_M`
always fits; a picture that is not square shows more at its sides.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from reach.arguments import picture_size
from reach.render import labels, palette
from reach.render.body import Hand, draw_arm, draw_hand, draw_shadow, hand_of
from reach.render.canvas import FORCE_RIMS, Canvas, Frame, Pixel
from reach.render.cup import draw_cup, draw_seen_cup
from reach.render.ground import SMALLEST_FORCE_N, arrow_m, ground_of
from reach.render.rasteriser import HOLLOW, lay_shapes
from reach.render.scene import Scene
from reach.sim.jit import say_when_compiling

# Seen and true places nearer than this look the same.
SEEN_DIFFERS_M = 0.004
LONGEST_HAND_ARROW_M = 0.30


def draw(scene: Scene, width: int, height: int) -> Frame:
    """The picture of a scene.

    A velocity field and a constant force are shown as faint arrows all over the table: each is the force on a hand that
    passes there on its straight way out from the start at 0.4 m/s, 1 cm for each newton, at most 9 cm. The force that
    acts on the hand at this moment is a dark arrow from the hand, to the same
    measure, at most 30 cm.

    Args:
        scene: what to draw; it is not changed.
        width, height: of the picture, 16 to 4096 pixels.

    Returns:
        (height, width, 3) uint8, RGB, an array of its own.

    Raises:
        ValueError: another width or height.
    """
    width, height = picture_size(width, height)
    say_when_compiling(lay_shapes, "the drawing (a few seconds)")
    hand_differs = scene.seen_hand is not None and _differ(scene.seen_hand, scene.grasp_point)
    cup_differs = scene.cup_present and _differ(scene.seen_cup, scene.cup)
    words = labels.words_of(scene, seen_differs=hand_differs or cup_differs)
    canvas = Canvas(ground_of(scene, words, width, height).copy())
    hand = hand_of(canvas, scene)
    if canvas.wordy:
        draw_shadow(canvas, scene, hand)
    draw_cup(canvas, scene)
    draw_arm(canvas, scene)
    draw_hand(canvas, scene, hand)
    dots = 0.0
    if canvas.wordy:
        # Dots at even steps of time: far apart where the hand was fast.
        dots = max(2.0, 0.007 * canvas.side)
    thick = max(0.9, 1.5 * canvas.rim_px)
    canvas.path(scene.path, 75 if canvas.wordy else 24, palette.PATH, thick_px=thick, dot_px=dots)
    if hand_differs and scene.seen_hand is not None:
        _draw_seen_hand(canvas, hand, canvas.at(scene.grasp_point.tolist()), canvas.at(scene.seen_hand.tolist()))
    if cup_differs:
        draw_seen_cup(canvas, scene)
    if words.error and scene.seen_hand is not None:
        _draw_error(canvas, canvas.at(scene.seen_hand.tolist()), canvas.at(scene.seen_cup.tolist()))
    if scene.hand_force_n is not None:
        _draw_hand_force(canvas, scene.grasp_point, scene.hand_force_n)
    canvas.lay()
    if canvas.wordy:
        labels.write_time(canvas, scene.time_s, below_caption=bool(scene.caption))
    return canvas.frame


def _differ(seen: NDArray[np.float64], true: NDArray[np.float64]) -> bool:
    (seen_x, seen_y), (x, y) = seen.tolist(), true.tolist()
    return math.hypot(seen_x - x, seen_y - y) > SEEN_DIFFERS_M


def _draw_seen_hand(canvas: Canvas, hand: Hand, grasp: Pixel, seen: Pixel) -> None:
    """Outlines of fingers and palm where the eye sees them, joined to where they are."""
    if canvas.wordy:
        canvas.dashes(grasp, seen, 1.4 * canvas.rim_px, palette.SEEN)
    dx, dy = seen[0] - grasp[0], seen[1] - grasp[1]
    for start, end, thick in hand.bars:
        start, end = (start[0] + dx, start[1] + dy), (end[0] + dx, end[1] + dy)
        if canvas.wordy:
            canvas.capsule(start, end, (thick, thick), HOLLOW, palette.SEEN)
        else:
            canvas.line(start, end, canvas.rim_px + 0.4, palette.SEEN)


def _draw_error(canvas: Canvas, seen_hand: Pixel, seen_cup: Pixel) -> None:
    """The error that the eye sees: how far, and which way, the hand has yet to go."""
    halo = palette.TABLE if canvas.wordy else None
    canvas.arrow(seen_hand, seen_cup, max(1.0, 2.2 * canvas.rim_px), palette.SEEN, halo)


def _draw_hand_force(canvas: Canvas, hand: NDArray[np.float64], force: NDArray[np.float64]) -> None:
    force_x, force_y = force.tolist()
    if math.hypot(force_x, force_y) < SMALLEST_FORCE_N:
        return
    x, y = hand.tolist()
    along_x, along_y = arrow_m((force_x, force_y), LONGEST_HAND_ARROW_M)
    halo = palette.TABLE if canvas.wordy else None
    thick = max(1.0, FORCE_RIMS * canvas.rim_px)
    canvas.arrow(canvas.at((x, y)), canvas.at((x + along_x, y + along_y)), thick, palette.FORCE, halo)
