"""Train a learner and save it: `python scripts/train.py --learner error-dfa --out runs/dfa`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import command
import torch
import tyro
from rich.console import Console
from tqdm import tqdm

from agents.checkpoint import holds_checkpoint
from agents.learner import (
    LONGEST_TRIAL_STEPS,
    PeriodicCheckpoint,
    env_for,
    env_named_in,
    evaluate,
    learner_of,
    load_learner,
    make_env,
    make_learner,
    train_trials,
    trained_in,
)
from agents.registry import BASELINE_ENV, find
from agents.trial_learner import TrialLearner
from reach import OWN_PREFIX
from reach.files import make_folder

# Control steps of one `learn` of a learner from reward: a multiple of PPO's rollout.
STRETCH_STEPS = 10_240


@dataclass
class Train:
    """Train a learner, judge it on fresh trials and save it. With --list alone, print the learners."""

    out: Path
    """Folder of the checkpoint."""
    learner: str | None = None
    """Name of the learner, with settings if you like, such as error-mlp-bp,rate=0.5 (default: error-dfa; with --resume
    the one in OUT)."""
    env: str | None = None
    """Environment id (default: the one for which the learner is made; with --resume the one that OUT was trained
    in)."""
    control: Literal["posture", "torque", "muscle"] | None = None
    """Control of the joints (default: posture; with --resume that of OUT)."""
    trials: int | None = None
    """Trials to learn from, in all (default: 1000 for the error learners, 2000 with a fixed read-out, 5000 for
    reward-snn)."""
    timesteps: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Control steps to learn from, in all, instead of trials (default: 1000000 for PPO, 300000 for PPO with LSTM,
    150000 for SAC and TD3, 50000 for TQC)."""
    seed: int | None = None
    """Seed of weights and trials (default: 0; with --resume that of OUT)."""
    resume: bool = False
    """Continue the training that OUT holds, to as many trials or steps in all; without OUT, start it. The result is
    that of an uninterrupted run."""
    keep_every_s: float = 20.0
    """Seconds between two checkpoints; a run that is killed continues from the last one with --resume."""
    judge: int = 200
    """Fresh trials, with other seeds, on which the learner is judged at the end; 0 for none."""
    tensorboard: Path | None = None
    """Folder for TensorBoard."""

    def __post_init__(self) -> None:
        if self.learner is not None:
            command.require_learners("--learner", [self.learner])
        if self.trials is not None and self.timesteps is not None:
            raise SystemExit("--trials and --timesteps exclude each other")
        if self.trials is not None and self.learner is not None and not find(self.learner).trials:
            raise SystemExit(f"--trials {self.trials}: expected --timesteps with {self.learner}")
        for name, value in (("--trials", self.trials), ("--timesteps", self.timesteps)):
            if value is not None and value < 1:
                raise SystemExit(f"{name} {value}: expected 1 or more")
        if self.env is not None and not self.env.strip():
            raise SystemExit(f"--env {self.env!r}: expected the id of an environment, such as {BASELINE_ENV}")
        for name, value in (("--seed", self.seed), ("--judge", self.judge)):
            if value is not None and value < 0:
                raise SystemExit(f"{name} {value}: expected 0 or more")
        if not self.keep_every_s >= 0.0:
            raise SystemExit(f"--keep-every-s {self.keep_every_s}: expected 0 or more")
        if not self.resume and (self.out.exists() or holds_checkpoint(self.out)):
            raise SystemExit(f"--out {self.out} exists; give another folder, or --resume to continue its training")


def make_or_load(options: Train) -> Any:
    """Return the learner, new or from OUT."""
    settings = {"tensorboard_log": str(options.tensorboard)} if options.tensorboard else {}
    is_new = not options.out.exists() and not holds_checkpoint(options.out)
    if options.resume and is_new:
        print(f"{options.out} holds no checkpoint yet; the run starts from the beginning")
    if not options.resume or is_new:
        name = options.learner or "error-dfa"
        known = find(name)
        env_options = dict(known.env_options) | ({"control": options.control} if options.control else {})
        env = make_env(options.env or known.env_id, env_options)
        return make_learner(name, env, seed=options.seed or 0, **settings)
    stored = learner_of(options.out)
    if options.learner not in (None, stored):
        raise SystemExit(f"--learner {options.learner}: {options.out} holds {stored}; leave --learner out")
    if options.trials is not None and not find(stored).trials:
        raise SystemExit(f"--trials {options.trials}: {options.out} holds {stored}; expected --timesteps")
    env = env_for(options.out, options.env)
    env_id = env_named_in(options.out)
    if env.spec is None or env.spec.id != env_id.removeprefix(OWN_PREFIX):
        raise SystemExit(f"--env {options.env}: {options.out} was trained in {env_id!r}; leave --env out")
    if options.control not in (None, env.get_wrapper_attr("control")):
        raise SystemExit(f"--control {options.control}: {options.out} was trained with another; leave --control out")
    model = load_learner(options.out, env, resume=True, **settings)
    if options.seed not in (None, model.seed):
        raise SystemExit(f"--seed {options.seed}: {options.out} has the seed {model.seed}; leave --seed out")
    require_no_fewer(model, options)
    return model


