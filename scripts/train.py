"""Train a learner and save it: `python scripts/train.py --learner error-dfa --out runs/dfa`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import command
import gymnasium as gym
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
STRETCH_STEPS = 12_288


@dataclass
class Train:
    """Train a learner, evaluate it on new trials and save it. To list the learners, give --list alone."""

    out: Path
    """Folder for the checkpoint."""
    learner: str | None = None
    """Name of the learner. Settings may follow it: error-mlp-bp,rate=0.5.
    If not given: error-dfa, or with --resume the learner in OUT."""
    env: str | None = None
    """Id of the environment.
    If not given: the usual one of the learner, or with --resume that of OUT."""
    control: Literal["posture", "torque", "muscle"] | None = None
    """Control of the joints. If not given: posture, or with --resume that of OUT."""
    trials: int | None = None
    """Total number of training trials.
    If not given: 1000 for error learners, 2000 if their name ends in -hidden, 5000 for reward-snn."""
    timesteps: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Total number of control steps, instead of --trials.
    If not given: 200000 for PPO, 300000 for PPO with LSTM, 150000 for SAC and TD3, 50000 for TQC."""
    seed: int | None = None
    """Seed of weights and trials. If not given: 0, or with --resume that of OUT."""
    resume: bool = False
    """Continue the training in OUT up to the total number of trials or steps, or start it if OUT does not exist.
    The result is that of an uninterrupted run."""
    keep_every_s: float = 20.0
    """Time between checkpoints, s. After a kill, --resume continues from the last one."""
    judge: int = 200
    """Number of new trials, with other seeds, for the evaluation at the end. 0: no evaluation."""
    tensorboard: Path | None = None
    """Folder for TensorBoard logs."""

    def __post_init__(self) -> None:
        if self.learner is not None:
            command.require_learners("--learner", [self.learner])
        if self.trials is not None and self.timesteps is not None:
            raise SystemExit("--trials: expected no --timesteps with it, got both")
        if self.trials is not None and self.learner is not None and not find(self.learner).trials:
            raise SystemExit(f"--trials: expected --timesteps instead with {self.learner}, got {self.trials}")
        command.require_at_least(1, self, "trials", "timesteps")
        command.require_at_least(0, self, "seed", "judge", "keep_every_s")
        if self.env is not None and not self.env.strip():
            raise SystemExit(f"--env {self.env!r}: expected the id of an environment, such as {BASELINE_ENV}")
        if self.out.is_file():
            raise SystemExit(f"--out: expected a folder, got the file {self.out}")
        if not self.resume and (self.out.exists() or holds_checkpoint(self.out)):
            raise SystemExit(f"--out: expected a new folder, or --resume to continue a training, got {self.out}")


def make_or_load(options: Train) -> Any:
    """Return the learner, new or from OUT."""
    settings = {"tensorboard_log": str(options.tensorboard)} if options.tensorboard else {}
    is_new = not options.out.exists() and not holds_checkpoint(options.out)
    if options.resume and is_new:
        print(f"{options.out} holds no checkpoint yet; the run starts from the beginning")
    if not options.resume or is_new:
        name = options.learner or "error-dfa"
        learner = find(name)
        env_options = dict(learner.env_options) | ({"control": options.control} if options.control else {})
        try:
            env = make_env(options.env or learner.env_id, env_options)
        except (gym.error.Error, ValueError) as error:
            raise SystemExit(f"--env {options.env or learner.env_id}: {error}") from None
        return make_learner(name, env, seed=options.seed or 0, **settings)
    stored = learner_of(options.out)
    require_stored("learner", stored, options)
    if options.trials is not None and not find(stored).trials:
        raise SystemExit(f"--trials: expected --timesteps instead with {stored}, the learner in {options.out}")
    env = env_for(options.out, options.env)
    env_id = env_named_in(options.out)
    if env.spec is None or env.spec.id != env_id.removeprefix(OWN_PREFIX):
        require_stored("env", env_id, options)
    require_stored("control", env.get_wrapper_attr("control"), options)
    model = load_learner(options.out, env, resume=True, **settings)
    require_stored("seed", model.seed, options)
    # Training ends with a trial or a rollout, a little beyond the steps that were asked for.
    beyond = LONGEST_TRIAL_STEPS if isinstance(model, TrialLearner) else STRETCH_STEPS
    for flag, done, most in (("trials", getattr(model, "trials", 0), 1), ("timesteps", model.num_timesteps, beyond)):
        value = getattr(options, flag)
        if value is not None and value + most <= done:
            raise SystemExit(f"--{flag}: expected {done} or more, which {options.out} has learned from, got {value}")
    return model


def require_stored(flag: str, stored: Any, options: Train) -> None:
    """End the process with a message if a flag says otherwise than the checkpoint that is resumed."""
    value = getattr(options, flag)
    if value not in (None, stored):
        raise SystemExit(f"--{flag}: expected {stored}, as in {options.out}, or no --{flag}, got {value}")


def learn(model: Any, options: Train, checkpoint: PeriodicCheckpoint) -> None:
    """Learn what is left of the trials or steps."""
    bar = sys.stdout.isatty()
    if isinstance(model, TrialLearner):
        if options.timesteps is not None:
            left = options.timesteps - model.num_timesteps
            if left > 0:
                model.learn(left, callback=checkpoint, progress_bar=bar, reset_num_timesteps=False)
        elif (left := (options.trials or find(model.config["learner"]).trials) - model.trials) > 0:
            train_trials(model, left, callbacks=[checkpoint], progress_bar=bar)
        return
    # In stretches, whose ends do not depend on when the training was stopped.
    total = options.timesteps or find(model.name).steps
    with tqdm(total=total, initial=model.num_timesteps, unit="step", disable=not bar) as progress:
        while model.num_timesteps < total and checkpoint.stopped_by is None:
            end = min(model.stretch_start + STRETCH_STEPS, total)
            model.learn(end - model.num_timesteps, callback=checkpoint, reset_num_timesteps=False)
            progress.update(model.num_timesteps - progress.n)
            if recent := model.ep_success_buffer:
                success = f"success {sum(recent) / len(recent):.0%} of the last {len(recent)} trials"
                progress.set_postfix_str(success)
                if not bar:
                    print(f"{model.num_timesteps:,} steps: {success}", flush=True)
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
        console.print(f"{name} succeeds in {100 * share:.1f} % of {options.judge} new trials of {env_id}")
    console.print("Watch it:")
    console.print(f"  python scripts/watch.py --checkpoint {shlex.quote(str(options.out))}")


if __name__ == "__main__":
    command.run(main, Train)
