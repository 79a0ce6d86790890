"""Write pictures and films to files atomically, as PNG, MP4 (H.264) or GIF; place frames side by side; film trials."""

from __future__ import annotations

import io
import itertools
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from reach.arguments import require_whole
from reach.files import unfinished_path, write_file
from reach.render import palette
from reach.render.canvas import Canvas, Frame
from reach.render.labels import fit_text, render_text

SUFFIXES = (".mp4", ".gif")
# H.264 with half-resolution colour (yuv420p), which every player supports, needs even sides.
EVEN = 2
GAP_PX = 6


def write_film(path: str | os.PathLike[str], frames: Iterable[Frame], fps: int) -> Path:
    """Write frames as a film, one at a time; frames may come from a generator.

    The file is replaced only when the film is complete.

    Args:
        path: path that ends in .mp4 or .gif; a missing folder is created.
        frames: (height, width, 3) uint8, all of the same size. For MP4, an odd side is made even by repeating its last
            line.
        fps: frames per second. A GIF has the nearest possible rate, because it stores durations in units of 10 ms.

    Returns:
        The path of the film.

    Raises:
        ValueError: the suffix is unknown, fps is below 1, there are no frames, or a frame has another shape or type.
        ImportError: imageio or imageio-ffmpeg is missing.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path: expected a name that ends in {' or '.join(SUFFIXES)}, got {str(target)!r}")
    fps = require_whole("fps", fps, 1, 1000)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished_path(target, suffix)
    try:
        _encode(part, _validated(frames, even=suffix == ".mp4"), fps)
        os.chmod(part, 0o644)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def film_bytes(frames: Iterable[Frame], fps: int) -> bytes:
    """Return frames as the bytes of an MP4 film; see `write_film`."""
    with tempfile.TemporaryDirectory(prefix="reach-film-") as folder:
        return write_film(Path(folder) / "film.mp4", frames, fps).read_bytes()


def side_by_side(frames: Sequence[Frame], titles: Sequence[str] = ()) -> Frame:
    """Place frames of the same height next to each other, each under its title.

    Args:
        frames: one or more frames, (height, width_i, 3) uint8.
        titles: one title for each frame, or empty.

    Returns:
        (height + title, sum of widths + gaps, 3) uint8.

    Raises:
        ValueError: there are no frames, the numbers of titles and frames differ, or the heights differ.
    """
    if not frames:
        raise ValueError("frames: expected at least one, got none")
    if titles and len(titles) != len(frames):
        raise ValueError(f"titles: expected one for each of {len(frames)} frames, or none, got {len(titles)}")
    checked = [_frame(frame, number) for number, frame in enumerate(frames)]
    heights = [frame.shape[0] for frame in checked]
    if len(set(heights)) > 1:
        raise ValueError(f"frames: expected one height, got {heights}")
    widths = [frame.shape[1] for frame in checked]
    size = max(11, round(0.035 * heights[0]))
    above = 2 * size if titles else 0
    joined = np.full((above + heights[0], sum(widths) + GAP_PX * (len(widths) - 1), 3), palette.WHITE, dtype=np.uint8)
    canvas = Canvas(joined)
    left = 0
    for frame, width, title in zip(checked, widths, titles or [""] * len(frames), strict=True):
        if title:
            text = render_text(fit_text(title, size, width - size), size, palette.INK)
            canvas.write(text, left + (width - text.get_width()) // 2, (above - text.get_height()) // 2)
        joined[above:, left : left + width] = frame
        left += width + GAP_PX
    return joined


def _validated(frames: Iterable[Frame], *, even: bool) -> Iterable[Frame]:
    """Yield the frames, with even sides if `even`; raise ValueError if a frame differs in size from the first."""
    first: tuple[int, ...] | None = None
    for number, given in enumerate(frames):
        frame = _frame(given, number)
        first = first or frame.shape
        if frame.shape != first:
            raise ValueError(f"frames[{number}]: expected shape {first} like the first, got {frame.shape}")
        below, beside = frame.shape[0] % EVEN, frame.shape[1] % EVEN
        if even and (below or beside):
            frame = np.pad(frame, ((0, below), (0, beside), (0, 0)), mode="edge")
        yield frame
    if first is None:
        raise ValueError("frames: expected at least one, got none")


def _frame(frame: Any, number: int) -> Frame:
    picture = np.asarray(frame)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(
            f"frames[{number}]: expected shape (height, width, 3) and type uint8, got {picture.shape} {picture.dtype}"
        )
    return picture


def _encode(path: Path, frames: Iterable[Frame], fps: int) -> None:
    """Write the film with imageio's own FFmpeg."""
    import imageio_ffmpeg

    rest = iter(frames)
    first = next(rest)
    height, width, _ = first.shape
    if path.suffix.lower() == ".mp4":
        # Constant rate factor for quality; "+faststart" puts the index first, so that browsers can start at once.
        codec, pixels = "libx264", "yuv420p"
        options = ["-crf", "20", "-preset", "medium", "-movflags", "+faststart"]
    else:
        # One palette for the whole film; the film loops forever.
        codec, pixels = "gif", "pal8"
        options = ["-vf", "split[a][b];[a]palettegen=stats_mode=full[p];[b][p]paletteuse=dither=none", "-loop", "0"]
    fixed = {"macro_block_size": 1, "ffmpeg_log_level": "error", "quality": None, "bitrate": None}
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, codec=codec, pix_fmt_out=pixels, output_params=options, **fixed
    )
    writer.send(None)
    try:
        for frame in itertools.chain([first], rest):
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()


