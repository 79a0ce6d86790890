"""Move the hand yourself through a protocol that learners go through: `python scripts/play.py --out runs/me`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command
import numpy as np

from reach.files import make_folder, write_file
from reach.protocols import PROTOCOLS, Protocol
from reach.render import Window
from reach.sim.layout import CONTROL_STEP_S, START_HAND_M
from reach.study.engine.formats import parquet_bytes, trials_frame
from reach.study.engine.store import read_whole
from reach.study.people.chart import draw_chart, told
from reach.study.people.game import (
    TRIALS,
    Stopped,
    View,
    WindowPointer,
    draw_seen,
    play,
    rows_of_person,
    under_their_name,
)

WIDTH, HEIGHT = 900, 700
# The trials of one who has not come to the end, which no comparison reads.
UNFINISHED = "unfinished.parquet"
PRIVACY = "What you do stays on this machine: it is written to {out} and nowhere else."


@dataclass
class Play:
    """Move the hand yourself, with the mouse, a trackpad or the arrow keys, through a protocol."""

    out: Path
    """Folder for what you did: trials.parquet, which compare.py --person reads, and chart.png; unfinished.parquet if
    you leave before the end."""
    protocol: str = "rotation30"
    """One of the presets."""
    seed: int = 0
    """Of cups and noise; learners with the same seed meet the same."""
    beside: Path | None = None
    """Folder of a comparison (compare.py --out), whose learners are drawn beside you."""
    watch_s: float = 60.0
    """How long the chart stays in the window at the end, unless you close it."""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise SystemExit(f"--protocol {self.protocol}: known are {' '.join(sorted(PROTOCOLS))}")
        if self.seed < 0:
            raise SystemExit(f"--seed {self.seed}: 0 or more is allowed")
        if any((self.out / name).exists() for name in (TRIALS, UNFINISHED)):
            raise SystemExit(f"--out {self.out} holds trials already; give another folder")
        if self.beside is not None and not (self.beside / TRIALS).is_file():
            raise SystemExit(f"--beside {self.beside} holds no comparison; make one with compare.py --out")


def play_in(
    window: Window,
    protocol: Protocol,
    seed: int,
    onlooker: Callable[[View], None] | None = None,
    on_trial: Callable[[list[dict[str, Any]]], None] | None = None,
) -> list[dict[str, Any]]:
    """Play through a protocol in a window.

    An `onlooker` is told of every view before it is shown, `on_trial` of all rows so far after each trial.
    """
    pointer = WindowPointer(window, WIDTH, HEIGHT, (float(START_HAND_M[0]), float(START_HAND_M[1])))

    def show(view: View) -> bool:
        if onlooker is not None:
            onlooker(view)
        return window.show(draw_seen(view, WIDTH, HEIGHT))

    return play(protocol, seed, pointer, show, on_trial=on_trial)


def main(options: Play) -> None:
    """Play, then keep and show what came of it."""
    make_folder(options.out, "--out")
    print(PRIVACY.format(out=options.out))
    protocol = PROTOCOLS[options.protocol]
    window = Window(WIDTH, HEIGHT, round(1.0 / CONTROL_STEP_S), title=f"reach for the cup: {protocol.name}")
    if not window.is_seen:
        raise SystemExit("play.py: there is no screen to play on")
    unfinished = options.out / UNFINISHED

    def keep(rows: list[dict[str, Any]]) -> None:
        write_file(unfinished, parquet_bytes(trials_frame(under_their_name(protocol, options.seed, rows))))

    try:
        rows = play_in(window, protocol, options.seed, on_trial=keep)
    except (Stopped, KeyboardInterrupt):
        kept = f"your trials are kept in {unfinished}, which no comparison reads" if unfinished.exists() else ""
        raise SystemExit(f"You left before the end; {kept or 'there was no whole trial to keep'}.") from None
    trials = trials_frame(rows_of_person(protocol, options.seed, rows))
    write_file(options.out / TRIALS, parquet_bytes(trials))
    unfinished.unlink()
    others = None if options.beside is None else read_whole(options.beside / TRIALS)
    picture = draw_chart(trials, others, protocol, (WIDTH, HEIGHT))
    write_file(options.out / "chart.png", picture.png)
    print("\n".join(told(trials)))
    print(f"Written: {options.out / TRIALS} and {options.out / 'chart.png'}")
    for _ in range(round(options.watch_s / CONTROL_STEP_S)):
        if not window.show(np.asarray(picture.pixels)):
            break
    window.close()


if __name__ == "__main__":
    command.run(main, Play, expected=(RuntimeError,))
