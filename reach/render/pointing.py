"""The place on the table that a person points at in a window, with a mouse, a trackpad or the arrow keys."""

from __future__ import annotations

import numpy as np

from reach.render.canvas import Canvas, Pixel
from reach.render.seen import Place
from reach.render.window import Window
from reach.sim.layout import CONTROL_STEP_S

# How fast the arrow keys move what is pointed at.
KEYS_M_S = 0.5
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, 1.0), "down": (0.0, -1.0)}


class WindowPointer:
    """Follows the pointer of a window, which is hidden there; arrow keys move on from where it was."""

    def __init__(self, window: Window, width: int, height: int, at: Place) -> None:
        """Begin at a place (x, y) m, in a window whose pictures have this width and height."""
        self._window = window
        self._canvas = Canvas(np.zeros((height, width, 3), dtype=np.uint8))
        window.take_pointer(self._canvas.at(at))
        self._last: Pixel | None = None
        self._place = at

    def place(self) -> Place:
        """(x, y) m on the table; asked for once a control step."""
        pixel = self._window.pointer
        if self._last is not None and pixel != self._last:
            self._place = self._canvas.place(pixel)
        self._last = pixel
        for name in self._window.pressed():
            right, forward = DIRECTIONS[name]
            step = KEYS_M_S * CONTROL_STEP_S
            self._place = self._place[0] + step * right, self._place[1] + step * forward
        return self._place
