"""Draw four reaches of a trained learner before, under and after a rotation: `figure.py correction`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import command
import numpy as np
import torch
from numpy.typing import NDArray

from agents.learner import prepare
from agents.registry import FACTORIES, POSTURE
from reach.files import make_folder
from reach.protocols import PROTOCOLS
from reach.render import side_by_side
from reach.render.film import write_png
from reach.study import plan
from reach.study.run import run_protocol
from reach.study.watch.session import trial_indices

Frame = NDArray[np.uint8]
PROTOCOL = "rotation30"
MOMENT_STEP = 44  # at 0.90 s the first movement is over
END_STEP = 10_000
SHOWN = {
    20: "before: unperturbed",
    21: "seen hand turned by 30°",
    50: "30 reaches later",
    121: "turned back: the after-effect",
}
# These are shown at their end, the others at the end of the first movement.
SHOWN_AT_THEIR_END = (20, 50)


@dataclass
class Options:
    """Draw four reaches of a learner before, under and after a rotation."""

    out: Path = Path("docs/pictures")
    """Folder of the picture, correction.png."""
    keep: Path = Path("runs/watch")
    """Folder of trained learners; one that is missing is trained."""
    learner: str = "error-dfa"
    """Learner whose reaches are shown."""

    def __post_init__(self) -> None:
        command.require_learners("--learner", [self.learner])

    def draw(self) -> None:
        """Run the learner through the rotation and write the four moments side by side."""
        torch.set_num_threads(1)
        make_folder(self.out, "--out")
        (training,) = plan([self.learner], {}, [0], factory=FACTORIES[POSTURE], out=self.keep)
        model = prepare(self.learner, 0, Path(training.folder))
        protocol = PROTOCOLS[PROTOCOL]
        moments = Moments(
            {
                index: (title, END_STEP if reach in SHOWN_AT_THEIR_END else MOMENT_STEP)
                for reach, title in SHOWN.items()
                for index in trial_indices(protocol, 0, reach, reach)
            }
        )
        run_protocol(model, protocol, 0, observer=moments)
        picture = side_by_side([moments.frames[title] for title in SHOWN.values()], list(SHOWN.values()))
        path = write_png(self.out / "correction.png", picture)
        print(f"Picture: {path}")


@dataclass
class Moments:
    """An observer that keeps one frame of each chosen trial.

    Attributes:
        chosen: index of the trial -> title of the frame, and its step; the last step of a trial that ends before.
        frames: title -> frame.
    """

    chosen: dict[int, tuple[str, int]]
    frames: dict[str, Frame] = field(default_factory=dict)

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Keep the frame at its step."""
        title, moment = self.chosen.get(index, ("", 0))
        if title and (step == moment or (over and step < moment)):
            self.frames[title] = np.asarray(render(), dtype=np.uint8)
