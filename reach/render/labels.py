"""What is written into the picture: caption, time, legend, trial, outcome, scale bar and keys, each in its corner."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame
import pygame.font

from reach.render import palette
from reach.render.canvas import FORCE_RIMS, Canvas, Pixel
from reach.render.palette import Colour
from reach.scene import Scene
from reach.sim.layout import INNER_STEP_S, TRIAL_S

SCALE_BAR_M = 0.10
KEY_FORCE_N = 5.0
# Room for trial and outcome.
ROWS_ABOVE_KEYS = 2.9
# Points of an eyelid, from corner to corner.
LID = tuple(k / 3.0 - 1.0 for k in range(7))
# Metres of arrow for each newton, of every force in the picture.
METRES_PER_NEWTON = 0.01


class Words(NamedTuple):
    """All that the writing depends on, but for the time."""

    caption: str
    badge: str
    block: str
    outcome: str
    seen_differs: bool
    hidden: bool
    error: bool
    forces: bool
    torques: bool


def words_of(scene: Scene, *, seen_differs: bool) -> Words:
    """What to write into the picture of a scene."""
    trial = "" if scene.trial is None else f"trial {scene.trial}"
    hidden = scene.seen_hand is None
    return Words(
        scene.caption,
        f"{scene.block} · {trial}" if scene.block and trial else scene.block or trial,
        scene.block,
        _outcome_of(scene),
        seen_differs,
        hidden,
        scene.show_error and scene.cup_present and not hidden,
        any(force is not None for force in (scene.field_n_s_per_m, scene.constant_force_n, scene.hand_force_n)),
        scene.activation is not None or scene.effort is not None,
    )


def _outcome_of(scene: Scene) -> str:
    if scene.success:
        return "success"
    if scene.cup_tipped and scene.cup_present:
        return "tipped over"
    return "out of time" if scene.time_s > TRIAL_S - 0.5 * INNER_STEP_S else ""


def write(canvas: Canvas, words: Words) -> None:
    """Write the labels, but for the time. A small picture keeps the signs alone: outcome, and the crossed-out eye."""
    margin = _margin(canvas)
    size, row = canvas.text_px, _row(canvas)
    if not canvas.wordy:
        if words.outcome:
            _outcome(canvas, words.outcome, margin)
        if words.hidden:
            _crossed_eye(canvas, (margin + 6.0, margin + 6.0), 6.0)
        canvas.lay()
        return
    taken = _badge(canvas, words)
    if words.outcome:
        outcome_top = margin + (1.35 * row if words.badge else 0.0)
        beside = _outcome(canvas, words.outcome, outcome_top)
        taken = taken if words.badge else beside
    y = margin + row
    if words.caption:
        room = int(canvas.width - 2 * margin - taken - (size if taken else 0))
        canvas.write(text(fitted(words.caption, size, room), size, palette.INK), margin, margin)
        y += row
    if canvas.roomy:
        _legend(canvas, words, y)
        _keys(canvas, words)
    elif words.hidden:
        _crossed_eye(canvas, (margin + 0.75 * size, y + 0.5 * size), 0.75 * size)
    _scale_bar(canvas)
    canvas.lay()


def head_px(canvas: Canvas) -> float:
    """Height of what always stands at the top of a picture with words: caption, time and badge, pixels."""
    return _margin(canvas) + 2.0 * _row(canvas)


def write_time(canvas: Canvas, time_s: float, *, below_caption: bool) -> None:
    """Write the time since the reach began."""
    top = _margin(canvas) + (_row(canvas) if below_caption else 0.0)
    canvas.write(text(f"{time_s:.2f} s", canvas.text_px, palette.FAINT_INK), _margin(canvas), top)


def text(line: str, size: int, colour: Colour) -> pygame.Surface:
    """One line of writing on a clear ground, in pygame's own font: the same on every machine."""
    return _written(" ".join(line.replace("\0", " ").split()), size, colour)


