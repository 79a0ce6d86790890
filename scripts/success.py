"""How often learners grab unperturbed cups after training: `python scripts/success.py --out runs/success`.

Trains every learner with every seed, judges each on fresh trials and prints the interquartile mean of the share of
successes with its bootstrap interval; with `--every`, also after how many trials 80 % were first reached. Every result
is kept as it comes in; the same command goes on where it stopped, and repeats what other code or libraries computed.
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

# The share of successes whose first time `--every` looks for.
WANTED_SHARE = 0.8


@dataclass
class Success:
    """Train learners on unperturbed cups and judge them on fresh trials."""

    out: Path
    """Folder of the results; give the same one again to take up where it stopped."""
    learners: tuple[str, ...] = ("error-bp", "error-fa", "error-dfa", "error-ifa", "error-shallow", "error-stdp")
    """Learners to judge."""
    trials: int = 1000
    """Trials to learn from, for those that learn from trial to trial: error learners and reward-snn."""
    timesteps: int | None = None
    """Control steps to learn from, for the others (default: 1000000 for PPO, 300000 with memory, 150000 for SAC
    and TD3, 50000 for TQC)."""
    seeds: int = 10
    """Seeds of each learner: FIRST_SEED, FIRST_SEED + 1, ..."""
    first_seed: int = 0
    """The first of them; settings that were chosen on some seeds are judged on others."""
    judge: int = 500
    """Fresh trials on which each is judged."""
    every: int | None = None
    """Trials after each of which learners counted in trials are judged on the way, to find when 80 % are reached."""
    env: str | None = None
    """Environment id; without one, each learner's own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks of those taught by reward are; small ones are faster on a processor."""
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = field(default_factory=usable_cores)
    """Processes at a time, one thread each."""

    def __post_init__(self) -> None:
        command.require_learners("--learners", self.learners)
        if not self.learners:
            raise SystemExit("--learners: expected at least one learner")
        for name in ("trials", "timesteps", "seeds", "judge", "jobs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise SystemExit(f"--{name} {getattr(self, name)}: 1 or more is allowed")
        if self.first_seed < 0:
            raise SystemExit(f"--first-seed {self.first_seed}: 0 or more is allowed")
        if self.env is not None and not self.env.strip():
            raise SystemExit(f"--env {self.env!r}: the id of an environment is allowed, such as {BASELINE_ENV}")
        if self.every is not None and self.every < 1:
            raise SystemExit(f"--every {self.every}: 1 or more is allowed")


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
    every: int | None

    @property
    def file(self) -> str:
        """Where its result is kept: a name that says all that was asked for."""
        amount = f"{self.trials}-trials" if self.trials else f"{self.timesteps}-steps"
        judged = f"{self.judge}-judged" + (f"-every-{self.every}" if self.every else "")
        return f"{self.learner}-{self.env.replace('/', '-')}-{amount}-{judged}-{self.seed}.json"


def result(case: Case) -> dict[str, Any]:
    """Train and judge."""
    torch.set_num_threads(1)
    # Weights that fade away are many times slower than nothing at all.
    torch.set_flush_denormal(True)
    began, judging_s = process_time(), 0.0
    settings = {} if case.trials else {"device": case.device}
    model = make_learner(case.learner, make_env(case.env, find(case.learner).env_options), seed=case.seed, **settings)
    first: int | None = None
    if case.trials:
        while case.learner != "none" and model.trials < case.trials:
            left = case.trials - model.trials
            train_trials(model, min(left, case.every or left))
            stopped = process_time()
            if case.every and first is None and judged(model, case) >= WANTED_SHARE:
                first = model.trials
            judging_s += process_time() - stopped
        model.end_baseline()
    else:
        assert case.timesteps is not None
        model.learn(case.timesteps)
    trained_s = process_time() - began - judging_s
    found = {"success": judged(model, case), "steps": int(model.num_timesteps), "training_s": round(trained_s)}
    return asdict(case) | found | ({"first_trials": first} if case.every else {})


def judged(model: Any, case: Case) -> float:
    """Share of successes in fresh trials."""
    return evaluate(model, case.env, trials=case.judge, seed=case.seed)


def cases(given: Success) -> list[Case]:
    """All that is asked for."""
    return [
        Case(
            learner,
            seed,
            given.env or find(learner).env_id,
            given.trials if find(learner).trials else None,
            None if find(learner).trials else given.timesteps or find(learner).steps,
            given.judge,
            given.device,
            given.every if find(learner).trials else None,
        )
        for seed in range(given.first_seed, given.first_seed + given.seeds)
        for learner in given.learners
    ]


def first_time(trials: pd.Series[Any]) -> str:
    """When seeds first reached the wanted share: interquartile mean with its interval, and how many never did."""
    reached = trials.dropna().to_numpy(dtype=np.float64)
    told = []
    if len(reached):
        found = estimate(reached)
        between = "" if np.isnan(found.low) else f" [{found.low:,.0f}, {found.high:,.0f}]"
        told.append(f"after {found.value:,.0f}{between} trials")
    if len(reached) < len(trials):
        told.append(f"never with {len(trials) - len(reached)} of {len(trials)} seeds")
    return ", ".join(told)


def kept_result(path: Path) -> dict[str, Any]:
    """Return the result that a file holds.

    Raises:
        ValueError: it holds none.
    """
    try:
        found = json.loads(path.read_bytes())
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict) or not {"learner", "timesteps", "success", "training_s"} <= set(found):
        raise ValueError(f"{path} holds no result; delete it, and the same command makes it anew")
    return found


