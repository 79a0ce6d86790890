"""Draw the picture of the README, four reaches of a learner: `python scripts/figure.py correction`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import command
import numpy as np
import torch
import tyro

from agents.learner import prepare
from agents.registry import FACTORIES, POSTURE
from reach.files import make_folder
from reach.protocols import PROTOCOLS
from reach.render import side_by_side
from reach.render.canvas import Frame
from reach.render.film import write_png
from reach.study import plan
from reach.study.run import run_protocol
from reach.study.watch.session import trial_indices

PROTOCOL = "rotation30"
# This control step ends at 0.90 s, when the first movement is over.
FIRST_MOVEMENT_STEP = 44
# Later than every trial, so that its last step is shown.
LAST_STEP = 10_000
# Number of the reach -> title and control step of the frame.
SHOWN_REACHES = {
    20: ("before: unperturbed", LAST_STEP),
    21: ("seen hand turned by 30°", FIRST_MOVEMENT_STEP),
    50: ("30 reaches later", LAST_STEP),
    121: ("turned back: the after-effect", FIRST_MOVEMENT_STEP),
}


@dataclass
class Figure:
    """Draw four reaches of a learner: before, during and after a rotation of the seen hand."""

    picture: Annotated[Literal["correction"], tyro.conf.Positional] = "correction"
    """The picture to draw."""
    out: Path = Path("docs/pictures")
    """Folder to which correction.png is written."""
    keep: Path = Path("runs/watch")
    """Folder of trained learners. A missing learner is trained first and stored there."""
    learner: str = "error-dfa"
    """Learner whose reaches are shown."""

    def __post_init__(self) -> None:
        command.require_learners("--learner", [self.learner])


@dataclass
class FrameObserver:
    """An observer that renders one frame of each chosen trial.

    Attributes:
        chosen: index of the trial -> title and control step of the frame. If the trial ends before, its last step is
            rendered.
        frames: title -> frame.
    """

    chosen: dict[int, tuple[str, int]]
    frames: dict[str, Frame] = field(default_factory=dict)

    def watches(self, index: int) -> bool:
        """Return whether a frame of a trial is rendered."""
        return index in self.chosen

    def on_step(self, index: int, step: int, over: bool, render: Callable[[], Any]) -> None:
        """Render the frame if this is its step."""
        title, chosen_step = self.chosen.get(index, ("", 0))
        if title and (step == chosen_step or (over and step < chosen_step)):
            self.frames[title] = np.asarray(render(), dtype=np.uint8)


def main(options: Figure) -> None:
    """Run the learner in the protocol and write the four frames side by side."""
    torch.set_num_threads(1)
    make_folder(options.out, "--out")
    (training,) = plan([options.learner], {}, [0], factory=FACTORIES[POSTURE], out=options.keep)
    model = prepare(options.learner, 0, Path(training.folder))
    protocol = PROTOCOLS[PROTOCOL]
    observer = FrameObserver(
        {trial_indices(protocol, 0, reach, reach).pop(): shown for reach, shown in SHOWN_REACHES.items()}
    )
    run_protocol(model, protocol, 0, observer=observer)
    titles = [title for title, _ in SHOWN_REACHES.values()]
    picture = side_by_side([observer.frames[title] for title in titles], titles)
    print(f"Picture: {write_png(options.out / 'correction.png', picture)}")


if __name__ == "__main__":
    command.run(main, Figure)
