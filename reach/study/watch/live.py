"""Watching in a window, in real time: keys, the mouse, and a clock that skips pictures rather than slow the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reach.render.canvas import Canvas
from reach.render.film import Recorder, write_png
from reach.render.panels import table_at
from reach.sim.layout import CONTROL_STEP_S
from reach.study.watch.session import FASTEST, SLOWEST, Watching, require_speed, speed_said
from reach.study.watch.stepper import ADDED_FIELD, ADDED_PRISM

Frame = NDArray[np.uint8]

FILM_FPS = 50
# Where the computer cannot keep up at all, a picture is shown at least this often, s.
LONGEST_BETWEEN_PICTURES_S = 0.1
# The pointer takes hold of a cup within this many of its radii.
GRASP_RADII = 1.6


class Screen(Protocol):
    """What is needed of a window."""

    @property
    def is_open(self) -> bool: ...

    @property
    def pointer(self) -> tuple[float, float]: ...

    @property
    def is_held(self) -> bool: ...

    def take_keys(self) -> list[str]: ...

    def show(self, frame: Frame) -> bool: ...


class Live:
    """A watching in a window.

    Attributes:
        speed: 1/8 to 32; 1 is real time.
        paused: the world stands still.
        shown: pictures shown so far; `steps` control steps gone.
    """

    def __init__(
        self,
        watching: Watching,
        window: Screen,
        saves: Path,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Make ready.

        Args:
            watching: not yet begun.
            window: of its size.
            saves: folder for pictures and films that the watcher asks for.
            speed: to begin with.
            clock: tells the time, s.

        Raises:
            ValueError: a speed outside 1/8 to 32.
        """
        require_speed(speed)
        self.watching = watching
        self.window = window
        self.saves = saves
        self.speed = speed
        self.paused = False
        self.shown = self.steps = 0
        self._clock = clock
        self._is_over = False
        self._is_left = False
        self._grasped = False
        self._recorder: Recorder | None = None
        self._recorded_from = 0.0
        self._frame: Frame | None = None

    def run(self) -> bool:
        """Watch until all is over or the window is closed; False when it was left before its end."""
        due, before = 1.0, self._clock()
        try:
            while not self._is_over and not self._is_left and self.window.is_open:
                now = self._clock()
                if not self.paused:
                    due += (now - before) * self.speed / CONTROL_STEP_S
                before = now
                due = self._go_on(due, now + LONGEST_BETWEEN_PICTURES_S)
                self._drag()
                self._frame = self.watching.frame(self._status())
                self.shown += 1
                self._record(now)
                if not self.window.show(self._frame):
                    break
                for key in self.window.take_keys():
                    self.strike(key)
        finally:
            self.watching.leave()
            self._finish_film()
        return self._is_over

    def _go_on(self, due: float, until: float) -> float:
        """Take the control steps that are due; what cannot be done in time is left out."""
        while due >= 1.0 and not self._is_over:
            self._is_over = not self._step()
            due -= 1.0
            if self._clock() > until:
                return min(due, 1.0)
        return due

    def _step(self) -> bool:
        self.steps += 1
        going = self.watching.step()
        # What comes before the first watched trial passes at once.
        while going and self.watching.first.stage == "before":
            going = self.watching.step()
        return going

    def strike(self, key: str) -> None:
        """Do what a key asks for; others are passed over."""
        asked = _KEYS.get(key)
        if asked is not None:
            self.watching.notice = ""
            asked(self)

    def toggle_pause(self) -> None:
        self.paused = not self.paused

    def step_once(self) -> None:
        """Pause, and take one control step."""
        self.paused = True
        self._is_over = not self._step()

    def change_speed(self, factor: float) -> None:
        self.speed = min(FASTEST, max(SLOWEST, self.speed * factor))

    def toggle_prism(self) -> None:
        on = any(isinstance(one, type(ADDED_PRISM)) for one in self.watching.first.acting)
        self.watching.set_wish(prism=not on)

    def toggle_field(self) -> None:
        kinds = ("curl-field", "velocity-field", ADDED_FIELD.kind)
        on = any(one.kind in kinds for one in self.watching.first.acting)
        self.watching.set_wish(field=not on)

    def toggle_learning(self) -> None:
        self.watching.set_learning(not self.watching.first.learning)

    def skip(self) -> None:
        self.watching.skip()

    def save_picture(self) -> None:
        if self._frame is not None:
            path = write_png(self._free_name(".png"), self._frame)
            self.watching.notice = f"saved {path}"

    def toggle_film(self) -> None:
        if self._recorder is not None:
            self._finish_film()
            return
        self._recorder, self._recorded_from = Recorder(self._free_name(".mp4"), FILM_FPS), self._clock()

    def toggle_help(self) -> None:
        self.watching.help_shown = not self.watching.help_shown

    def leave(self) -> None:
        self._is_left = True

    def _status(self) -> str:
        said = speed_said(self.speed)
        parts = ("paused" if self.paused else "", said, "recording" if self._recorder is not None else "")
        return " · ".join(part for part in parts if part) or "H: keys"

    def _record(self, now: float) -> None:
        """Add the present picture as often as keeps the film in time with the clock."""
        if self._recorder is None or self._frame is None:
            return
        due = math.floor((now - self._recorded_from) * FILM_FPS) + 1
        for _ in range(self._recorder.frames, due):
            self._recorder.add(self._frame)

    def _finish_film(self) -> None:
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        if recorder.frames == 0 and self._frame is not None:
            recorder.add(self._frame)
        self.watching.notice = f"saved {recorder.finish()}"

    def _free_name(self, suffix: str) -> Path:
        self.saves.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := self.saves / f"watch-{number:03d}{suffix}").exists():
            number += 1
        return path

    def _drag(self) -> None:
        """Move the cup with the pointer while the button is held that was pressed upon it."""
        found = table_at(self.watching.layout, *self.window.pointer) if self.window.is_held else None
        if found is None or self.watching.first.stage != "step":
            self._grasped = False
            return
        number, (left, top, width, height) = found
        if number >= len(self.watching.courses):
            return
        x, y = self.window.pointer
        place = Canvas(np.empty((height, width, 3), dtype=np.uint8)).place((x - left, y - top))
        scene: Any = self.watching.courses[number].scene()
        if not self._grasped:
            self._grasped = math.dist(place, scene.cup.tolist()) < GRASP_RADII * scene.cup_radius
        if self._grasped:
            self.watching.move_cup(place)


_KEYS: dict[str, Callable[[Live], None]] = {
    "space": Live.toggle_pause,
    "right": Live.step_once,
    "up": lambda live: live.change_speed(2.0),
    "down": lambda live: live.change_speed(0.5),
    "p": Live.toggle_prism,
    "f": Live.toggle_field,
    "l": Live.toggle_learning,
    "r": Live.skip,
    "s": Live.save_picture,
    "v": Live.toggle_film,
    "h": Live.toggle_help,
    "q": Live.leave,
    "escape": Live.leave,
}
