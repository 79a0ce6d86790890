"""Make the picture that README opens with anew, from a trained learner: `make gallery`."""

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
MOMENT_STEP = 44  # 0.90 s: the first movement is over
END_STEP = 10_000
SHOWN = {
    20: "before: unperturbed",
    21: "seen hand turned by 30°",
    50: "30 reaches later",
    121: "turned back: the after-effect",
}
# Of these the end is shown; of the others the end of the first movement.
SHOWN_AT_THEIR_END = (20, 50)


@dataclass
class Options:
    """Make the pictures of README anew."""

    out: Path = Path("docs/pictures")
    """Folder of the pictures."""
    keep: Path = Path("runs/watch")
    """Where the trained learner is kept."""
    learner: str = "error-dfa"
    """Whose reaches are shown."""

    def __post_init__(self) -> None:
        command.require_learners("--learner", [self.learner])

    def draw(self) -> None:
        """Run a learner through the rotation and keep the four moments."""
        torch.set_num_threads(1)
        make_folder(self.out, "--out")
        (training,) = plan([self.learner], {}, [0], factory=FACTORIES[POSTURE], out=self.keep)
        model = prepare(self.learner, 0, Path(training.folder))
        protocol = PROTOCOLS[PROTOCOL]
        moment = Moment(
            {
                index: (title, END_STEP if reach in SHOWN_AT_THEIR_END else MOMENT_STEP)
                for reach, title in SHOWN.items()
                for index in trial_indices(protocol, 0, reach, reach)
            }
        )
        run_protocol(model, protocol, 0, onlooker=moment)
        picture = side_by_side([moment.frames[title] for title in SHOWN.values()], list(SHOWN.values()))
        path = write_png(self.out / "correction.png", picture)
        print(f"Picture: {path}")


@dataclass
class Moment:
    """Keeps one frame of each chosen trial: index -> title and step of its moment, or the end if that is earlier."""

    chosen: dict[int, tuple[str, int]]
    frames: dict[str, Frame] = field(default_factory=dict)

    def look(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Take the frame when its moment has come."""
        title, moment = self.chosen.get(index, ("", 0))
        if title and (step == moment or (over and step < moment)):
            self.frames[title] = np.asarray(render(), dtype=np.uint8)