# --- single pictures, and films in the background -------------------------------------------------------------


# Largest number of frames that wait to be written; further calls of `FilmRecorder.add` block.
MAX_WAITING_FRAMES = 200


def write_png(path: str | os.PathLike[str], frame: Frame) -> Path:
    """Write a picture (height, width, 3) uint8 as a PNG; a missing folder is created.

    Raises:
        ValueError: the path does not end in .png.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"path: expected a name that ends in .png, got {str(target)!r}")
    picture = np.ascontiguousarray(frame)
    height, width, _ = picture.shape
    data = io.BytesIO()
    pygame.image.save(pygame.image.frombuffer(picture.data, (width, height), "RGB"), data, "picture.png")
    write_file(target, data.getvalue())
    return target


class FilmRecorder:
    """Write frames to a film in a separate thread; `finish` creates the file."""

    def __init__(self, path: str | os.PathLike[str], fps: int) -> None:
        """Begin a film at `path` with `fps` frames per second."""
        self.frames = 0
        self._waiting: queue.Queue[Frame | None] = queue.Queue(MAX_WAITING_FRAMES)
        self._film: Future[Path] = Future()
        threading.Thread(target=self._write, args=(path, fps), daemon=True).start()

    def add(self, frame: Frame) -> None:
        """Add a frame (height, width, 3) uint8, which is not copied."""
        self.frames += 1
        if not self._film.done():
            self._waiting.put(frame)

    def finish(self) -> Path:
        """Finish the film and return its path.

        Raises:
            ValueError: no frame was added, or the frames have different sizes.
            Exception: any error of the writing thread.
        """
        self._waiting.put(None)
        return self._film.result()

    def _frames(self) -> Iterator[Frame]:
        while (frame := self._waiting.get()) is not None:
            yield frame

    def _write(self, path: str | os.PathLike[str], fps: int) -> None:
        frames = self._frames()
        try:
            self._film.set_result(write_film(path, frames, fps))
        except Exception as error:
            self._film.set_exception(error)
            for _ in frames:  # unblocks `add`
                pass


# --- films of chosen trials ---------------------------------------------------------------------------------------

SIDE_PX = 300  # frames are shrunk by a whole factor to about this side
STEPS_PER_FRAME = 2
HOLD_FRAMES = 8  # repetitions of the last frame of a reach


class Camera:
    """An observer of a run (`reach.study.run.Observer`) that films chosen trials without changing results.

    Attributes:
        chosen: name of the film of each filmed trial, by index in the schedule.
        frames: frames of each film.
    """

    def __init__(self, chosen: dict[int, str]) -> None:
        self.chosen = chosen
        self.frames: dict[str, list[Frame]] = {chosen[index]: [] for index in sorted(chosen)}

    def watches(self, index: int) -> bool:
        """Return whether a trial is filmed."""
        return index in self.chosen

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Store every `STEPS_PER_FRAME`-th frame and the last frame of a chosen trial."""
        if index in self.chosen and (over or step % STEPS_PER_FRAME == 0):
            frame = shrink(np.asarray(render(), dtype=np.uint8))
            self.frames[self.chosen[index]].extend([frame] * (HOLD_FRAMES if over else 1))

    def films(self, render_fps: float) -> dict[str, bytes]:
        """Return the bytes of an MP4 film by name, for an environment with `render_fps` control steps per second."""
        fps = round(render_fps / STEPS_PER_FRAME)
        return {name: film_bytes(frames, fps) for name, frames in self.frames.items() if frames}


def shrink(frame: Frame) -> Frame:
    """Shrink a frame to a shorter side of about `SIDE_PX`, by averaging whole blocks of pixels."""
    factor = max(1, min(frame.shape[:2]) // SIDE_PX)
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    total = np.zeros((height, width, 3), dtype=np.uint32)
    # Much faster than a mean over two axes of blocks.
    for row, column in itertools.product(range(factor), repeat=2):
        total += frame[row : height * factor : factor, column : width * factor : factor]
    mean: NDArray[np.float64] = total / factor**2
    return mean.round().astype(np.uint8)