def fitted(line: str, size: int, room_px: int) -> str:
    """The line, or as much of its beginning as fits into `room_px` pixels, with an ellipsis."""
    return _fitted(line.replace("\0", " "), size, room_px)


@lru_cache(maxsize=8)
def _font(size: int) -> pygame.font.Font:
    if not pygame.font.get_init():
        pygame.font.init()
    return pygame.font.Font(None, round(1.3 * size))


def _living_font(size: int) -> pygame.font.Font:
    """`_font`, made anew where somebody's `pygame.quit()` has ended every font made before."""
    held = _font(size)
    try:
        held.get_height()
    except pygame.error:
        _font.cache_clear()
        held = _font(size)
    return held


@lru_cache(maxsize=512)
def _written(line: str, size: int, colour: Colour) -> pygame.Surface:
    return _living_font(size).render(line, True, colour)


@lru_cache(maxsize=128)
def _fitted(line: str, size: int, room_px: int) -> str:
    font = _living_font(size)
    if font.size(line)[0] <= room_px:
        return line
    kept = len(line)
    while kept and font.size(line[:kept].rstrip() + "…")[0] > room_px:
        kept -= 1
    return line[:kept].rstrip() + "…"


def _margin(canvas: Canvas) -> float:
    return 0.025 * canvas.side


def _row(canvas: Canvas) -> float:
    return 1.45 * canvas.text_px


def _plate(canvas: Canvas, left: float, right: float, middle: float) -> None:
    """A plate that keeps the arrows of a field away from the words."""
    canvas.line((left, middle), (right, middle), _row(canvas), palette.TABLE)


# --- upper left --------------------------------------------------------------------------------------------


def _legend(canvas: Canvas, words: Words, top: float) -> None:
    """What the marks of the eye mean, a row each."""
    size, row, left = canvas.text_px, _row(canvas), _margin(canvas)
    thick = 1.4 * canvas.rim_px
    indent = left + 2.9 * size
    for shown, said in (
        (words.seen_differs, "where the eye sees it"),
        (words.error, "error the eye sees"),
        (words.hidden, "hand hidden from the eye"),
    ):
        if not shown:
            continue
        written = text(said, size, palette.INK if said.startswith("hand") else palette.SEEN)
        middle = top + 0.5 * written.get_height()
        _plate(canvas, left, indent + written.get_width(), middle)
        if said.startswith("where"):
            canvas.ring((left + 0.6 * size, middle), 0.45 * size, palette.SEEN)
            canvas.dashes((left + 1.3 * size, middle), (left + 2.4 * size, middle), thick, palette.SEEN)
        elif said.startswith("error"):
            canvas.arrow((left, middle), (left + 2.4 * size, middle), 2.2 * canvas.rim_px, palette.SEEN)
        else:
            _crossed_eye(canvas, (left + 1.1 * size, middle), 0.75 * size)
        canvas.write(written, indent, top)
        top += row


def _crossed_eye(canvas: Canvas, middle: Pixel, half: float) -> None:
    """An eye, struck through: what it looks for is hidden."""
    x, y = middle
    for side in (1.0, -1.0):
        lid = [(x + half * along, y + side * 0.6 * half * (1.0 - along * along)) for along in LID]
        for start, end in pairwise(lid):
            canvas.line(start, end, max(0.8, canvas.rim_px), palette.INK)
    canvas.disc(middle, 0.28 * half, palette.INK)
    slash = (x - 0.85 * half, y + 0.85 * half), (x + 0.85 * half, y - 0.85 * half)
    canvas.line(*slash, 1.6 * canvas.rim_px, palette.FAILURE)


# --- upper right -------------------------------------------------------------------------------------------