def require_no_fewer(model: Any, options: Train) -> None:
    """Check that the learner has not learned from more trials or steps already."""
    if options.trials is not None and options.trials < model.trials:
        trials = f"{options.out} holds {model.trials} already"
        raise SystemExit(f"--trials {options.trials}: {trials}; expected as many or more")
    # Training ends with a trial or a rollout, a little beyond the steps that were asked for.
    beyond = LONGEST_TRIAL_STEPS if isinstance(model, TrialLearner) else STRETCH_STEPS
    if options.timesteps is not None and options.timesteps + beyond <= model.num_timesteps:
        steps = f"{options.out} holds {model.num_timesteps} already"
        raise SystemExit(f"--timesteps {options.timesteps}: {steps}; expected as many or more")


def learn(model: Any, options: Train, checkpoint: PeriodicCheckpoint) -> None:
    """Learn what is left of the trials or steps."""
    bar = sys.stdout.isatty()
    if not isinstance(model, TrialLearner):
        learn_in_stretches(model, options, checkpoint)
    elif options.timesteps is not None:
        left = options.timesteps - model.num_timesteps
        if left > 0:
            model.learn(left, callback=checkpoint, progress_bar=bar, reset_num_timesteps=False)
    else:
        left = (options.trials or find(model.config["learner"]).trials) - model.trials
        if left > 0:
            train_trials(model, left, callbacks=[checkpoint], progress_bar=bar)


def learn_in_stretches(model: Any, options: Train, checkpoint: PeriodicCheckpoint) -> None:
    """Let a learner from reward learn in stretches, whose ends do not depend on when it was stopped."""
    total = options.timesteps or find(model.name).steps
    with tqdm(total=total, initial=model.num_timesteps, unit="step", disable=not sys.stdout.isatty()) as bar:
        while model.num_timesteps < total and checkpoint.stopped_by is None:
            end = min(model.stretch_start + STRETCH_STEPS, total)
            model.learn(end - model.num_timesteps, callback=checkpoint, reset_num_timesteps=False)
            bar.update(model.num_timesteps - bar.n)
            checkpoint.save_when_due(model)


def main(options: Train) -> None:
    """Make or load, learn, save, judge."""
    torch.set_num_threads(1)
    # Now, not after hours of learning.
    make_folder(options.out.parent, "--out")
    if options.tensorboard is not None:
        make_folder(options.tensorboard, "--tensorboard")
    model = make_or_load(options)
    checkpoint = PeriodicCheckpoint(options.out, options.keep_every_s)
    with checkpoint.stopped_by_signals():
        learn(model, options, checkpoint)
    console = Console()
    if checkpoint.stopped_by is not None:
        again = sys.argv if options.resume else [*sys.argv, "--resume"]
        message = f"Stopped. What was learned is saved in {options.out}; continue with\n  python {shlex.join(again)}"
        print(message, file=sys.stderr)
        raise SystemExit(128 + checkpoint.stopped_by)
    if isinstance(model, TrialLearner):
        model.end_baseline()
    model.save(options.out)
    name = learner_of(options.out)
    console.print(f"Saved in {options.out}")
    if options.judge:
        env_id = options.env or trained_in(options.out)
        share = evaluate(model, env_id, trials=options.judge, seed=model.seed)
        console.print(f"{name} succeeds in {100 * share:.1f} % of {options.judge} fresh trials of {env_id}")
    console.print("Watch it:")
    console.print(f"  python scripts/watch.py --checkpoint {shlex.quote(str(options.out))}")


if __name__ == "__main__":
    command.run(main, Train)
