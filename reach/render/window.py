"""Show frames in a window of one's own, at an even frame rate, and read its keys and pointer.

`pygame.Window` rather than `pygame.display.set_mode`: the latter knows one window only, and closing it would close
every window. `pygame.init` and `pygame.quit` are never called: the program may use pygame itself.
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

# What a frame is late by more than so many frames is not made up for: a rush would be worse.
MADE_UP_FRAMES = 3.0


class Pace:
    """Waits until each frame's time is over.

    `pygame.time.Clock.tick` counts whole milliseconds, of which 60 frames a second have no whole number.
    """

    def __init__(
        self,
        frames_per_second: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with the first `wait`.

        Args:
            frames_per_second: above 0.
            clock: tells the time, s.
            sleep: waits, s.
        """
        self._frame_s = 1.0 / frames_per_second
        self._clock = clock
        self._sleep = sleep
        self._due_s: float | None = None

    def wait(self) -> None:
        """Wait for the end of the frame that is shown."""
        now = self._clock()
        due = now if self._due_s is None else self._due_s
        self._due_s = max(due, now - MADE_UP_FRAMES * self._frame_s) + self._frame_s
        if self._due_s > now:
            self._sleep(self._due_s - now)


# --- window ---------------------------------------------------------------------------------------------------


logger = logging.getLogger("reach")

# What SDL takes, without a word, when there is no screen.
BLIND_DRIVERS = ("dummy", "offscreen")
ARROWS = ("left", "right", "up", "down")

# Every open window. Events come in one queue for all of them, so whoever empties it tells the others.
_open: weakref.WeakSet[Window] = weakref.WeakSet()


class Window:
    """A window that shows frames.

    Args:
        width, height: of the window, pixels.
        fps: frames a second in real time.
        title: of the window.

    Raises:
        ValueError: a size or a rate below 1.
        RuntimeError: no window can be opened here.

    Where SDL finds no screen, so that nobody will see the window, it says so in the log `reach`.
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
                f"no window could be opened ({error}); without a screen use render_mode='rgb_array'"
            ) from error
        driver = pygame.display.get_driver()
        # Whether there is a screen on which somebody can see it.
        self.is_seen = driver not in BLIND_DRIVERS
        if not self.is_seen:
            logger.warning(
                "SDL draws with its %r driver: there is no screen, and nobody will see this window; "
                "use render_mode='rgb_array' for pictures",
                driver,
            )
        self._size = (width, height)
        self._pace = Pace(fps)
        self._keys: list[str] = []
        _open.add(self)

    @property
    def is_open(self) -> bool:
        """The window has not been closed."""
        return self._window is not None

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Show a frame, wait until its time is over, and answer whether the window is still open.

        Args:
            frame: (height, width, 3) uint8 of the window's size.

        Raises:
            ValueError: a frame of another shape or type.
        """
        width, height = self._size
        picture = np.ascontiguousarray(frame)
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise ValueError(
                f"frame has shape {picture.shape} and type {picture.dtype}; ({height}, {width}, 3) uint8 is allowed"
            )
        if pygame.display.get_init():
            _hear_events()
        else:
            # Somebody's pygame.quit() has closed every window.
            _open.discard(self)
            self._window = None
        if self._window is None:
            return False
        shown = pygame.image.frombuffer(picture.data, self._size, "RGB")
        surface = self._window.get_surface()
        if surface.get_size() != self._size:  # the desktop gave the window another size
            shown = pygame.transform.smoothscale(shown, surface.get_size())
        surface.blit(shown, (0, 0))
        self._window.flip()
        self._pace.wait()
        return True

    def take_pointer(self, pixel: tuple[float, float]) -> None:
        """Put the pointer on a pixel of the picture, and hide it over this window."""
        pygame.mouse.set_visible(False)
        self.put_pointer(pixel)

    def put_pointer(self, pixel: tuple[float, float]) -> None:
        """Put the pointer on a pixel of the picture."""
        pygame.mouse.set_pos([round(value * by) for value, by in zip(pixel, self._stretch(), strict=True)])

    @property
    def pointer(self) -> tuple[float, float]:
        """The pixel of the picture that the pointer is on."""
        x, y = (value / by for value, by in zip(pygame.mouse.get_pos(), self._stretch(), strict=True))
        return x, y

    @property
    def is_held(self) -> bool:
        """Whether the first button of the mouse is held."""
        return bool(pygame.mouse.get_pressed()[0])

    def take_keys(self) -> list[str]:
        """Names of the keys that were struck in this window since the last call, such as "space", "right" or "p"."""
        keys, self._keys = self._keys, []
        return keys

    def pressed(self) -> set[str]:
        """Which of the arrow keys are held: "left", "right", "up", "down"."""
        keys = pygame.key.get_pressed()
        return {name for name in ARROWS if keys[getattr(pygame, f"K_{name.upper()}")]}

    def _stretch(self) -> tuple[float, float]:
        """By how much the window is larger than the picture."""
        if self._window is None:
            return 1.0, 1.0
        width, height = self._window.get_surface().get_size()
        return width / self._size[0], height / self._size[1]

    def owns(self, event: pygame.Event) -> bool:
        """The event happened to this window."""
        return self._window is not None and getattr(event, "window", None) is self._window

    def close(self) -> None:
        """Close this window, and no other. A second call does nothing."""
        _open.discard(self)
        if self._window is not None:
            self._window.destroy()
            self._window = None


def _hear_events() -> None:
    """Empty the queue of events, and close the windows whose person asked for it."""
    for event in pygame.event.get():
        if event.type == pygame.QUIT:
            for window in list(_open):
                window.close()
        elif event.type == pygame.KEYDOWN:
            known = any(window.owns(event) for window in _open)
            for window in list(_open):
                if window.owns(event) or not known:
                    window._keys.append(pygame.key.name(event.key))
        elif event.type == pygame.WINDOWCLOSE:
            for window in list(_open):
                if window.owns(event):
                    window.close()
