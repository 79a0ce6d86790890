"""Show a `WatchSession` in a window in real time, with keys and mouse; frames are dropped if drawing is slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from reach.render.canvas import Canvas, Frame
from reach.render.film import FilmRecorder, write_png
from reach.render.panels import table_at
from reach.render.window import Window
from reach.sim.layout import CONTROL_STEP_S
from reach.study.watch.session import FASTEST, SLOWEST, WatchSession, require_speed, speed_text

FILM_FPS = 50
# Longest time between two frames, even if the computer cannot keep up with real time.
LONGEST_BETWEEN_FRAMES_S = 0.1
# Distance from the cup, in radii of the cup, within which the pointer grasps it.
GRASP_RADII = 1.6


class LiveSession:
    """A session in a window.

    Attributes:
        speed: speed, 1/8 to 32; 1 is real time.
        paused: whether the session is paused.
        shown: number of frames shown so far.
        steps: number of control steps so far.
    """

    def __init__(
        self,
        session: WatchSession,
        window: Window,
        save_folder: Path,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Prepare the window.

        Args:
            session: a session that has not begun.
            window: window of the session's size.
            save_folder: folder for pictures and films saved by keys.
            speed: initial speed.
            clock: function that returns the time, s.

        Raises:
            ValueError: the speed is outside 1/8 to 32.
        """
        require_speed(speed)
        self.session = session
        self.window = window
        self.save_folder = save_folder
        self.speed = speed
        self.paused = False
        self.shown = self.steps = 0
        self._clock = clock
        self._is_over = False
        self._is_left = False
        self._is_dragging = False
        self._recorder: FilmRecorder | None = None
        self._recording_since = 0.0
        self._frame: Frame | None = None

    def run(self) -> bool:
        """Show the session until its end or until the window is closed; return whether it reached its end."""
        due, before = 1.0, self._clock()
        try:
            while not self._is_over and not self._is_left and self.window.is_open:
                now = self._clock()
                if not self.paused:
                    due += (now - before) * self.speed / CONTROL_STEP_S
                before = now
                due = self._take_steps(due, now + LONGEST_BETWEEN_FRAMES_S)
                self._drag()
                self._frame = self.session.frame(self._status())
                self.shown += 1
                self._record(now)
                if not self.window.show(self._frame):
                    break
                for key in self.window.read_keys():
                    self.press_key(key)
        finally:
            self.session.leave()
            self._finish_film()
        return self._is_over

    def _take_steps(self, due: float, deadline: float) -> float:
        """Take the control steps that are due, until a deadline, s; return the number of steps that are still due."""
        while due >= 1.0 and not self._is_over:
            self._is_over = not self._step()
            due -= 1.0
            if self._clock() > deadline:
                return min(due, 1.0)
        return due

    def _step(self) -> bool:
        self.steps += 1
        going = self.session.step()
        # Skip the trials before the first chosen one.
        while going and self.session.first.stage == "before":
            going = self.session.step()
        return going

    def press_key(self, key: str) -> None:
        """Do the action of a key; ignore keys without an action."""
        action = _KEYS.get(key)
        if action is not None:
            self.session.message = ""
            action(self)

    def toggle_pause(self) -> None:
        self.paused = not self.paused

    def step_once(self) -> None:
        """Pause, and take one control step."""
        self.paused = True
        self._is_over = not self._step()

    def change_speed(self, factor: float) -> None:
        self.speed = min(FASTEST, max(SLOWEST, self.speed * factor))

    def save_picture(self) -> None:
        if self._frame is not None:
            path = write_png(self._free_name(".png"), self._frame)
            self.session.message = f"saved {path}"

    def toggle_film(self) -> None:
        if self._recorder is not None:
            self._finish_film()
        else:
            self._recorder, self._recording_since = FilmRecorder(self._free_name(".mp4"), FILM_FPS), self._clock()

    def leave(self) -> None:
        self._is_left = True

    def _status(self) -> str:
        recording = "recording" if self._recorder is not None else ""
        parts = ("paused" if self.paused else "", speed_text(self.speed), recording)
        return " · ".join(part for part in parts if part) or "H: keys"

    def _record(self, now: float) -> None:
        """Add the current frame to the film as often as needed to keep the film synchronous with the clock."""
        if self._recorder is None or self._frame is None:
            return
        due = math.floor((now - self._recording_since) * FILM_FPS) + 1
        for _ in range(self._recorder.frames, due):
            self._recorder.add(self._frame)

    def _finish_film(self) -> None:
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        if recorder.frames == 0 and self._frame is not None:
            recorder.add(self._frame)
        self.session.message = f"saved {recorder.finish()}"

    def _free_name(self, suffix: str) -> Path:
        self.save_folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := self.save_folder / f"watch-{number:03d}{suffix}").exists():
            number += 1
        return path

    def _drag(self) -> None:
        """Move the cup with the pointer while the mouse button, pressed on the cup, is held down."""
        table = table_at(self.session.layout, *self.window.pointer) if self.window.is_button_down else None
        if table is None or self.session.first.stage != "step":
            self._is_dragging = False
            return
        number, (left, top, width, height) = table
        if number >= len(self.session.steppers):
            return
        x, y = self.window.pointer
        place = Canvas(np.empty((height, width, 3), dtype=np.uint8)).place((x - left, y - top))
        if not self._is_dragging:
            scene = self.session.steppers[number].scene()
            self._is_dragging = math.dist(place, scene.cup.tolist()) < GRASP_RADII * scene.cup_radius
        if self._is_dragging:
            self.session.move_cup(place)


_KEYS: dict[str, Callable[[LiveSession], None]] = {
    "space": LiveSession.toggle_pause,
    "right": LiveSession.step_once,
    "up": lambda live: live.change_speed(2.0),
    "down": lambda live: live.change_speed(0.5),
    "p": lambda live: live.session.toggle("prism"),
    "f": lambda live: live.session.toggle("field"),
    "l": lambda live: live.session.set_learning(not live.session.first.learning),
    "r": lambda live: live.session.skip(),
    "s": LiveSession.save_picture,
    "v": LiveSession.toggle_film,
    "h": lambda live: setattr(live.session, "help_shown", not live.session.help_shown),
    "q": LiveSession.leave,
    "escape": LiveSession.leave,
}
