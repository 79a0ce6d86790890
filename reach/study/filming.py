"""Films of chosen reaches of a protocol, in small pictures, as bytes of MP4; they change no result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reach.protocols import BASELINE, PERTURBED, ScheduledTrial

Frame = NDArray[np.uint8]  # (height, width, 3)

FILM_SIDE_PX = 300  # frames are shrunk by a whole factor to about this
FILM_EVERY = 2  # every second control step is a frame
FILM_HOLD_FRAMES = 8  # the last frame of a reach stands this long
# Reaches in a film: the last ones before the perturbation, the first ones with it, the last ones with it.
FILMED_REACHES = {"before": 3, "during": 4, "after": 3}


class Camera:
    """Keeps the frames of chosen trials. `chosen`: index in the schedule -> phase."""

    def __init__(self, chosen: dict[int, str]) -> None:
        self.chosen = chosen
        self.frames: dict[str, list[Frame]] = {phase: [] for phase in FILMED_REACHES}

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        phase = self.chosen.get(index)
        if phase is None or (step % FILM_EVERY and not over):
            return
        frame = shrink(np.asarray(render(), dtype=np.uint8))
        self.frames[phase].extend([frame] * (FILM_HOLD_FRAMES if over else 1))


def shrink(frame: Frame) -> Frame:
    """A frame whose shorter side is about FILM_SIDE_PX, by averaging whole blocks of pixels."""
    by = max(1, min(frame.shape[:2]) // FILM_SIDE_PX)
    height, width = frame.shape[0] // by, frame.shape[1] // by
    blocks = frame[: height * by, : width * by].reshape(height, by, width, by, 3)
    mean: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return mean.round().astype(np.uint8)


def filmed_trials(schedule: Sequence[ScheduledTrial]) -> dict[int, str]:
    """Which trials of a schedule to film, and in which phase: index -> "before", "during" or "after".

    Probes are left out. A protocol that perturbs nothing is filmed at its end.
    """
    reaches = [(index, trial.block) for index, trial in enumerate(schedule) if not trial.probe]
    before = [index for index, block in reaches if block == BASELINE]
    perturbed = [index for index, block in reaches if block == PERTURBED] or [index for index, _ in reaches]
    return {
        **dict.fromkeys(perturbed[-FILMED_REACHES["after"] :], "after"),
        **dict.fromkeys(perturbed[: FILMED_REACHES["during"]], "during"),
        **dict.fromkeys((before or perturbed)[-FILMED_REACHES["before"] :], "before"),
    }


def film_bytes(frames: list[Frame], fps: int) -> bytes:
    """Frames as the bytes of an MP4 film."""
    from reach.render.film import write_film

    with tempfile.TemporaryDirectory(prefix="reach-film-") as folder:
        path = Path(folder) / "film.mp4"
        write_film(path, frames, fps)
        return path.read_bytes()
