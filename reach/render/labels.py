"""Draw the labels of a picture, each in its corner: caption, time, legend, trial, outcome, scale bar and keys."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import pygame
import pygame.font

from reach.render import palette
from reach.render.canvas import FORCE_RIMS, Canvas, Pixel
from reach.render.palette import Colour
from reach.scene import Scene
from reach.sim.layout import INNER_STEP_S, TRIAL_S
from reach.sim.retina import ROW_HALF_M, ROW_Y_M

SCALE_BAR_M = 0.10
KEY_FORCE_N = 5.0
# Height of trial and outcome, in rows of text.
ROWS_ABOVE_KEYS = 2.9
# Positions of the points of an eyelid, from corner to corner, -1..1.
LID = tuple(k / 3.0 - 1.0 for k in range(7))
# Length of an arrow per force, for every force in the picture, m/N.
METRES_PER_NEWTON = 0.01


class LabelContent(NamedTuple):
    """The content of the labels, except the time."""

    caption: str
    badge: str
    block: str
    outcome: str
    seen_differs: bool
    hidden: bool
    error: bool
    forces: bool
    torques: bool
    lamps: bool


def label_content(scene: Scene, *, seen_differs: bool) -> LabelContent:
    """Return the content of the labels of a scene."""
    trial = "" if scene.trial is None else f"trial {scene.trial}"
    hidden = scene.seen_hand is None
    forces = scene.field_n_s_per_m, scene.position_field_n_per_m, scene.constant_force_n, scene.hand_force_n
    return LabelContent(
        scene.caption,
        f"{scene.block} · {trial}" if scene.block and trial else scene.block or trial,
        scene.block,
        _outcome_of(scene),
        seen_differs,
        hidden,
        scene.show_error and scene.cup_present and not hidden,
        any(force is not None for force in forces),
        scene.activation is not None or scene.effort is not None,
        scene.lamps is not None,
    )


def _outcome_of(scene: Scene) -> str:
    if scene.success:
        return "success"
    if scene.cup_tipped and scene.cup_present:
        return "tipped over"
    return "out of time" if scene.time_s > TRIAL_S - 0.5 * INNER_STEP_S else ""


def draw_labels(canvas: Canvas, content: LabelContent) -> None:
    """Draw the labels, except the time. A small picture has only symbols: the outcome and a crossed-out eye."""
    margin = _margin(canvas)
    size, row = canvas.text_px, _row(canvas)
    if not canvas.has_labels:
        if content.outcome:
            _outcome(canvas, content.outcome, margin)
        if content.hidden:
            _crossed_eye(canvas, (margin + 6.0, margin + 6.0), 6.0)
        canvas.flush()
        return
    taken = _badge(canvas, content)
    if content.outcome:
        outcome_top = margin + (1.35 * row if content.badge else 0.0)
        outcome_px = _outcome(canvas, content.outcome, outcome_top)
        taken = taken if content.badge else outcome_px
    y = margin + row
    if content.caption:
        available_px = int(canvas.width - 2 * margin - taken - (size if taken else 0))
        canvas.write(render_text(fit_text(content.caption, size, available_px), size, palette.INK), margin, margin)
        y += row
    if canvas.has_legend:
        # A row of lamps lies between the header and the legend.
        below = canvas.pixel((0.0, ROW_Y_M - ROW_HALF_M))[1] + 0.3 * row if content.lamps else 0.0
        _legend(canvas, content, max(y, below))
        _keys(canvas, content, max(margin + ROWS_ABOVE_KEYS * row, below))
    elif content.hidden:
        _crossed_eye(canvas, (margin + 0.75 * size, y + 0.5 * size), 0.75 * size)
    _scale_bar(canvas)
    canvas.flush()


def header_px(canvas: Canvas) -> float:
    """Return the height, pixels, of caption, time and badge at the top of a picture with labels."""
    return _margin(canvas) + 2.0 * _row(canvas)


def draw_time(canvas: Canvas, time_s: float, *, below_caption: bool) -> None:
    """Draw the time since the reach began."""
    top = _margin(canvas) + (_row(canvas) if below_caption else 0.0)
    canvas.write(render_text(f"{time_s:.2f} s", canvas.text_px, palette.FAINT_INK), _margin(canvas), top)


@lru_cache(maxsize=512)
def render_text(line: str, size: int, colour: Colour) -> pygame.Surface:
    """Return a line of text on a transparent background, in pygame's own font, which is the same on every machine."""
    return _usable_font(size).render(" ".join(line.replace("\0", " ").split()), True, colour)


