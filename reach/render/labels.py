"""What is written into the picture: caption, time, legend, outcome and scale bar, each in its own corner."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from itertools import pairwise

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame
import pygame.font

from reach.render import palette
from reach.render.canvas import Canvas, Pixel, Pixels, dashes, disc, fill
from reach.render.palette import Colour

SCALE_BAR_M = 0.10


def write(
    canvas: Canvas,
    *,
    caption: str,
    time_s: float,
    seen_differs: bool,
    hidden: bool,
    success: bool,
    tipped: bool,
) -> None:
    """Write the labels. A picture too small for words keeps the signs: outcome, and the crossed-out eye."""
    margin = 0.025 * min(canvas.width, canvas.height)
    if success or tipped:
        _outcome(canvas, margin, success)
    if not canvas.wordy:
        if hidden:
            _crossed_eye(canvas, (margin + 6.0, margin + 6.0), 6.0)
        return
    size, row = canvas.text_px, 1.45 * canvas.text_px
    room = int(canvas.width - 2 * margin)
    y = margin
    if caption:
        said = text(fitted(caption, size, room - (9 * size if success or tipped else 0)), size, palette.INK)
        canvas.surface.blit(said, (margin, y))
        y += row
    canvas.surface.blit(text(f"{time_s:.2f} s", size, palette.FAINT_INK), (margin, y))
    sign = margin + 0.8 * size
    if seen_differs:
        y += row
        middle = y + 0.5 * text("seen", size, palette.SEEN).get_height()
        pygame.draw.aalines(canvas.surface, palette.SEEN, True, disc((sign, middle), 0.5 * size))
        dashes(canvas, (sign + 0.9 * size, middle), (sign + 2.2 * size, middle), palette.SEEN)
        canvas.surface.blit(text("where the eye sees it", size, palette.SEEN), (sign + 2.7 * size, y))
    if hidden:
        y += row
        words = text("hand hidden from the eye", size, palette.INK)
        _crossed_eye(canvas, (sign, y + 0.5 * words.get_height()), 0.75 * size)
        canvas.surface.blit(words, (sign + 1.3 * size, y))
    _scale_bar(canvas, margin)


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


def _crossed_eye(canvas: Canvas, middle: Pixel, half: float) -> None:
    """An eye, struck through: what it looks for is hidden."""
    x, y = middle
    lids: Pixels = []
    for side in (1.0, -1.0):
        for k in range(7):
            along = side * (k / 3.5 - 1.0)
            lids.append((x + half * along, y + side * 0.6 * half * (1.0 - along * along)))
    fill(canvas, lids, palette.WHITE, palette.INK)
    fill(canvas, disc(middle, 0.28 * half), palette.INK, palette.INK)
    thick = 2 if canvas.wordy else 1
    slash = (x - 0.85 * half, y + 0.85 * half), (x + 0.85 * half, y - 0.85 * half)
    pygame.draw.aaline(canvas.surface, palette.FAILURE, *slash, thick)


def _outcome(canvas: Canvas, margin: float, success: bool) -> None:
    """A tick for success, a cross for a cup that fell, in the upper right corner."""
    radius = max(5.0, 0.95 * canvas.text_px) if canvas.wordy else 5.0
    x, y = canvas.width - margin - radius - 1.0, margin + radius
    colour = palette.SUCCESS if success else palette.FAILURE
    fill(canvas, disc((x, y), radius), colour, colour)
    strokes: tuple[Pixels, ...] = ([(-0.45, 0.05), (-0.12, 0.38), (0.5, -0.35)],)
    if not success:
        strokes = ([(-0.4, -0.4), (0.4, 0.4)], [(-0.4, 0.4), (0.4, -0.4)])
    thick = max(1, math.ceil(0.16 * radius))
    for stroke in strokes:
        corners = [(x + radius * u, y + radius * v) for u, v in stroke]
        for start, end in pairwise(corners):
            pygame.draw.aaline(canvas.surface, palette.WHITE, start, end, thick)
    if canvas.wordy:
        words = text("success" if success else "tipped over", canvas.text_px, colour)
        left = x - radius - 0.5 * canvas.text_px - words.get_width()
        canvas.surface.blit(words, (left, y - 0.5 * words.get_height()))


def _scale_bar(canvas: Canvas, margin: float) -> None:
    length, tick = SCALE_BAR_M * canvas.scale, 0.3 * canvas.text_px
    right, y = canvas.width - margin, canvas.height - margin
    left = right - length
    corners = [(left, y - tick), (left, y), (right, y), (right, y - tick)]
    pygame.draw.lines(canvas.surface, palette.INK, False, corners, 2)
    words = text("10 cm", canvas.text_px, palette.INK)
    canvas.surface.blit(words, (0.5 * (left + right - words.get_width()), y - tick - words.get_height()))
