"""Measure speed next to other libraries in one run: `python scripts/benchmark.py world --json world.json`."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import command
import tyro
from rich.console import Console
from rich.table import Table


@dataclass
class Benchmark:
    """Measure speed next to other libraries (peers), in one run.

    world: steps per second of single and vector environments, resets included, and frames per second.
    watch: pictures per second with all panels, and simulated seconds per second, on one core.
    learners: milliseconds for a second of a spiking circuit that learns, and for a training step by direct feedback.
    trials: milliseconds for a trial of learners by seen error, and for an episode of Reacher-v5.
    study: time per small job as their number grows from 10 to 1,000, and to load a thousand runs.
    """

    what: Annotated[Literal["world", "learners", "trials", "study", "watch"], tyro.conf.Positional]
    """What to measure."""
    json: Path | None = None
    """File for the rows: name, value, unit, peer, ratio."""
    seconds: float = 2.0
    """Length of one measurement of `world` and `watch`."""
    rounds: int = 5
    """Number of measurements of each, taken in turn; their median is reported."""
    peers: Path | None = None
    """Python of an environment with the peers: `make peers` makes .venv-peers with EnvPool, `make peers-learners` makes
    .venv-peers-learners with BindsNET, snnTorch and Brian2. Without it they are left out."""

    def __post_init__(self) -> None:
        command.require_at_least(1, self, "rounds")
        command.require_at_least(0, self, "seconds")
        if self.json is not None and (self.json.is_dir() or not self.json.parent.is_dir()):
            raise SystemExit(f"--json: expected a file in an existing folder, got {self.json}")
        if self.peers is not None and shutil.which(self.peers) is None:
            raise SystemExit(f"--peers: expected a Python of `make peers` or `make peers-learners`, got {self.peers}")


def main(options: Benchmark) -> None:
    """Measure, print the table and write the file."""
    rows = import_module(f"benchmarks.{options.what}").measure(options)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("name", "value", "unit", "peer", "ratio")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:,}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    Console().print("Compare learners next:\n  make compare")


if __name__ == "__main__":
    command.run(main, Benchmark)
