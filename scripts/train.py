"""Train a learner and keep it: `python scripts/train.py --learner error-dfa --out runs/dfa`."""

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
    BASELINE_ENV,
    LEARNERS,
    LONGEST_TRIAL_STEPS,
    Keep,
    baseline_steps,
    baseline_trials,
    env_for,
    env_id_of,
    env_named_in,
    env_options,
    evaluate,
    is_learner,
    is_trial_learner,
    learner_of,
    load_learner,
    make_env,
    make_learner,
    train_trials,
    trained_in,
)
from agents.trial_learner import TrialLearner
from reach import OWN_PREFIX
from reach.files import make_folder

# Of a learner from reward; a whole number of PPO's rollouts.
STRETCH_STEPS = 10_240


@dataclass
class Train:
    """Train a learner, judge it on fresh trials and keep it."""

    out: Path
    """Folder of the checkpoint."""
    learner: str | None = None
    """Name of the learner (default: error-dfa; with --resume the one in OUT)."""
    env: str | None = None
    """Environment id (default: the one that the learner is made for; with --resume the one that OUT was trained in)."""
    control: Literal["posture", "torque", "muscle"] | None = None
    """What the joints are commanded by (default: posture; with --resume what OUT was trained with)."""
    trials: int | None = None
    """Trials to learn from in all (default 1000 for the error learners, 2000 where the name ends in -hidden, 5000 for
    reward-snn)."""
    timesteps: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Control steps to learn from, in all, instead of trials (default 1000000 for PPO, 300000 with
    memory, 150000 for SAC and TD3, 50000 for TQC)."""
    seed: int | None = None
    """Seed of weights and trials (default: 0; with --resume that of OUT)."""
    resume: bool = False
    """Go on with the learner that OUT holds, to as many trials or steps in all: the same command ends the same run.
    If there is no OUT yet, the run starts from the beginning."""
    keep_every_s: float = 20.0
    """Seconds of learning after which the learner is saved; one that is killed goes on from there with --resume."""
    judge: int = 200
    """Fresh trials, with other seeds, on which it is judged at the end; 0 for none."""
    tensorboard: Path | None = None
    """Folder for TensorBoard."""

    def __post_init__(self) -> None:
        if self.learner is not None and not is_learner(self.learner):
            raise SystemExit(f"--learner {self.learner}: known are {' '.join(LEARNERS)}")
        if self.trials is not None and self.timesteps is not None:
            raise SystemExit("--trials and --timesteps exclude each other")
        if self.trials is not None and self.learner is not None and not is_trial_learner(self.learner):
            raise SystemExit(f"--trials {self.trials}: with {self.learner} --timesteps is allowed")
        for name, value in (("--trials", self.trials), ("--timesteps", self.timesteps)):
            if value is not None and value < 1:
                raise SystemExit(f"{name} {value}: 1 or more is allowed")
        if self.env is not None and not self.env.strip():
            raise SystemExit(f"--env {self.env!r}: the id of an environment is allowed, such as {BASELINE_ENV}")
        for name, value in (("--seed", self.seed), ("--judge", self.judge)):
            if value is not None and value < 0:
                raise SystemExit(f"{name} {value}: 0 or more is allowed")
        if not self.keep_every_s >= 0.0:
            raise SystemExit(f"--keep-every-s {self.keep_every_s}: 0 or more is allowed")
        if not self.resume and (self.out.exists() or holds_checkpoint(self.out)):
            raise SystemExit(f"--out {self.out} exists; give another folder, or --resume to go on with it")


def made(options: Train) -> Any:
    """The learner, new or as OUT holds it."""
    settings = {"tensorboard_log": str(options.tensorboard)} if options.tensorboard else {}
    absent = not options.out.exists() and not holds_checkpoint(options.out)
    if options.resume and absent:
        print(f"{options.out} holds no checkpoint yet; the run starts from the beginning")
    if not options.resume or absent:
        name = options.learner or "error-dfa"
        given = env_options(name) | ({"control": options.control} if options.control else {})
        return make_learner(name, make_env(options.env or env_id_of(name), given), seed=options.seed or 0, **settings)
    held = learner_of(options.out)
    if options.learner not in (None, held):
        raise SystemExit(f"--learner {options.learner}: {options.out} holds {held}; leave it out to go on with that")
    if options.trials is not None and not is_trial_learner(held):
        raise SystemExit(f"--trials {options.trials}: with {held}, which {options.out} holds, --timesteps is allowed")
    env = env_for(options.out, options.env)
    named = env_named_in(options.out)
    if env.spec is None or env.spec.id != named.removeprefix(OWN_PREFIX):
        raise SystemExit(f"--env {options.env}: {options.out} was trained in {named!r}; leave it out")
    if options.control not in (None, env.get_wrapper_attr("control")):
        raise SystemExit(f"--control {options.control}: {options.out} was trained with another; leave it out")
    model = load_learner(options.out, env, resume=True, **settings)
    if options.seed not in (None, model.seed):
        raise SystemExit(f"--seed {options.seed}: {options.out} has the seed {model.seed}; leave it out")
    require_no_fewer(model, options)
    return model


def require_no_fewer(model: Any, options: Train) -> None:
    """Refuse fewer trials or steps than the learner has learned from already."""
    if options.trials is not None and options.trials < model.trials:
        raise SystemExit(
            f"--trials {options.trials}: {options.out} holds {model.trials} already; as many or more are allowed"
        )
    # Steps end with a trial or a stretch, and so a little beyond those that were asked for.
    beyond = LONGEST_TRIAL_STEPS if isinstance(model, TrialLearner) else STRETCH_STEPS
    if options.timesteps is not None and options.timesteps + beyond <= model.num_timesteps:
        held = f"{options.out} holds {model.num_timesteps} already"
        raise SystemExit(f"--timesteps {options.timesteps}: {held}; as many or more are allowed")


def learn(model: Any, options: Train, keep: Keep) -> None:
    """Learn what is left of the trials or steps."""
    bar = sys.stdout.isatty()
    if not isinstance(model, TrialLearner):
        learn_in_stretches(model, options, keep)
    elif options.timesteps is not None:
        if options.timesteps > model.num_timesteps:
            left = options.timesteps - model.num_timesteps
            model.learn(left, callback=keep, progress_bar=bar, reset_num_timesteps=False)
    else:
        left = (options.trials or baseline_trials(model.config["learner"])) - model.trials
        if left > 0:
            train_trials(model, left, callbacks=[keep], progress_bar=bar)


def learn_in_stretches(model: Any, options: Train, keep: Keep) -> None:
    """Let a learner from reward learn in stretches, whose ends do not depend on when it was stopped."""
    wanted = options.timesteps or baseline_steps(model.name)
    with tqdm(total=wanted, initial=model.num_timesteps, unit="step", disable=not sys.stdout.isatty()) as bar:
        while model.num_timesteps < wanted and keep.stopped is None:
            end = min(model.stretch_start + STRETCH_STEPS, wanted)
            model.learn(end - model.num_timesteps, callback=keep, reset_num_timesteps=False)
            bar.update(model.num_timesteps - bar.n)
            keep.keep_when_due(model)


def main(options: Train) -> None:
    """Make or load, learn, keep, judge."""
    torch.set_num_threads(1)
    # Now, not after hours of learning.
    make_folder(options.out.parent, "--out")
    if options.tensorboard is not None:
        make_folder(options.tensorboard, "--tensorboard")
    model = made(options)
    keep = Keep(options.out, options.keep_every_s)
    with keep.asked_by_signals():
        learn(model, options, keep)
    console = Console()
    if keep.stopped is not None:
        again = sys.argv if options.resume else [*sys.argv, "--resume"]
        said = f"Stopped. What was learned is kept in {options.out}; go on with\n  python {shlex.join(again)}"
        print(said, file=sys.stderr)
        raise SystemExit(128 + keep.stopped)
    if isinstance(model, TrialLearner):
        model.settle_baseline()
    model.save(options.out)
    name = learner_of(options.out)
    console.print(f"Kept in {options.out}")
    if options.judge:
        env_id = options.env or trained_in(options.out)
        share = evaluate(model, env_id, trials=options.judge, seed=model.seed)
        console.print(f"{name} succeeds in {100 * share:.1f} % of {options.judge} fresh trials of {env_id}")
    console.print("Watch it:")
    console.print(f"  python scripts/watch.py --checkpoint {shlex.quote(str(options.out))}")


if __name__ == "__main__":
    command.run(main, Train)
