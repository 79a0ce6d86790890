"""The films of a study as text to be put into the page, each with a still for print and for a reader who plays none."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reach.study.engine.jobs import Job
from reach.study.engine.store import FILM_PHASES, Store

CAPTIONS = {
    "before": "before: nothing is perturbed",
    "during": "during: the first perturbed reaches",
    "after": "after: the last perturbed reaches",
}
MOST_BYTES = 6_500_000  # of all films together, as they stand in the page


@dataclass(frozen=True)
class Clip:
    """One film: its caption, its bytes and those of its last frame (JPEG), in base64; still is "" of none."""

    caption: str
    data: str
    still: str


@dataclass(frozen=True)
class Film:
    """What was filmed of one learner."""

    learner: str
    protocol: str
    seed: int
    clips: tuple[Clip, ...]


def films(store: Store, jobs: Sequence[Job]) -> tuple[list[Film], list[str]]:
    """Return the films that were made, a learner each, and the learners whose films did not fit into the page.

    Raises:
        DamagedError: a film is not as it was written.
    """
    shown: list[Film] = []
    left_out: list[str] = []
    room = MOST_BYTES
    for job in jobs:
        if not job.film:
            continue
        digests = store.marked_files(job) or {}
        made = [phase for phase in FILM_PHASES if phase in digests]
        paths = store.film_paths(job)
        clips = tuple(_clip(CAPTIONS[phase], paths[phase], store.read_file(job, phase, digests)) for phase in made)
        size = sum(len(clip.data) + len(clip.still) for clip in clips)
        if size > room:
            left_out.append(job.learner)
        elif clips:
            room -= size
            shown.append(Film(job.learner, job.protocol, job.seed, clips))
    return shown, left_out


def _clip(caption: str, path: Path, data: bytes) -> Clip:
    still = last_frame(path)
    image = base64.b64encode(jpeg_bytes(still)).decode() if still is not None else ""
    return Clip(caption, base64.b64encode(data).decode(), image)


def last_frame(path: Path) -> NDArray[np.uint8] | None:
    """The last frame (height, width, 3) of a film; None where it cannot be read."""
    import imageio_ffmpeg

    try:
        reader = imageio_ffmpeg.read_frames(str(path))
        width, height = next(reader)["size"]
        held = deque(reader, maxlen=1)
    except (OSError, RuntimeError, StopIteration, KeyError):
        return None
    return np.frombuffer(held[0], dtype=np.uint8).reshape(height, width, 3) if held else None


def jpeg_bytes(frame: NDArray[np.uint8]) -> bytes:
    """A picture as the bytes of a JPEG file."""
    import imageio.v3

    data: bytes = imageio.v3.imwrite("<bytes>", frame, extension=".jpg", quality=80)
    return data
