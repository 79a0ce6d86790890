"""Watch a learner go through a protocol, live or as a film: `python scripts/watch.py --learner error-dfa`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import torch
import tyro
from tqdm import tqdm

from agents.foreign import load_zip
from agents.learner import BASELINE_ENV, LEARNERS, env_for, is_learner, learner_of, load_learner, prepare
from reach.protocols import PROTOCOLS
from reach.render import Window, write_film
from reach.study.watching import frames_of, indices_of, watch_live

FRAMES_PER_SECOND = 50


@dataclass
class Watch:
    """Watch a learner go through a protocol."""

    learner: str | None = None
    """One of the named learners, error-dfa without a word; with --checkpoint it is the one kept there."""
    protocol: str = "rotation30"
    """One of the presets; an unknown name lists them."""
    checkpoint: Path | None = None
    """A learner kept by train.py, or a zip file of Stable-Baselines3; without one, the named learner is trained on
    unperturbed cups first."""
    trust: bool = False
    """Run the code that a zip file may hold; without it only its tensors are read."""
    seed: int = 0
    """Of the learner and of the protocol."""
    first: int = 17
    """Number of the first reach to show; those before it are run unseen."""
    last: int = 40
    """Number of the last reach to show."""
    video: Path | None = None
    """Film (.mp4 or .gif) to write instead of opening a window; no display is needed."""
    keep: Path = Path("runs/watch")
    """Where learners trained for watching are kept for the next time."""

    def __post_init__(self) -> None:
        if self.learner is not None and not is_learner(self.learner):
            raise SystemExit(f"--learner {self.learner}: known are {' '.join(LEARNERS)}")
        if self.protocol not in PROTOCOLS:
            raise SystemExit(f"--protocol {self.protocol}: known are {' '.join(sorted(PROTOCOLS))}")
        if self.seed < 0:
            raise SystemExit(f"--seed {self.seed}: 0 or more is allowed")
        if self.video is not None and self.video.suffix not in (".mp4", ".gif"):
            raise SystemExit(f"--video {self.video}: a name that ends in .mp4 or .gif is allowed")


def main(options: Watch) -> None:
    """Get the learner, then show or film it."""
    torch.set_num_threads(1)
    protocol = PROTOCOLS[options.protocol]
    try:
        chosen = indices_of(protocol, options.seed, options.first, options.last)
    except ValueError as error:
        raise SystemExit(f"--first {options.first} --last {options.last}: {error}") from None
    name = options.learner or "error-dfa"
    foreign = options.checkpoint is not None and options.checkpoint.suffix == ".zip"
    if options.checkpoint is not None:
        name = options.checkpoint.stem if foreign else learner_of(options.checkpoint)
        if options.learner not in (None, name):
            raise SystemExit(f"--learner {options.learner}: {options.checkpoint} holds {name}; leave one of them out")
    # Film and window are tried now, not after the learner is trained.
    film, window = options.video, None
    if film is not None:
        film.parent.mkdir(parents=True, exist_ok=True)
    else:
        window = Window(600, 600, FRAMES_PER_SECOND, title=f"{name}, {options.protocol}")
        if not window.is_seen:
            raise SystemExit("watch.py: there is no screen to show it on; add --video film.mp4 for a film")
    if options.checkpoint is not None and foreign:
        model = load_zip(options.checkpoint, gym.make(BASELINE_ENV), trust=options.trust)
    elif options.checkpoint is not None:
        model = load_learner(options.checkpoint, env_for(options.checkpoint))
    else:
        with tqdm(total=100, desc=f"training {name}", unit="%", disable=not sys.stderr.isatty()) as bar:
            model = prepare(
                name,
                options.seed,
                options.keep / f"{name}-{options.seed}",
                lambda done: bar.update(round(100 * done) - bar.n) and None,
            )
    if film is None:
        assert window is not None
        watch_live(model, protocol, options.seed, chosen, window.show)
        window.close()
    else:
        frames = tqdm(frames_of(model, protocol, options.seed, chosen), desc="filming", disable=not sys.stderr.isatty())
        print(f"Film: {write_film(film, frames, FRAMES_PER_SECOND)}")
    print("Compare all learners next:")
    print("  make compare")


if __name__ == "__main__":
    try:
        main(tyro.cli(Watch))
    except (OSError, ValueError) as error:
        sys.exit(f"watch.py: {error}")