def holds(result: dict[str, Any], case: Case, code: str) -> bool:
    """Return whether a result is that of a case, computed by the code and libraries with this hash."""
    return bool((asdict(case) | {"code": code}).items() <= result.items())


def main(given: Success) -> None:
    """Judge in OUT, unless another process writes there."""
    make_folder(given.out, "--out")
    with Store(given.out).only_writer():
        judge_all(given)


def judge_all(given: Success) -> None:
    """Do what is missing, then print and write the table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    wanted = cases(given)
    code = code_digest(FACTORIES[POSTURE], ())
    kept: dict[Case, dict[str, Any]] = {}
    for case in wanted:
        path = given.out / case.file
        if path.exists() and holds(found := kept_result(path), case, code):
            kept[case] = found
    missing = [case for case in wanted if case not in kept]
    with command.workers(given.jobs) as pool:
        running = {pool.submit(result, case): case for case in missing}
        for one in tqdm(as_completed(running), total=len(missing), desc="learners"):
            path = given.out / running[one].file
            kept[running[one]] = one.result() | {"code": code}
            write_file(path, (json.dumps(kept[running[one]], indent=1) + "\n").encode())
    rows = pd.DataFrame([kept[case] for case in wanted])
    write_file(given.out / "success.csv", rows.to_csv(index=False).encode())
    columns = ["success", "95 % interval", "worst seed", "seeds", "minutes a seed"]
    heads = (Column(head, min_width=max(map(len, head.split()))) for head in columns)
    firsts = Column("learner", no_wrap=True), Column("after", min_width=len("1,000,000"))
    table = Table(*firsts, *heads, box=SIMPLE, pad_edge=False, collapse_padding=True)
    for learner in given.learners:
        own = rows[rows["learner"] == learner]
        found = estimate(own["success"].to_numpy(dtype=np.float64))
        learned = find(learner).trials
        after = f"{given.trials:,} trials" if learned else f"{own['timesteps'].iloc[0]:,.0f} steps"
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
    for learner in given.learners if given.every else ():
        if find(learner).trials and learner != "none":
            own = rows[rows["learner"] == learner]
            print(f"{learner}: {100 * WANTED_SHARE:.0f} % first reached {first_time(own['first_trials'])}")
    print(f"Written: {given.out / 'success.csv'}")


if __name__ == "__main__":
    command.run(
        main,
        Success,
        expected=(FolderInUseError,),
        interrupted="Stopped. What is finished is kept: the same command goes on from there.",
    )
