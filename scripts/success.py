"""Measure how often trained learners grab unperturbed cups: `python scripts/success.py --out runs/success`.

Each learner is trained with each seed and judged on new trials. The table has the interquartile mean of the success
rates with a bootstrap interval. With `--points` learners are also judged during the training, and a second table has
their success rates by the amount of training. Results are saved one by one. The same command continues after an
interruption, and repeats results of other code or libraries.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import process_time
from typing import Annotated, Any, Literal

import command
import numpy as np
import pandas as pd
import torch
import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

from agents.learner import evaluate, make_env, make_learner, train_trials
from agents.registry import BASELINE_ENV, FACTORIES, POSTURE, find
from reach.files import make_folder, write_file
from reach.study import FolderInUseError, Store, usable_cores
from reach.study.engine.jobs import code_digest
from reach.study.statistics import estimate


@dataclass
class Success:
    """Measure how often trained learners succeed without a perturbation. To list the learners, give --list alone."""

    out: Path
    """Folder for the results. If it has results of the same command, the command continues."""
    learners: tuple[str, ...] = ("error-bp", "error-fa", "error-dfa", "error-ifa", "error-shallow", "error-stdp")
    """Names of the learners."""
    trials: int = 1000
    """Number of training trials of error learners and reward-snn."""
    timesteps: int | None = None
    """Number of training control steps of all other learners.
    If not given: 200000 for PPO, 300000 for PPO with LSTM, 150000 for SAC and TD3, 50000 for TQC."""
    seeds: int = 10
    """Number of seeds: FIRST_SEED, FIRST_SEED + 1, ..."""
    first_seed: int = 0
    """First seed. Evaluate settings on seeds other than those on which they were chosen."""
    judge: int = 500
    """Number of new trials in an evaluation."""
    points: int = 1
    """Number of evaluations, evenly spaced over the training; the last one is at its end."""
    env: str | None = None
    """Id of the environment. If not given: the usual one of each learner."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of networks that learn from reward. Small networks are faster on a CPU."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Number of processes, with one thread each."""

    def __post_init__(self) -> None:
        command.require_learners("--learners", self.learners)
        if not self.learners:
            raise SystemExit("--learners: expected at least one learner")
        self.learners = tuple(dict.fromkeys(self.learners))
        command.require_at_least(1, self, "trials", "timesteps", "seeds", "judge", "points", "jobs")
        command.require_at_least(0, self, "first_seed")
        if self.points > self.trials:
            raise SystemExit(f"--points {self.points}: expected at most as many as --trials {self.trials}")
        if self.env is not None and not self.env.strip():
            raise SystemExit(f"--env {self.env!r}: expected the id of an environment, such as {BASELINE_ENV}")


@dataclass(frozen=True)
class Case:
    """One learner with one seed."""

    learner: str
    seed: int
    env: str
    trials: int | None
    timesteps: int | None
    judge: int
    device: str
    points: int

    @property
    def file(self) -> str:
        """Return the name of the file of its result, which holds all settings."""
        amount = f"{self.trials}-trials" if self.trials else f"{self.timesteps}-steps"
        judged = f"{self.judge}-judged" + (f"-{self.points}-points" if self.points > 1 else "")
        return f"{self.learner}-{self.env.replace('/', '-')}-{amount}-{judged}-{self.seed}.json"

    @property
    def amounts(self) -> list[int]:
        """Return the trials, or control steps, of training after which the learner is judged."""
        whole = self.trials or self.timesteps or 0
        return [round(whole * point / self.points) for point in range(1, self.points + 1)]


def result(case: Case) -> dict[str, Any]:
    """Train and judge a learner; its `curve` has its success rate after each of the case's amounts of training."""
    torch.set_num_threads(1)
    # Weights that decay to denormal numbers would slow the training down many times.
    torch.set_flush_denormal(True)
    training_s = 0.0
    settings = {} if case.trials else {"device": case.device}
    env = make_env(case.env, find(case.learner).env_options)
    model = make_learner(case.learner, env, seed=case.seed, **settings)

    curve = []
    for amount in case.amounts:
        began = process_time()
        if case.timesteps and model.num_timesteps < amount:  # PPO collects whole rollouts
            model.learn(amount - model.num_timesteps, reset_num_timesteps=False)
        elif case.trials and case.learner != "none":
            train_trials(model, amount - model.trials)
            if amount == case.trials:
                model.end_baseline()
        training_s += process_time() - began
        curve.append(evaluate(model, case.env, trials=case.judge, seed=case.seed))
    measured = {"success": curve[-1], "steps": int(model.num_timesteps), "training_s": round(training_s)}
    return asdict(case) | measured | {"curve": curve}


