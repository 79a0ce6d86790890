"""Draw a picture of README or docs: `python scripts/figure.py comparison --study runs/paper`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import command
import figures.comparison
import figures.correction
import figures.tuning
import tyro


@dataclass
class Figure:
    """Draw a picture of README or docs.

    comparison: a study's answer, the errors of each learner and what it leaves of the miss.
    correction: four reaches of one learner before, under and after a rotation.
    tuning: what every step size that was tried is worth, by learner.
    """

    picture: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[figures.comparison.Options, tyro.conf.subcommand("comparison")]
            | Annotated[figures.correction.Options, tyro.conf.subcommand("correction")]
            | Annotated[figures.tuning.Options, tyro.conf.subcommand("tuning")]
        ]
    ]


def main(options: Figure) -> None:
    """Draw the picture."""
    options.picture.draw()


if __name__ == "__main__":
    command.run(main, Figure)
