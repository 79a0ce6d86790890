"""Watch learners go through a protocol, in a window or as a film: `python scripts/watch.py --learner error-dfa`.

In a window, `H` shows what the keys do. Every key has a flag, for films and for those without a keyboard.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import command
import gymnasium as gym
import torch
from tqdm import tqdm

from agents.learner import env_for, learner_of, load_learner, prepare
from agents.registry import BASELINE_ENV, FACTORIES, POSTURE, split_names
from agents.sb3_zip import load_zip
from reach.files import make_folder
from reach.protocols import PROTOCOLS
from reach.render import Panels, Window, write_film
from reach.render.film import write_png
from reach.render.panels import layout_of
from reach.sim.layout import CONTROL_STEP_S
from reach.study import plan
from reach.study.watch.live import Live
from reach.study.watch.replay import differences, kept_learner, recorded_row
from reach.study.watch.session import FASTEST, SLOWEST, Watching, frames_of, indices_of
from reach.study.watch.stepper import Wish

FRAMES_PER_SECOND = 50
WINDOW_FRAMES_PER_SECOND = 60


@dataclass
class Watch:
    """Watch learners go through a protocol."""

    learner: str | None = None
    """Name of the learner (default: error-dfa; with --checkpoint the one stored there)."""
    compare: str | None = None
    """Several learners side by side on the same cups and noise, such as error-bp,error-dfa,error-stdp."""
    protocol: str = "rotation30"
    """One of the presets; an unknown name lists them."""
    checkpoint: Path | None = None
    """A learner kept by train.py, or a zip file of Stable-Baselines3; without one, the named learner is trained on
    unperturbed cups first."""
    trust: bool = False
    """Run the code that a zip file may hold; without it only its tensors are read."""
    replay: Path | None = None
    """Folder of a comparison (compare.py --out): the learner as it was trained there, and the trial as it was."""
    seed: int = 0
    """Of the learner and of the protocol."""
    first: int = 17
    """Number of the first reach to show; those before it are run unseen."""
    last: int = 40
    """Number of the last reach to show."""
    trial: int | None = None
    """Number of the only reach to show, instead of --first and --last."""
    twin: bool = False
    """Show each reach beside itself without the perturbation."""
    table: bool = True
    """Show the table."""
    inside: bool = True
    """Show the inside of the learner: spikes or activities, and the error on its way."""
    story: bool = True
    """Show the errors of all trials so far."""
    size: tuple[int, int] = (1280, 720)
    """Width and height of the picture, pixels."""
    speed: float = 1.0
    """1/8 to 32; 1 is real time (keys up and down)."""
    prism: Literal["on", "off"] | None = None
    """Put the prism on or off, whatever the protocol says (key P)."""
    field: Literal["on", "off"] | None = None
    """Put the force field on or off (key F)."""
    learning: bool = True
    """Let the learners learn (key L)."""
    cup: tuple[float, float] | None = None
    """Where the cup is put as each shown reach begins, x and y in m (dragging with the mouse)."""
    video: Path | None = None
    """Film (.mp4 or .gif) to write instead of opening a window; no display is needed (key V)."""
    png: Path | None = None
    """Picture to write instead of opening a window (key S)."""
    png_s: float = 0.7
    """Time in the first shown reach at which that picture is taken, s."""
    saves: Path = Path("runs/watch/saved")
    """Where keys S and V put pictures and films."""
    keep: Path = Path("runs/watch")
    """Where learners trained for watching are kept for the next time; other code trains them again."""

    def __post_init__(self) -> None:
        for flag, names in (("learner", [] if self.learner is None else [self.learner]), ("compare", self.compared)):
            command.require_learners(f"--{flag}", names)
        if self.compare is not None and not self.compared:
            raise SystemExit(f"--compare {self.compare!r}: expected names of learners, such as error-bp,error-dfa")
        if self.protocol not in PROTOCOLS:
            raise SystemExit(f"--protocol {self.protocol}: known are {' '.join(sorted(PROTOCOLS))}")
        if self.seed < 0:
            raise SystemExit(f"--seed {self.seed}: 0 or more is allowed")
        if not SLOWEST <= self.speed <= FASTEST:
            raise SystemExit(f"--speed {self.speed:g}: {SLOWEST:g} to {FASTEST:g} is allowed")
        if not self.png_s >= 0.0:
            raise SystemExit(f"--png-s {self.png_s:g}: 0 or more is allowed")
        for flag, path in (("video", self.video), ("png", self.png)):
            if path is not None and path.is_dir():
                raise SystemExit(f"--{flag} {path}: the name of a file is allowed, and that is a folder")
        if self.video is not None and self.video.suffix not in (".mp4", ".gif"):
            raise SystemExit(f"--video {self.video}: a name that ends in .mp4 or .gif is allowed")
        if self.png is not None and self.png.suffix != ".png":
            raise SystemExit(f"--png {self.png}: a name that ends in .png is allowed")
        if self.compared and (self.learner or self.checkpoint or self.twin):
            raise SystemExit("--compare: leave out --learner, --checkpoint and --twin")
        if len(set(self.compared)) != len(self.compared):
            raise SystemExit(f"--compare {self.compare}: each learner once")
        if self.replay is not None and self.checkpoint is not None:
            raise SystemExit("--replay: leave out --checkpoint")
        # A study that was stopped has the runs that are finished, and no whole table yet.
        if self.replay is not None and not any((self.replay / kept).exists() for kept in ("trials.parquet", "trials")):
            raise SystemExit(f"--replay {self.replay}: there is no such study; a folder of compare.py --out is allowed")
        if not (self.table or self.inside or self.story):
            raise SystemExit("--no-table --no-inside --no-story: one of the three at least is to be shown")
        try:
            layout_of(Panels(), (len(self.compared) or 1) + self.twin, *self.size)
        except ValueError as error:
            raise SystemExit(f"--size {self.size[0]} {self.size[1]}: {error}") from None
        if self.cup is not None:
            try:
                gym.make(BASELINE_ENV).reset(options={"cup": self.cup})
            except ValueError as error:
                raise SystemExit(f"--cup {self.cup[0]:g} {self.cup[1]:g}: {error}") from None
        if self.trial is not None:
            self.first = self.last = self.trial

    @property
    def compared(self) -> list[str]:
        """The learners of --compare."""
        return [] if self.compare is None else split_names(self.compare)


def main(options: Watch) -> None:
    """Get the learners, then show or film them."""
    torch.set_num_threads(1)
    protocol = PROTOCOLS[options.protocol]
    try:
        chosen = indices_of(protocol, options.seed, options.first, options.last)
    except ValueError as error:
        asked = (
            f"--trial {options.trial}"
            if options.trial is not None
            else f"--first {options.first} --last {options.last}"
        )
        raise SystemExit(f"{asked}: {error}") from None
    names = names_of(options)
    window = None
    # Film and window are tried now, not after the learner is trained.
    for flag, path in (("--video", options.video), ("--png", options.png)):
        if path is not None:
            make_folder(path.parent, flag)
    if options.video is None and options.png is None:
        window = Window(*options.size, WINDOW_FRAMES_PER_SECOND, title=f"{', '.join(names)}: {options.protocol}")
        if not window.is_seen:
            raise SystemExit("watch.py: there is no screen to show it on; add --video film.mp4 for a film")
    watching = Watching(
        [(name, model_of(options, name)) for name in names],
        protocol,
        options.seed,
        chosen,
        size=options.size,
        panels=Panels(options.table, options.inside, options.story),
        twin=options.twin,
        wish=Wish(*(None if asked is None else asked == "on" for asked in (options.prism, options.field))),
        learning=options.learning,
        cup=options.cup,
    )
    if window is not None:
        Live(watching, window, options.saves, speed=options.speed).run()
        window.close()
    elif options.png is not None:
        print(f"Picture: {write_png(options.png, picture_at(watching, options.png_s))}")
    if options.video is not None:
        print(f"Film: {write_film(options.video, filmed(watching, options, len(chosen)), FRAMES_PER_SECOND)}")
    if options.replay is not None:
        told_of_replay(options, names, watching)
    print("Compare all learners next:")
    print("  make compare")


def names_of(options: Watch) -> list[str]:
    """The learners to watch."""
    name = options.learner or "error-dfa"
    if options.checkpoint is not None:
        foreign = options.checkpoint.suffix == ".zip"
        name = options.checkpoint.stem if foreign else learner_of(options.checkpoint)
        if options.learner not in (None, name):
            raise SystemExit(f"--learner {options.learner}: {options.checkpoint} holds {name}; leave one of them out")
    return options.compared or [name]


def model_of(options: Watch, name: str) -> Any:
    """A learner, loaded or trained."""
    checkpoint = options.checkpoint
    if options.replay is not None:
        checkpoint, is_present = kept_learner(options.replay, name, options.seed, FACTORIES.values())
        if not is_present:
            print(f"{name} was trained by other versions of the code or of libraries: the trial may differ.")
    if checkpoint is not None and checkpoint.suffix == ".zip":
        return load_zip(checkpoint, gym.make(BASELINE_ENV), trust=options.trust)
    if checkpoint is not None:
        return load_learner(checkpoint, env_for(checkpoint))
    with tqdm(total=100, desc=f"training {name}", unit="%", disable=not sys.stderr.isatty()) as bar:
        # Other code or libraries have another folder, as in a study.
        (training,) = plan([name], {}, [options.seed], factory=FACTORIES[POSTURE], out=options.keep)
        folder = Path(training.folder)
        return prepare(name, options.seed, folder, lambda done: bar.update(round(100 * done) - bar.n) and None)


def picture_at(watching: Watching, time_s: float) -> Any:
    """The picture of a time in the first shown reach, or of its end where it ends before."""
    while watching.step() and not (watching.first.stage == "step" and watching.first.step * CONTROL_STEP_S >= time_s):
        if watching.first.stage == "over":
            break
    frame = watching.frame()
    watching.leave()
    return frame


def filmed(watching: Watching, options: Watch, trials: int) -> Iterator[Any]:
    """The pictures of a film, with a bar of the reaches that are over."""
    with tqdm(total=trials, desc="filming", unit="reach", disable=not sys.stderr.isatty()) as bar:
        yield from frames_of(watching, options.speed, lambda seen: bar.update(seen - bar.n) and None)


def told_of_replay(options: Watch, names: list[str], watching: Watching) -> None:
    """Say whether what was shown is what was recorded, of reaches that were seen to their end."""
    assert options.replay is not None
    only_first = options.png is not None and options.video is None
    for name, course in zip(names, watching.courses, strict=True):
        rows = {row["trial"]: row for row in course.rows if not row["probe"]}
        for trial in range(options.first, (options.first if only_first else options.last) + 1):
            recorded = recorded_row(options.replay, name, course.protocol, options.seed, trial)
            if recorded is None:
                print(f"{name}, trial {trial}: nothing was recorded to compare it with")
            elif trial in rows:
                found = differences(recorded, rows[trial])
                print(f"{name}, trial {trial}: {'; '.join(found) if found else 'as it was recorded'}")


if __name__ == "__main__":
    command.run(main, Watch)