def cases(options: Success) -> list[Case]:
    """Return all learners with all seeds."""
    all_cases = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.learners:
            learner = find(name)
            by_trials, by_steps = (options.trials, None), (None, options.timesteps or learner.steps)
            trials, timesteps = by_trials if learner.trials else by_steps
            env = options.env or learner.env_id
            all_cases.append(Case(name, seed, env, trials, timesteps, options.judge, options.device, options.points))
    return all_cases


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        ValueError: the file holds none.
    """
    try:
        stored = json.loads(path.read_bytes())
    except (RecursionError, ValueError):
        stored = None
    if not isinstance(stored, dict) or not {"learner", "timesteps", "success", "training_s", "curve"} <= set(stored):
        raise ValueError(f"{path} holds no result; delete it, and the same command computes it again")
    return stored


def main(options: Success) -> None:
    """Judge all and write to OUT, which no other process may write to."""
    make_folder(options.out, "--out")
    with Store(options.out).only_writer():
        judge_all(options)


def judge_all(options: Success) -> None:
    """Compute missing results, then print and write the table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    all_cases = cases(options)
    code = code_digest(FACTORIES[POSTURE], ())
    results: dict[Case, dict[str, Any]] = {}
    for case in all_cases:
        path = options.out / case.file
        identity = asdict(case) | {"code": code}  # of the code and libraries that compute the result
        if path.exists() and identity.items() <= (stored := read_result(path)).items():
            results[case] = stored
    missing = [case for case in all_cases if case not in results]
    with command.workers(options.jobs) as pool:
        running = {pool.submit(result, case): case for case in missing}
        for future in tqdm(as_completed(running), total=len(missing), desc="learners"):
            case = running[future]
            results[case] = future.result() | {"code": code}
            write_file(options.out / case.file, (json.dumps(results[case], indent=1) + "\n").encode())
    rows = pd.DataFrame([results[case] for case in all_cases])
    write_file(options.out / "success.csv", rows.drop(columns="curve").to_csv(index=False).encode())
    curves = pd.DataFrame(
        {"learner": case.learner, "seed": case.seed, "after": after, "success": success}
        for case in all_cases
        for after, success in zip(case.amounts, results[case]["curve"], strict=True)
    )
    write_file(options.out / "curves.csv", curves.to_csv(index=False).encode())
    columns = ["success", "95 % interval", "worst seed", "seeds", "minutes a seed"]
    heads = (Column(head, min_width=max(map(len, head.split()))) for head in columns)
    firsts = Column("learner", no_wrap=True), Column("after", min_width=len("1,000,000"))
    table = Table(*firsts, *heads, box=SIMPLE, pad_edge=False, collapse_padding=True)
    for learner in options.learners:
        seeds = rows[rows["learner"] == learner]
        mean = estimate(seeds["success"].to_numpy(dtype=np.float64))
        by_trials = find(learner).trials
        after = f"{options.trials:,} trials" if by_trials else f"{seeds['timesteps'].iloc[0]:,.0f} steps"
        interval = "" if np.isnan(mean.low) else f"{100 * mean.low:.1f} to {100 * mean.high:.1f}"
        worst, minutes = f"{100 * seeds['success'].min():.1f} %", f"{seeds['training_s'].mean() / 60:.1f}"
        table.add_row(learner, after, f"{100 * mean.value:.1f} %", interval, worst, str(len(seeds)), minutes)
    Console().print(table)
    if options.points > 1:
        Console().print(curve_table(curves, options))
    print(f"Written: {options.out / 'success.csv'}, curves.csv")


def curve_table(curves: pd.DataFrame, options: Success) -> Table:
    """Return the table of success rates, interquartile means over seeds, by the share of the training."""
    shares = [f"{100 * point / options.points:.0f} %" for point in range(1, options.points + 1)]
    heads = (Column(share, justify="right", no_wrap=True) for share in shares)
    title = "Success, %, after this share of the training"
    table = Table(Column("learner", no_wrap=True), *heads, title=title, box=SIMPLE, collapse_padding=True)
    for learner in options.learners:
        by_seed = curves[curves["learner"] == learner].groupby("after")["success"]
        table.add_row(learner, *(f"{100 * estimate(rates.to_numpy(np.float64)).value:.0f}" for _, rates in by_seed))
    return table


if __name__ == "__main__":
    command.run(
        main,
        Success,
        expected=(FolderInUseError,),
        interrupted="Stopped. Finished results are saved; the same command continues.",
    )