@lru_cache(maxsize=128)
def fit_text(line: str, size: int, available_px: int) -> str:
    """Return the line, shortened with an ellipsis if it is wider than `available_px` pixels."""
    line, font = line.replace("\0", " "), _usable_font(size)
    if font.size(line)[0] <= available_px:
        return line
    letters = len(line)
    while letters and font.size(line[:letters].rstrip() + "…")[0] > available_px:
        letters -= 1
    return line[:letters].rstrip() + "…"


@lru_cache(maxsize=8)
def _font(size: int) -> pygame.font.Font:
    if not pygame.font.get_init():
        pygame.font.init()
    return pygame.font.Font(None, round(1.3 * size))


def _usable_font(size: int) -> pygame.font.Font:
    """Return `_font`; create it again if the program has called `pygame.quit()`, which invalidates all fonts."""
    try:
        _font(size).get_height()
    except pygame.error:
        _font.cache_clear()
    return _font(size)


def _margin(canvas: Canvas) -> float:
    return 0.025 * canvas.side


def _row(canvas: Canvas) -> float:
    return 1.45 * canvas.text_px


def _plate(canvas: Canvas, left: float, right: float, middle: float) -> None:
    """Draw a plate behind text, so that the arrows of a field do not cross it."""
    canvas.line((left, middle), (right, middle), _row(canvas), palette.TABLE)


# --- upper left --------------------------------------------------------------------------------------------


def _legend(canvas: Canvas, content: LabelContent, top: float) -> None:
    """Draw the meaning of each mark for what the eye sees, one row per mark."""
    size, row, left = canvas.text_px, _row(canvas), _margin(canvas)
    thick = 1.4 * canvas.rim_px
    indent = left + 2.9 * size
    for shown, line in (
        (content.seen_differs, "where the eye sees it"),
        (content.error, "error the eye sees"),
        (content.hidden, "hand hidden from the eye"),
    ):
        if not shown:
            continue
        text = render_text(line, size, palette.INK if line.startswith("hand") else palette.SEEN)
        middle = top + 0.5 * text.get_height()
        _plate(canvas, left, indent + text.get_width(), middle)
        if line.startswith("where"):
            canvas.ring((left + 0.6 * size, middle), 0.45 * size, palette.SEEN)
            canvas.dashes((left + 1.3 * size, middle), (left + 2.4 * size, middle), thick, palette.SEEN)
        elif line.startswith("error"):
            canvas.arrow((left, middle), (left + 2.4 * size, middle), 2.2 * canvas.rim_px, palette.SEEN)
        else:
            _crossed_eye(canvas, (left + 1.1 * size, middle), 0.75 * size)
        canvas.write(text, indent, top)
        top += row


def _crossed_eye(canvas: Canvas, middle: Pixel, half: float) -> None:
    """Draw a crossed-out eye: the hand is hidden."""
    x, y = middle
    for side in (1.0, -1.0):
        lid = [(x + half * along, y + side * 0.6 * half * (1.0 - along * along)) for along in LID]
        for start, end in pairwise(lid):
            canvas.line(start, end, max(0.8, canvas.rim_px), palette.INK)
    canvas.disc(middle, 0.28 * half, palette.INK)
    slash = (x - 0.85 * half, y + 0.85 * half), (x + 0.85 * half, y - 0.85 * half)
    canvas.line(*slash, 1.6 * canvas.rim_px, palette.FAILURE)


# --- upper right -------------------------------------------------------------------------------------------


