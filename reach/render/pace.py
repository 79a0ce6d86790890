"""Frames at an even pace: one that took long shortens the wait for the next, and one that is late hurries nobody."""

from __future__ import annotations

import time
from collections.abc import Callable


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
        # What is later than a frame is not made up for.
        self._due_s = max(due, now - self._frame_s) + self._frame_s
        if self._due_s > now:
            self._sleep(self._due_s - now)
