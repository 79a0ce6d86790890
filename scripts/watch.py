"""Watch learners in a protocol, in a window or as a film: `python scripts/watch.py --learner error-dfa`.

In a window, press H to see the keys. Every key has a flag, for films.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import command
import gymnasium as gym
import torch
from tqdm import tqdm

from agents.learner import env_for, learner_of, load_learner, load_zip, prepare
from agents.registry import BASELINE_ENV, FACTORIES, POSTURE, split_names
from reach.files import make_folder
from reach.protocols import PROTOCOLS
from reach.render import Panels, Window, write_film
from reach.render.film import write_png
from reach.render.panels import layout_of
from reach.sim.layout import CONTROL_STEP_S
from reach.study import plan
from reach.study.watch.live import FILM_FPS, LiveSession
from reach.study.watch.session import (
    FASTEST,
    SLOWEST,
    WatchSession,
    differences,
    film_frames,
    recorded_row,
    trained_learner,
    trial_indices,
)
from reach.study.watch.stepper import Overrides

WINDOW_FPS = 60


@dataclass
class Watch:
    """Watch one or more learners in a protocol, in a window or as a film or picture.

    In the window, press H to see the keys. To list the learners, give --list alone.
    """

    learner: str | None = None
    """Name of the learner. If not given: error-dfa, or the learner in --checkpoint."""
    compare: str | None = None
    """Names of learners to show side by side, with the same cups and noise: error-bp,error-dfa,error-stdp."""
    protocol: str = "rotation30"
    """Name of a preset protocol. An unknown name prints the list."""
    checkpoint: Path | None = None
    """Folder written by train.py, or zip file of a Stable-Baselines3 model.
    If not given, the learner is trained first, without a perturbation."""
    trust: bool = False
    """Unpickle the zip file, which can run any code in it. Without this flag, only its tensors are read."""
    replay: Path | None = None
    """Folder of a comparison (compare.py --out).
    Its trained learner is loaded, and the reaches are checked against the recorded ones."""
    seed: int = 0
    """Seed of the learner and of the protocol (cups and noise)."""
    first: int = 17
    """Number of the first reach to show. Earlier reaches run without a picture."""
    last: int = 40
    """Number of the last reach to show."""
    trial: int | None = None
    """Number of the only reach to show, instead of --first and --last."""
    twin: bool = False
    """Show the same reach without its perturbation beside each reach."""
    table: bool = True
    """Show the table with arm and cup."""
    network: bool = True
    """Show the network: activities or spikes, and the path of the error to the synapses."""
    errors: bool = True
    """Show the launch errors of all trials so far."""
    size: tuple[int, int] = (1280, 720)
    """Width and height of the picture, pixels."""
    speed: float = 1.0
    """Playback speed, 0.125 to 32. 1 is real time. (Keys: up and down)"""
    prism: Literal["on", "off"] | None = None
    """Switch a prism (6 cm) on or off in all reaches. If not given, the protocol decides. (Key: P)"""
    field: Literal["on", "off"] | None = None
    """Switch a curl field (13 N s/m) on or off in all reaches. If not given, the protocol decides. (Key: F)"""
    learning: bool = True
    """Let the learners learn. (Key: L)"""
    cup: tuple[float, float] | None = None
    """Position of the cup at the start of each shown reach, x and y in m. In the window, drag the cup."""
    video: Path | None = None
    """Write a film (.mp4 or .gif) instead of opening a window. Needs no display. (Key: V)"""
    png: Path | None = None
    """Write a picture (.png) instead of opening a window. Needs no display. (Key: S)"""
    png_s: float = 0.7
    """Time in the first shown reach at which the --png picture is taken, s."""
    save_folder: Path = Path("runs/watch/saved")
    """Folder for pictures and films that the keys S and V save."""
    keep: Path = Path("runs/watch")
    """Folder that caches the learners trained by this script. After a change of the code they are trained again."""

    def __post_init__(self) -> None:
        for flag, names in (("learner", [] if self.learner is None else [self.learner]), ("compare", self.compared)):
            command.require_learners(f"--{flag}", names)
        if self.compare is not None and not self.compared:
            raise SystemExit(f"--compare: expected names of learners, such as error-bp,error-dfa, got {self.compare!r}")
        command.require_preset(self.protocol)
        command.require_at_least(0, self, "seed", "png_s")
        if not SLOWEST <= self.speed <= FASTEST:
            raise SystemExit(f"--speed: expected {SLOWEST:g} to {FASTEST:g}, got {self.speed:g}")
        for flag, path, suffixes in (("video", self.video, (".mp4", ".gif")), ("png", self.png, (".png",))):
            if path is not None and (path.suffix not in suffixes or path.is_dir()):
                raise SystemExit(f"--{flag}: expected a file name that ends in {' or '.join(suffixes)}, got {path}")
        if self.compared and (self.learner or self.checkpoint or self.twin):
            raise SystemExit("--compare: expected no --learner, --checkpoint or --twin with it, got one of them")
        if len(set(self.compared)) != len(self.compared):
            raise SystemExit(f"--compare: expected each learner once, got {self.compare}")
        if self.replay is not None and self.checkpoint is not None:
            raise SystemExit("--replay: expected no --checkpoint with it, got both")
        # An interrupted study has the folder of finished runs, but no table yet.
        if self.replay is not None and not any((self.replay / name).exists() for name in ("trials.parquet", "trials")):
            raise SystemExit(f"--replay: expected a folder written by compare.py --out, got {self.replay}")
        if not (self.table or self.network or self.errors):
            raise SystemExit("--no-table --no-network --no-errors: expected at most two of these, got all three")
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
        """Return the names in --compare."""
        return [] if self.compare is None else split_names(self.compare)


def main(options: Watch) -> None:
    """Load or train the learners, then show or film them."""
    torch.set_num_threads(1)
    protocol = PROTOCOLS[options.protocol]
    try:
        chosen = trial_indices(protocol, options.seed, options.first, options.last)
    except ValueError as error:
        flags = "--first and --last" if options.trial is None else "--trial"
        raise SystemExit(f"{flags}: {error}") from None
    names, window = names_of(options), None
    # Fail before the learner is trained, not after.
    for flag, path in (("--video", options.video), ("--png", options.png)):
        if path is not None:
            make_folder(path.parent, flag)
    if options.video is None and options.png is None:
        window = Window(*options.size, WINDOW_FPS, title=f"{', '.join(names)}: {options.protocol}")
        if not window.is_visible:
            raise SystemExit("watch.py: expected a display, found none; add --video film.mp4 to write a film")
    session = WatchSession(
        [(name, model_of(options, name)) for name in names],
        protocol,
        options.seed,
        chosen,
        size=options.size,
        panels=Panels(options.table, options.network, options.errors),
        twin=options.twin,
        overrides=Overrides(*(None if switch is None else switch == "on" for switch in (options.prism, options.field))),
        learning=options.learning,
        cup=options.cup,
    )
    if window is not None:
        LiveSession(session, window, options.save_folder, speed=options.speed).run()
        window.close()
    elif options.png is not None:
        print(f"Picture: {write_png(options.png, picture_at(session, options.png_s))}")
    if options.video is not None:
        with tqdm(total=len(chosen), desc="filming", unit="reach", disable=not sys.stderr.isatty()) as bar:
            frames = film_frames(session, options.speed, lambda done: bar.update(done - bar.n))
            path = write_film(options.video, frames, FILM_FPS)
        print(f"Film: {path}")
    if options.replay is not None:
        print_replay(options, names, session)
    print("Compare all learners next:")
    print("  make compare")


def names_of(options: Watch) -> list[str]:
    """Return the names of the learners to watch."""
    name = options.learner or "error-dfa"
    if options.checkpoint is not None:
        is_zip = options.checkpoint.suffix == ".zip"
        name = options.checkpoint.stem if is_zip else learner_of(options.checkpoint)
        if options.learner not in (None, name):
            raise SystemExit(f"--learner: expected {name}, the learner in --checkpoint, got {options.learner}")
    return options.compared or [name]


def model_of(options: Watch, name: str) -> Any:
    """Return a learner, loaded or trained."""
    checkpoint = options.checkpoint
    if options.replay is not None:
        checkpoint, is_present = trained_learner(options.replay, name, options.seed, FACTORIES.values())
        if not is_present:
            print(f"{name} was trained by another version of the code or of a library: reaches may differ.")
    if checkpoint is not None and checkpoint.suffix == ".zip":
        return load_zip(checkpoint, gym.make(BASELINE_ENV), trust=options.trust)
    if checkpoint is not None:
        return load_learner(checkpoint, env_for(checkpoint))
    with tqdm(total=100, desc=f"training {name}", unit="%", disable=not sys.stderr.isatty()) as bar:
        # Another version of the code or of a library gets another folder, as in a study.
        (training,) = plan([name], {}, [options.seed], factory=FACTORIES[POSTURE], out=options.keep)
        return prepare(name, options.seed, Path(training.folder), lambda done: bar.update(round(100 * done) - bar.n))


def picture_at(session: WatchSession, time_s: float) -> Any:
    """Return the picture of a time in the first shown reach, or of its end if it ends before."""
    first = session.first
    while session.step() and first.stage != "over":
        if first.stage == "step" and first.step * CONTROL_STEP_S >= time_s:
            break
    frame = session.frame()
    session.leave()
    return frame


def print_replay(options: Watch, names: list[str], session: WatchSession) -> None:
    """Print whether the finished reaches are identical to the recorded ones."""
    assert options.replay is not None
    only_first = options.png is not None and options.video is None
    for name, stepper in zip(names, session.steppers, strict=True):
        rows = {row["trial"]: row for row in stepper.rows if not row["probe"]}
        for trial in range(options.first, (options.first if only_first else options.last) + 1):
            recorded = recorded_row(options.replay, name, stepper.protocol, options.seed, trial)
            if recorded is None:
                print(f"{name}, trial {trial}: not recorded in {options.replay}")
            elif trial in rows:
                result = "; ".join(differences(recorded, rows[trial])) or "identical to the recorded one"
                print(f"{name}, trial {trial}: {result}")


if __name__ == "__main__":
    command.run(main, Watch)