def _badge(canvas: Canvas, content: LabelContent) -> float:
    """Draw block and trial on a plate with the block's colour; return the plate's width, pixels."""
    if not content.badge:
        return 0.0
    size, margin = canvas.text_px, _margin(canvas)
    text = render_text(fit_text(content.badge, size, int(0.5 * canvas.width)), size, palette.INK)
    half = 0.72 * size
    y = margin + 0.5 * text.get_height()
    right = canvas.width - 1.0 - margin - half
    left = right - text.get_width() - 1.1 * size
    canvas.capsule((left, y), (right, y), (half, half), palette.WHITE, palette.FAINT_INK)
    canvas.disc((left + 0.1 * size, y), 0.38 * size, palette.block_colour(content.block), palette.INK)
    canvas.write(text, left + 0.9 * size, margin)
    return right - left + 2.0 * half


def _outcome(canvas: Canvas, outcome: str, top: float) -> float:
    """Draw a tick for success, a cross for failure; return the mark's width, pixels."""
    success = outcome == "success"
    margin = _margin(canvas)
    radius = 0.72 * canvas.text_px if canvas.has_labels else 5.0
    text = render_text(outcome, canvas.text_px, palette.SUCCESS if success else palette.FAILURE)
    x = canvas.width - 1.0 - margin - radius
    y = top + (0.5 * text.get_height() if canvas.has_labels else radius)
    if canvas.has_labels:
        _plate(canvas, x - radius - text.get_width(), x, y)
    canvas.disc((x, y), radius, palette.SUCCESS if success else palette.FAILURE)
    strokes: tuple[list[Pixel], ...] = ([(-0.45, 0.05), (-0.12, 0.38), (0.5, -0.35)],)
    if not success:
        strokes = ([(-0.4, -0.4), (0.4, 0.4)], [(-0.4, 0.4), (0.4, -0.4)])
    thick = max(1.0, 0.22 * radius)
    for stroke in strokes:
        corners = [(x + radius * u, y + radius * v) for u, v in stroke]
        for start, end in pairwise(corners):
            canvas.line(start, end, thick, palette.WHITE)
    if not canvas.has_labels:
        return 2.0 * radius
    left = x - radius - 0.5 * canvas.text_px - text.get_width()
    canvas.write(text, left, top)
    return canvas.width - margin - left


# --- lower right -------------------------------------------------------------------------------------------


def _scale_bar(canvas: Canvas) -> None:
    length, tick = SCALE_BAR_M * canvas.scale, 0.3 * canvas.text_px
    right, y = canvas.width - 1.0 - _margin(canvas), canvas.height - 1.0 - _margin(canvas)
    left = right - length
    for start, end in pairwise([(left, y - tick), (left, y), (right, y), (right, y - tick)]):
        canvas.line(start, end, 1.8 * canvas.rim_px, palette.INK)
    text = render_text("10 cm", canvas.text_px, palette.INK)
    canvas.write(text, 0.5 * (left + right - text.get_width()), y - tick - text.get_height())


def _keys(canvas: Canvas, content: LabelContent, top: float) -> None:
    """Draw the meaning of the colours of flexion and extension and of the length of a force's arrow.

    The keys are below trial and outcome in the upper right, which the arm never covers.
    """
    size, row = canvas.text_px, _row(canvas)
    right = canvas.width - 1.0 - _margin(canvas)
    if content.torques:
        for line, colour in (("flexion", palette.FLEXION), ("extension", palette.EXTENSION)):
            text = render_text(line, size, palette.INK)
            middle, left = top + 0.5 * text.get_height(), right - 1.3 * size - text.get_width()
            _plate(canvas, left, right, middle)
            canvas.disc((right - 0.4 * size, middle), 0.4 * size, colour, palette.SLEEVE_EDGE)
            canvas.write(text, left, top)
            top += row
    if content.forces:
        text = render_text(f"{KEY_FORCE_N:g} N", size, palette.INK)
        length = KEY_FORCE_N * METRES_PER_NEWTON * canvas.scale
        middle, left = top + 0.5 * text.get_height(), right - length - 0.6 * size - text.get_width()
        _plate(canvas, left, right, middle)
        canvas.arrow((right - length, middle), (right, middle), FORCE_RIMS * canvas.rim_px, palette.FORCE)
        canvas.write(text, left, top)
