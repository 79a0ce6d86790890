"""Pictures that are kept as they are shown: one as a PNG, many as a film that is written while it goes on."""

from __future__ import annotations

import io
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

from reach.render.canvas import Frame
from reach.render.film import write_film
from reach.unfinished import write_file

# Pictures that may wait to be written, before whoever gives them has to wait.
WAITING = 200


def write_png(path: str | os.PathLike[str], frame: Frame) -> Path:
    """Write a picture (height, width, 3) uint8 as a PNG, whole or not at all; its folder is made if it is missing.

    Raises:
        ValueError: a name that does not end in .png.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"path is {str(target)!r}; a name that ends in .png is allowed")
    picture = np.ascontiguousarray(frame)
    height, width, _ = picture.shape
    data = io.BytesIO()
    pygame.image.save(pygame.image.frombuffer(picture.data, (width, height), "RGB"), data, "picture.png")
    write_file(target, data.getvalue())
    return target


class Recorder:
    """A film to which pictures are added one by one; it appears when it is finished."""

    def __init__(self, path: str | os.PathLike[str], fps: int) -> None:
        """Begin a film at `path` with `fps` frames a second."""
        self.path = Path(path)
        self._waiting: queue.Queue[Frame | None] = queue.Queue(WAITING)
        self._error: Exception | None = None
        self.frames = 0
        self._thread = threading.Thread(target=self._write, args=(fps,), daemon=True)
        self._thread.start()

    def add(self, frame: Frame) -> None:
        """Add a picture; a copy is not made."""
        self.frames += 1
        if self._error is None:
            self._waiting.put(frame)

    def finish(self) -> Path:
        """End the film and answer its path; an error in writing it is raised here.

        Raises:
            ValueError: no picture was added, or not all had one size.
        """
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.path

    def _frames(self) -> Iterator[Frame]:
        while (frame := self._waiting.get()) is not None:
            yield frame

    def _write(self, fps: int) -> None:
        frames = self._frames()
        try:
            write_film(self.path, frames, fps)
        except Exception as error:
            self._error = error
            for _ in frames:  # nobody is to wait for a place
                pass
