"""Play a protocol yourself, with the mouse or the arrow keys: `python scripts/play.py --out runs/me`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command

from reach.files import make_folder, write_file
from reach.protocols import PROTOCOLS, Protocol
from reach.render import Window
from reach.render.film import write_png
from reach.sim.layout import CONTROL_STEP_S, START_HAND_M
from reach.study.engine.formats import parquet_bytes, trials_frame
from reach.study.engine.store import read_whole
from reach.study.people.game import (
    TRIALS,
    PersonLeft,
    PersonView,
    WindowPointer,
    draw_chart,
    draw_view,
    finished_trials,
    play,
    rows_with_person,
    summary_lines,
)

WIDTH, HEIGHT = 900, 700
# The trials of a person who has not finished; no comparison reads them.
UNFINISHED = "unfinished.parquet"
PRIVACY = "Your data stays on this machine, in {out}."


@dataclass
class Play:
    """Play a protocol yourself: reach for the cup with the mouse, a trackpad or the arrow keys.

    At the end a chart shows how fast you corrected.
    """

    out: Path
    """Folder for your results: trials.parquet (for compare.py --person) and chart.png.
    If you leave early, the folder has unfinished.parquet instead."""
    protocol: str = "rotation30"
    """Name of a preset protocol. An unknown name prints the list."""
    seed: int = 0
    """Seed of cups and noise. A learner with the same seed gets the same cups and noise."""
    beside: Path | None = None
    """Folder of a comparison (compare.py --out). Its learners are added to your chart."""
    watch_s: float = 60.0
    """Time for which the window shows the chart at the end, s. You can close the window earlier."""

    def __post_init__(self) -> None:
        command.require_preset(self.protocol)
        command.require_at_least(0, self, "seed")
        if self.out.is_file():
            raise SystemExit(f"--out: expected a folder, got the file {self.out}")
        if any((self.out / name).exists() for name in (TRIALS, UNFINISHED)):
            raise SystemExit(f"--out: expected a folder without trials, got {self.out}")
        if self.beside is not None and not (self.beside / TRIALS).is_file():
            raise SystemExit(f"--beside: expected a folder written by compare.py --out, got {self.beside}")


def play_in_window(
    window: Window,
    protocol: Protocol,
    seed: int,
    on_view: Callable[[PersonView], None] | None = None,
    on_trial: Callable[[list[dict[str, Any]]], None] | None = None,
) -> list[dict[str, Any]]:
    """Run a protocol with a person in a window.

    Args:
        window: of WIDTH by HEIGHT pixels.
        protocol, seed: as for `play`.
        on_view: called with every view before it is shown.
        on_trial: called with the rows so far after each trial.
    """
    pointer = WindowPointer(window, WIDTH, HEIGHT, (float(START_HAND_M[0]), float(START_HAND_M[1])))

    def show(view: PersonView) -> bool:
        if on_view is not None:
            on_view(view)
        return window.show(draw_view(view, WIDTH, HEIGHT))

    return play(protocol, seed, pointer, show, on_trial=on_trial)


def main(options: Play) -> None:
    """Play, then save and show the results."""
    protocol = PROTOCOLS[options.protocol]
    window = Window(WIDTH, HEIGHT, round(1.0 / CONTROL_STEP_S), title=f"reach for the cup: {protocol.name}")
    if not window.is_visible:
        raise SystemExit(
            "play.py: expected a display to play on, found none; watch.py --video shows learners without one"
        )
    make_folder(options.out, "--out")
    print(PRIVACY.format(out=options.out))
    unfinished = options.out / UNFINISHED

    def save_unfinished(rows: list[dict[str, Any]]) -> None:
        write_file(unfinished, parquet_bytes(trials_frame(rows_with_person(protocol, options.seed, rows))))

    try:
        rows = play_in_window(window, protocol, options.seed, on_trial=save_unfinished)
    except (PersonLeft, KeyboardInterrupt):
        saved = f"your trials are in {unfinished}" if unfinished.exists() else "no trial was finished"
        raise SystemExit(f"You left before the end; {saved}.") from None
    trials = trials_frame(finished_trials(protocol, options.seed, rows))
    write_file(options.out / TRIALS, parquet_bytes(trials))
    unfinished.unlink()
    comparison = None if options.beside is None else read_whole(options.beside / TRIALS)
    chart = draw_chart(trials, comparison, protocol, (WIDTH, HEIGHT))
    write_png(options.out / "chart.png", chart)
    print("\n".join(summary_lines(trials)))
    print(f"Written: {options.out / TRIALS} and {options.out / 'chart.png'}")
    for _ in range(round(options.watch_s / CONTROL_STEP_S)):
        if not window.show(chart):
            break
    window.close()


if __name__ == "__main__":
    command.run(main, Play, expected=(RuntimeError,))
