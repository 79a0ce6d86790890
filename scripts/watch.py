"""Watch a learner go through a protocol, live or as a film: `python scripts/watch.py --learner error-dfa`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import torch
import tyro
from tqdm import tqdm

from agents.learner import BASELINE_ENV, LEARNERS, load_learner, prepare
from reach.protocols import PROTOCOLS
from reach.render import Window, write_film
from reach.study.watching import frames_of, indices_of, watch_live

FRAMES_PER_SECOND = 50


@dataclass
class Watch:
    """Watch a learner go through a protocol."""

    learner: str = "error-dfa"
    """One of the named learners; an unknown name lists them."""
    protocol: str = "rotation30"
    """One of the presets; an unknown name lists them."""
    checkpoint: Path | None = None
    """A learner kept by train.py; without one, the named learner is trained on unperturbed cups first."""
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
        if self.learner not in LEARNERS:
            raise SystemExit(f"--learner {self.learner}: known are {' '.join(LEARNERS)}")
        if self.protocol not in PROTOCOLS:
            raise SystemExit(f"--protocol {self.protocol}: known are {' '.join(sorted(PROTOCOLS))}")
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
    if options.checkpoint is not None:
        model = load_learner(options.checkpoint, gym.make(BASELINE_ENV))
    else:
        with tqdm(total=100, desc=f"training {options.learner}", unit="%", disable=not sys.stderr.isatty()) as bar:
            model = prepare(
                options.learner,
                options.seed,
                options.keep / f"{options.learner}-{options.seed}",
                lambda done: bar.update(round(100 * done) - bar.n) and None,
            )
    if options.video is None:
        window = Window(600, 600, FRAMES_PER_SECOND, title=f"{options.learner}, {options.protocol}")
        watch_live(model, protocol, options.seed, chosen, window.show)
        window.close()
    else:
        frames = tqdm(frames_of(model, protocol, options.seed, chosen), desc="filming", disable=not sys.stderr.isatty())
        print(f"Film: {write_film(options.video, frames, FRAMES_PER_SECOND)}")
    print("Compare all learners next:")
    print("  make compare")


if __name__ == "__main__":
    main(tyro.cli(Watch))
