"""How often learners grab unperturbed cups after training: `python scripts/success.py --out runs/success`.

Trains every learner with every seed, judges each on fresh trials and prints the interquartile mean of the share of
successes with its bootstrap interval. Every result is kept as it comes in; the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import process_time
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
import tyro
from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

from agents.error_networks import is_error_learner
from agents.learner import LEARNERS, env_id_of, env_options, evaluate, is_learner, make_learner, train_trials
from reach.study import usable_cores
from reach.study.statistics import estimate


@dataclass
class Success:
    """Train learners on unperturbed cups and judge them on fresh trials."""

    out: Path
    """Folder of the results; give the same one again to take up where it stopped."""
    learners: tuple[str, ...] = ("error-bp", "error-fa", "error-dfa", "error-ifa", "error-shallow", "error-stdp")
    """Learners to judge."""
    trials: int = 1000
    """Trials to learn from, for those taught by their seen error."""
    timesteps: int = 1_000_000
    """Control steps to learn from, for those taught by reward."""
    seeds: int = 10
    """Seeds of each learner: 0, 1, ..."""
    judge: int = 500
    """Fresh trials on which each is judged."""
    env: str | None = None
    """Environment id; without one, each learner's own."""
    device: str = "auto"
    """Where the networks of those taught by reward are: cpu, cuda, or auto; small ones are faster on a processor."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Processes at a time, one thread each."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.learners if not is_learner(name)]
        if unknown or not self.learners:
            raise SystemExit(f"--learners {' '.join(unknown) or '(none)'}: known are {' '.join(LEARNERS)}")
        for name in ("trials", "timesteps", "seeds", "judge", "jobs"):
            if getattr(self, name) < 1:
                raise SystemExit(f"--{name} {getattr(self, name)}: 1 or more is allowed")


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

    @property
    def file(self) -> str:
        """Where its result is kept: a name that says all that was asked for."""
        amount = f"{self.trials}-trials" if self.trials else f"{self.timesteps}-steps"
        return f"{self.learner}-{self.env.replace('/', '-')}-{amount}-{self.judge}-judged-{self.seed}.json"


def result(case: Case) -> dict[str, Any]:
    """Train and judge."""
    torch.set_num_threads(1)
    # Weights that fade away are many times slower than nothing at all.
    torch.set_flush_denormal(True)
    began = process_time()
    settings = {} if case.trials else {"device": case.device}
    model = make_learner(case.learner, gym.make(case.env, **env_options(case.learner)), seed=case.seed, **settings)
    if case.trials:
        if case.learner != "none":
            train_trials(model, case.trials)
            model.settle_baseline()
    else:
        assert case.timesteps is not None
        model.learn(case.timesteps)
    trained = process_time()
    share = evaluate(model, case.env, trials=case.judge, seed=case.seed)
    return asdict(case) | {"success": share, "steps": int(model.num_timesteps), "training_s": round(trained - began)}


def cases(given: Success) -> list[Case]:
    """All that is asked for."""
    return [
        Case(
            learner,
            seed,
            given.env or env_id_of(learner),
            given.trials if is_error_learner(learner) else None,
            None if is_error_learner(learner) else given.timesteps,
            given.judge,
            given.device,
        )
        for seed in range(given.seeds)
        for learner in given.learners
    ]


def main(given: Success) -> None:
    """Do what is missing, then print and write the table."""
    given.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    wanted = cases(given)
    missing = [case for case in wanted if not (given.out / case.file).exists()]
    with ProcessPoolExecutor(given.jobs) as pool:
        running = {pool.submit(result, case): case for case in missing}
        for one in tqdm(as_completed(running), total=len(missing), desc="learners"):
            path = given.out / running[one].file
            part = path.with_suffix(".part")
            part.write_text(json.dumps(one.result(), indent=1) + "\n")
            part.rename(path)
    rows = pd.DataFrame([json.loads((given.out / case.file).read_text()) for case in wanted])
    rows.to_csv(given.out / "success.csv", index=False)
    table = Table(
        Column("learner", no_wrap=True), "after", "success", "95 % interval", "worst seed", "seeds", "minutes a seed"
    )
    for learner in given.learners:
        own = rows[rows["learner"] == learner]
        found = estimate(own["success"].to_numpy(dtype=np.float64))
        after = f"{given.trials:,} trials" if is_error_learner(learner) else f"{given.timesteps:,} steps"
        table.add_row(
            learner,
            after,
            f"{100 * found.value:.1f} %",
            "" if np.isnan(found.low) else f"{100 * found.low:.1f} to {100 * found.high:.1f}",
            f"{100 * own['success'].min():.1f} %",
            str(len(own)),
            f"{own['training_s'].mean() / 60:.1f}",
        )
    Console().print(table)
    print(f"Written: {given.out / 'success.csv'}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Success))
    except KeyboardInterrupt:
        sys.exit("Stopped. What is finished is kept: the same command goes on from there.")
    except (gym.error.Error, OSError, ValueError) as error:
        sys.exit(f"success.py: {error}")
