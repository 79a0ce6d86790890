"""Draw the picture of the README, four reaches of a learner: `python scripts/figure.py correction`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import command
import torch
import tyro

from agents.learner import prepare
from agents.registry import FACTORIES, POSTURE
from reach.files import make_folder
from reach.protocols import PROTOCOLS
from reach.render import Panels, side_by_side
from reach.render.canvas import Frame
from reach.render.film import write_png
from reach.study import plan
from reach.study.watch.session import WatchSession, trial_indices

PROTOCOL = "rotation30"
SIZE = (600, 600)
# This control step ends at 0.90 s, when the first movement is over.
FIRST_MOVEMENT_STEP = 44
# Later than every trial, so that its last step is shown.
LAST_STEP = 10_000
# Number of the reach -> title, and control step of the frame; the last one if the reach ends before.
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


def main(options: Figure) -> None:
    """Run the learner in the protocol and write the four frames side by side."""
    torch.set_num_threads(1)
    make_folder(options.out, "--out")
    (training,) = plan([options.learner], {}, [0], factory=FACTORIES[POSTURE], out=options.keep)
    model = prepare(options.learner, 0, Path(training.folder))
    protocol = PROTOCOLS[PROTOCOL]
    shown = {trial_indices(protocol, 0, reach, reach).pop(): frame for reach, frame in SHOWN_REACHES.items()}
    panels = Panels(network=False, errors=False)
    session = WatchSession([(options.learner, model)], protocol, 0, set(shown), size=SIZE, panels=panels)
    frames: dict[str, Frame] = {}
    while session.step():
        if session.first.stage in ("step", "over"):
            title, last_step = shown[session.first.index]
            if session.first.step <= last_step:
                frames[title] = session.frame()
    picture = side_by_side(list(frames.values()), list(frames))
    print(f"Picture: {write_png(options.out / 'correction.png', picture)}")


if __name__ == "__main__":
    command.run(main, Figure)
