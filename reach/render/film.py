"""Films from frames: MP4 (H.264) or GIF, written whole or not at all, and frames set side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.arguments import require_whole
from reach.render import palette
from reach.render.labels import fitted, text
from reach.unfinished import unfinished_prefix

Frame = NDArray[np.uint8]

SUFFIXES = (".mp4", ".gif")
# H.264 with half-resolution colour (yuv420p), which every player understands, needs even sides.
EVEN = 2
GAP_PX = 6


def write_film(path: str | os.PathLike[str], frames: Iterable[Frame], fps: int, *, progress: bool = False) -> Path:
    """Write frames as a film, one at a time: frames may come from a generator and are not kept.

    The film appears under its name only when it is whole; if anything fails, what was there before stays.

    Args:
        path: ends in .mp4 or .gif; its folder is made if it is missing.
        frames: (height, width, 3) uint8, all of one size. For MP4 an odd side is made even by repeating its
            last line.
        fps: frames a second. GIFs keep time in hundredths of a second, so theirs is the nearest possible.
        progress: show a progress bar.

    Returns:
        The path of the film.

    Raises:
        ValueError: another suffix, fps below 1, no frames, or a frame of another shape or type.
        ImportError: imageio or imageio-ffmpeg is missing.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path is {str(target)!r}; a film's name ends in {' or '.join(SUFFIXES)}")
    fps = require_whole("fps", fps, 1, 1000)
    target.parent.mkdir(parents=True, exist_ok=True)
    if progress:
        from tqdm import tqdm

        frames = tqdm(frames, desc=target.name, unit="frame")
    handle, name = tempfile.mkstemp(prefix=unfinished_prefix(target), suffix=suffix, dir=target.parent)
    os.close(handle)
    try:
        _encode(Path(name), _checked(frames, even=suffix == ".mp4"), fps)
        os.chmod(name, 0o644)
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def side_by_side(frames: Sequence[Frame], titles: Sequence[str] = ()) -> Frame:
    """Set frames of one height next to each other, each under its title.

    Args:
        frames: one or more, (height, width_i, 3) uint8.
        titles: one for each frame; none for no titles.

    Returns:
        (height + title, sum of widths + gaps, 3) uint8.

    Raises:
        ValueError: no frames, another number of titles than of frames, or frames of different heights.
    """
    if not frames:
        raise ValueError("frames is empty; at least one is needed")
    if titles and len(titles) != len(frames):
        raise ValueError(f"titles has {len(titles)} entries for {len(frames)} frames; one for each or none is allowed")
    checked = [_frame(frame, number) for number, frame in enumerate(frames)]
    heights = [frame.shape[0] for frame in checked]
    if len(set(heights)) > 1:
        raise ValueError(f"frames have heights {heights}; one height is allowed")
    widths = [frame.shape[1] for frame in checked]
    size = max(11, round(0.035 * heights[0]))
    above = 2 * size if titles else 0
    joined = np.empty((above + heights[0], sum(widths) + GAP_PX * (len(widths) - 1), 3), dtype=np.uint8)
    joined[:] = palette.WHITE
    left = 0
    for number, frame in enumerate(checked):
        if titles:
            _print_title(joined[:above, left : left + frame.shape[1]], titles[number], size)
        joined[above:, left : left + frame.shape[1]] = frame
        left += frame.shape[1] + GAP_PX
    return joined


def _print_title(strip: Frame, title: str, size: int) -> None:
    """Write a title into the middle of a strip of a picture, in place."""
    import pygame

    height, width, _ = strip.shape
    ground = np.full((height, width, 3), palette.WHITE, dtype=np.uint8)
    surface = pygame.image.frombuffer(ground.data, (width, height), "RGB")
    words = text(fitted(title, size, width - size), size, palette.INK)
    surface.blit(words, ((width - words.get_width()) // 2, (height - words.get_height()) // 2))
    strip[:] = ground


def _checked(frames: Iterable[Frame], *, even: bool) -> Iterable[Frame]:
    """The frames, refused when one differs in size from the first, with even sides where wanted."""
    first: tuple[int, ...] | None = None
    for number, given in enumerate(frames):
        frame = _frame(given, number)
        first = first or frame.shape
        if frame.shape != first:
            raise ValueError(f"frames[{number}] has shape {frame.shape}, the first has {first}; one size is allowed")
        below, beside = frame.shape[0] % EVEN, frame.shape[1] % EVEN
        if even and (below or beside):
            frame = np.pad(frame, ((0, below), (0, beside), (0, 0)), mode="edge")
        yield frame
    if first is None:
        raise ValueError("frames is empty; a film needs at least one frame")


def _frame(frame: Any, number: int) -> Frame:
    picture = np.asarray(frame)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(
            f"frames[{number}] has shape {picture.shape} and type {picture.dtype}; (height, width, 3) uint8 is allowed"
        )
    return picture


def _encode(path: Path, frames: Iterable[Frame], fps: int) -> None:
    """Write the film with imageio's own FFmpeg."""
    import imageio_ffmpeg

    rest = iter(frames)
    first = next(rest)
    height, width, _ = first.shape
    if path.suffix.lower() == ".mp4":
        # Quality by constant rate factor; the index goes in front, so that browsers start at once.
        codec, pixels = "libx264", "yuv420p"
        options = ["-crf", "20", "-preset", "medium", "-movflags", "+faststart"]
    else:
        # One palette for the whole film, made from the film; it loops for ever.
        codec, pixels = "gif", "pal8"
        options = [
            "-vf",
            "split[a][b];[a]palettegen=stats_mode=full[p];[b][p]paletteuse=dither=none",
            "-loop",
            "0",
        ]
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=fps,
        codec=codec,
        pix_fmt_out=pixels,
        macro_block_size=1,
        ffmpeg_log_level="error",
        quality=None,
        bitrate=None,
        output_params=options,
    )
    writer.send(None)
    try:
        writer.send(np.ascontiguousarray(first))
        for frame in rest:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
