"""Frames at an even pace: one that took long shortens the wait for the next ones, as long as that is no rush."""

from __future__ import annotations

import time
from collections.abc import Callable

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