def _badge(canvas: Canvas, words: Words) -> float:
    """Block and trial on a plate with the block's colour; answers the room it takes."""
    if not words.badge:
        return 0.0
    size, margin = canvas.text_px, _margin(canvas)
    written = text(fitted(words.badge, size, int(0.5 * canvas.width)), size, palette.INK)
    half = 0.72 * size
    y = margin + 0.5 * written.get_height()
    right = canvas.width - 1.0 - margin - half
    left = right - written.get_width() - 1.1 * size
    canvas.capsule((left, y), (right, y), (half, half), palette.WHITE, palette.FAINT_INK)
    canvas.disc((left + 0.1 * size, y), 0.38 * size, palette.block_colour(words.block), palette.INK)
    canvas.write(written, left + 0.9 * size, margin)
    return right - left + 2.0 * half


def _outcome(canvas: Canvas, outcome: str, top: float) -> float:
    """A tick for success, a cross for a cup that fell; answers the room it takes."""
    success = outcome == "success"
    margin = _margin(canvas)
    radius = 0.72 * canvas.text_px if canvas.wordy else 5.0
    written = text(outcome, canvas.text_px, palette.SUCCESS if success else palette.FAILURE)
    x = canvas.width - 1.0 - margin - radius
    y = top + (0.5 * written.get_height() if canvas.wordy else radius)
    if canvas.wordy:
        _plate(canvas, x - radius - written.get_width(), x, y)
    canvas.disc((x, y), radius, palette.SUCCESS if success else palette.FAILURE)
    strokes: tuple[list[Pixel], ...] = ([(-0.45, 0.05), (-0.12, 0.38), (0.5, -0.35)],)
    if not success:
        strokes = ([(-0.4, -0.4), (0.4, 0.4)], [(-0.4, 0.4), (0.4, -0.4)])
    thick = max(1.0, 0.22 * radius)
    for stroke in strokes:
        corners = [(x + radius * u, y + radius * v) for u, v in stroke]
        for start, end in pairwise(corners):
            canvas.line(start, end, thick, palette.WHITE)
    if not canvas.wordy:
        return 2.0 * radius
    left = x - radius - 0.5 * canvas.text_px - written.get_width()
    canvas.write(written, left, top)
    return canvas.width - margin - left


# --- lower right -------------------------------------------------------------------------------------------


def _scale_bar(canvas: Canvas) -> None:
    length, tick = SCALE_BAR_M * canvas.scale, 0.3 * canvas.text_px
    right, y = canvas.width - 1.0 - _margin(canvas), canvas.height - 1.0 - _margin(canvas)
    left = right - length
    for start, end in pairwise([(left, y - tick), (left, y), (right, y), (right, y - tick)]):
        canvas.line(start, end, 1.8 * canvas.rim_px, palette.INK)
    words = text("10 cm", canvas.text_px, palette.INK)
    canvas.write(words, 0.5 * (left + right - words.get_width()), y - tick - words.get_height())


def _keys(canvas: Canvas, words: Words) -> None:
    """What the colours of flexion and extension and the length of a force's arrow mean.

    Below trial and outcome in the upper right, where the arm never comes: the elbow would cover them farther down.
    """
    size, row = canvas.text_px, _row(canvas)
    right = canvas.width - 1.0 - _margin(canvas)
    top = _margin(canvas) + ROWS_ABOVE_KEYS * row
    if words.torques:
        for said, colour in (("flexion", palette.FLEXION), ("extension", palette.EXTENSION)):
            written = text(said, size, palette.INK)
            middle, left = top + 0.5 * written.get_height(), right - 1.3 * size - written.get_width()
            _plate(canvas, left, right, middle)
            canvas.disc((right - 0.4 * size, middle), 0.4 * size, colour, palette.SLEEVE_EDGE)
            canvas.write(written, left, top)
            top += row
    if words.forces:
        written = text(f"{KEY_FORCE_N:g} N", size, palette.INK)
        length = KEY_FORCE_N * METRES_PER_NEWTON * canvas.scale
        middle, left = top + 0.5 * written.get_height(), right - length - 0.6 * size - written.get_width()
        _plate(canvas, left, right, middle)
        canvas.arrow((right - length, middle), (right, middle), FORCE_RIMS * canvas.rim_px, palette.FORCE)
        canvas.write(written, left, top)
