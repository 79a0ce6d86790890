"""Train a learner and keep it: `python scripts/train.py --learner error-dfa --out runs/dfa`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import gymnasium as gym
import torch
import tyro
from rich.console import Console

from agents.error_learner import ErrorLearner
from agents.learner import LEARNERS, evaluate, load_learner, make_learner, train_trials


@dataclass
class Train:
    """Train a learner, judge it on fresh trials and keep it."""

    out: Path
    """Folder of the checkpoint."""
    learner: str = "error-dfa"
    """One of the named learners; an unknown name lists them."""
    env: str = "reach/CupGrab-v0"
    """Environment id."""
    trials: int | None = None
    """Trials to learn from (default 1000 for the error learners)."""
    timesteps: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Control steps to learn from instead of trials (default 1000000 for reward-ppo)."""
    seed: int = 0
    """Of weights and trials."""
    resume: bool = False
    """Go on with the learner that OUT holds."""
    judge: int = 200
    """Fresh trials, with other seeds, on which it is judged at the end; 0 for none."""
    tensorboard: Path | None = None
    """Folder for TensorBoard."""

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise SystemExit(f"--learner {self.learner}: known are {' '.join(LEARNERS)}")
        if self.trials is not None and self.timesteps is not None:
            raise SystemExit("--trials and --timesteps exclude each other")
        for name, value in (("--trials", self.trials), ("--timesteps", self.timesteps)):
            if value is not None and value < 1:
                raise SystemExit(f"{name} {value}: 1 or more is allowed")
        if self.out.exists() and not self.resume:
            raise SystemExit(f"--out {self.out} exists; give another folder, or --resume to go on with it")


def main(options: Train) -> None:
    """Make or load, learn, keep, judge."""
    torch.set_num_threads(1)
    env = gym.make(options.env)
    settings = {"tensorboard_log": str(options.tensorboard)} if options.tensorboard else {}
    model = (
        load_learner(options.out, env, **settings)
        if options.resume
        else make_learner(options.learner, env, seed=options.seed, **settings)
    )
    by_trial = isinstance(model, ErrorLearner)
    bar = sys.stdout.isatty()
    if options.timesteps is not None or (options.trials is None and not by_trial):
        model.learn(options.timesteps or 1_000_000, progress_bar=bar, reset_num_timesteps=not options.resume)
    else:
        train_trials(model, options.trials or 1000, progress_bar=bar)
    if isinstance(model, ErrorLearner):
        model.settle_expectation()
    model.save(options.out)
    console = Console()
    console.print(f"Kept in {options.out}")
    if options.judge:
        share = evaluate(model, options.env, trials=options.judge, seed=options.seed)
        console.print(
            f"{options.learner} succeeds in {100 * share:.1f} % of {options.judge} fresh trials of {options.env}"
        )
    console.print("Watch it:")
    console.print(f"  python scripts/watch.py --learner {options.learner} --checkpoint {shlex.quote(str(options.out))}")


if __name__ == "__main__":
    main(tyro.cli(Train))
