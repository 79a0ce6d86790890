"""Show frames in a window at a constant frame rate, and read its keys and pointer.

`pygame.Window` is used instead of `pygame.display.set_mode`, which supports a single window only and whose closing
would close every window. `pygame.init` and `pygame.quit` are never called, because the program may use pygame itself.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable

import numpy as np
import pygame
from numpy.typing import NDArray

from reach.arguments import require_whole

# Largest delay, in frames, that is caught up; catching up a longer delay would make the picture rush.
MAX_CATCH_UP_FRAMES = 3.0


class FramePacer:
    """Wait for the end of each frame; after a slow frame the next waits are shorter.

    `pygame.time.Clock.tick` cannot do this, because it counts whole milliseconds: 1/60 s, for example, is not one.
    """

    def __init__(
        self,
        frames_per_second: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Set the frame rate.

        Args:
            frames_per_second: frame rate, above 0.
            clock: function that returns the time, s.
            sleep: function that waits for a time, s.
        """
        self._frame_s = 1.0 / frames_per_second
        self._clock = clock
        self._sleep = sleep
        self._due_s: float | None = None

    def wait(self) -> None:
        """Wait for the end of the current frame."""
        now = self._clock()
        due = now if self._due_s is None else self._due_s
        self._due_s = max(due, now - MAX_CATCH_UP_FRAMES * self._frame_s) + self._frame_s
        if self._due_s > now:
            self._sleep(self._due_s - now)


# --- window ---------------------------------------------------------------------------------------------------


logger = logging.getLogger("reach")

# Drivers that SDL chooses without an error if there is no screen.
HEADLESS_DRIVERS = ("dummy", "offscreen")
ARROWS = ("left", "right", "up", "down")

# All open windows. They share one event queue, so the window that empties it passes the events on.
_open: weakref.WeakSet[Window] = weakref.WeakSet()


class Window:
    """A window that shows frames.

    If SDL finds no screen, a warning is logged to the logger `reach`, and `is_visible` is False.

    Args:
        width, height: size, pixels.
        fps: frames per second.
        title: title of the window.

    Raises:
        ValueError: a size or the rate is below 1.
        RuntimeError: no window can be opened.
    """

    def __init__(self, width: int, height: int, fps: int, title: str = "reach") -> None:
        for name, value in (("width", width), ("height", height), ("fps", fps)):
            require_whole(f"Window {name}", value, 1)
        try:
            if not pygame.display.get_init():
                pygame.display.init()
            self._window: pygame.Window | None = pygame.Window(title, (width, height))
        except pygame.error as error:
            raise RuntimeError(
                f"expected a screen for the window, got {error}; without a screen use render_mode='rgb_array'"
            ) from error
        driver = pygame.display.get_driver()
        self.is_visible = driver not in HEADLESS_DRIVERS
        if not self.is_visible:
            logger.warning(
                "SDL uses its %r driver, so this window is not visible; use render_mode='rgb_array' for pictures",
                driver,
            )
        self._size = (width, height)
        self._pace = FramePacer(fps)
        self._keys: list[str] = []
        _open.add(self)

    @property
    def is_open(self) -> bool:
        """Return whether the window is still open."""
        return self._window is not None

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Show a frame, wait for its end, and return whether the window is still open.

        Args:
            frame: (height, width, 3) uint8 of the window's size.

        Raises:
            ValueError: the frame has another shape or type.
        """
        width, height = self._size
        picture = np.ascontiguousarray(frame)
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"frame: expected shape ({height}, {width}, 3) and type uint8, got {picture.shape} {picture.dtype}"
            )
        if pygame.display.get_init():
            _process_events()
        else:
            # The program has called pygame.quit(), which closes every window.
            _open.discard(self)
            self._window = None
        if self._window is None:
            return False
        image = pygame.image.frombuffer(picture.data, self._size, "RGB")
        surface = self._window.get_surface()
        if surface.get_size() != self._size:  # the desktop gave the window another size
            image = pygame.transform.smoothscale(image, surface.get_size())
        surface.blit(image, (0, 0))
        self._window.flip()
        self._pace.wait()
        return True

    def capture_pointer(self, pixel: tuple[float, float]) -> None:
        """Hide the mouse pointer and move it to a pixel of the picture."""
        pygame.mouse.set_visible(False)
        self.move_pointer(pixel)

    def move_pointer(self, pixel: tuple[float, float]) -> None:
        """Move the mouse pointer to a pixel of the picture."""
        pygame.mouse.set_pos([round(value * by) for value, by in zip(pixel, self._window_scale(), strict=True)])

    @property
    def pointer(self) -> tuple[float, float]:
        """Return the pixel of the picture under the mouse pointer."""
        x, y = (value / by for value, by in zip(pygame.mouse.get_pos(), self._window_scale(), strict=True))
        return x, y

    @property
    def is_button_down(self) -> bool:
        """Return whether the first mouse button is held down."""
        return bool(pygame.mouse.get_pressed()[0])

    def read_keys(self) -> list[str]:
        """Return the names of the keys pressed in this window since the last call, such as "space" or "p"."""
        keys, self._keys = self._keys, []
        return keys

    def held_arrows(self) -> set[str]:
        """Return the arrow keys that are held down: "left", "right", "up", "down"."""
        keys = pygame.key.get_pressed()
        return {name for name in ARROWS if keys[getattr(pygame, f"K_{name.upper()}")]}

    def _window_scale(self) -> tuple[float, float]:
        """Return the size of the window as a multiple of the picture's size."""
        if self._window is None:
            return 1.0, 1.0
        width, height = self._window.get_surface().get_size()
        return width / self._size[0], height / self._size[1]

    def owns(self, event: pygame.Event) -> bool:
        """Return whether an event belongs to this window."""
        return self._window is not None and getattr(event, "window", None) is self._window

    def close(self) -> None:
        """Close this window only; do nothing if it is closed."""
        _open.discard(self)
        if self._window is not None:
            self._window.destroy()
            self._window = None


def _process_events() -> None:
    """Empty the event queue: store pressed keys, and close windows that the user closes."""
    for event in pygame.event.get():
        if event.type == pygame.QUIT:
            for window in list(_open):
                window.close()
        elif event.type == pygame.KEYDOWN:
            has_owner = any(window.owns(event) for window in _open)
            for window in list(_open):
                if window.owns(event) or not has_owner:
                    window._keys.append(pygame.key.name(event.key))
        elif event.type == pygame.WINDOWCLOSE:
            for window in list(_open):
                if window.owns(event):
                    window.close()
