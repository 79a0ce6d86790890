"""Measure the study's engine and store: `benchmark.py study`.

Time per small job as their number grows tenfold, twice; and the time to load a thousand runs of two hundred trials,
from the file of all trials and from the files of single runs.
"""

from __future__ import annotations

import os
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.timing import Options, Row

from reach.perturbations import Rotation
from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, Block, Protocol

FACTORY = "benchmarks.study:prepare"
SMALL = Protocol(
    name="small",
    blocks=(Block(BASELINE, 1, learning=False), Block(PERTURBED, 1, (Rotation(30.0),), learning=False)),
    source="made for this benchmark",
)
PROTOCOLS.setdefault(SMALL.name, SMALL)  # workers import this module and so know it too
NUMBERS_OF_JOBS, PROCESSES = (10, 100, 1_000), 2
RUNS, TRIALS = 1_000, 200
RANDOM_COLUMNS = (
    *("launch_error_deg", "endpoint_error_cm", "time_to_success_s", "reward", "duration_s"),
    "unlearned_launch_error_deg",
)


class Still:
    """A learner that always commands one posture."""

    def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, Any]:
        return np.array([0.2, 0.3, 0.0, 0.9], dtype=np.float32), state


def prepare(learner: str, seed: int, folder: Path, on_progress: Callable[[float], object] | None = None) -> Still:
    """Return a learner for the engine, saved as an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Still()


def small_jobs(count: int) -> tuple[float, float]:
    """Do `count` small jobs and write their tables; return the mean wall and CPU time of a job, s."""
    from reach.study import Store, complete, plan
    from reach.study.engine.scheduler import Throttle

    with tempfile.TemporaryDirectory(prefix="reach-study-") as folder:
        store = Store(Path(folder))
        # A training and a run for each seed.
        jobs = plan(["still"], {SMALL.name: SMALL}, range(count // 2), factory=FACTORY, out=store.folder)
        write_tables = Throttle(lambda: store.write_tables(jobs))
        began = time.perf_counter()
        with store.only_writer():
            failures = complete(jobs, store, processes=PROCESSES, on_end=lambda _: write_tables())
            store.write_tables(jobs)
        wall = time.perf_counter() - began
        if failures:
            raise RuntimeError(next(iter(failures.values())))
        return wall / count, float(store.read_jobs()["cpu_seconds"].mean())


def loading() -> dict[str, tuple[float, str]]:
    """Measure the seconds to load RUNS runs of TRIALS trials, the best of three; return name -> value and unit."""
    from reach.study import Outcome, Store, load, plan
    from reach.study.engine.jobs import JobTable

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="reach-study-") as folder:
        store = Store(Path(folder))
        planned = plan(["still"], {SMALL.name: SMALL}, range(RUNS), factory=FACTORY, out=store.folder)
        jobs = [job for job in planned if job.kind == "protocol"]
        began = time.perf_counter()
        for job in jobs:
            store.write_outcome(Outcome(job, rows=made_up_trials(rng)))
        wrote = time.perf_counter() - began
        JobTable(store.jobs_path, jobs, {job.name for job in jobs})
        from_runs = min(timeit.repeat(lambda: load(store.folder), number=1, repeat=3))
        store.write_tables(jobs)
        from_one = min(timeit.repeat(lambda: load(store.folder), number=1, repeat=3))
        assert len(load(store.folder)) == RUNS * TRIALS
    return {
        f"write a run of {TRIALS} trials": (1000.0 * wrote / RUNS, "ms"),
        f"load {RUNS:,} runs of {TRIALS} trials, as one file": (from_one, "s"),
        f"load {RUNS:,} runs of {TRIALS} trials, a file each": (from_runs, "s"),
    }


def made_up_trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return rows as a run returns them, with random numbers."""
    always = {"block": "perturbed", "probe": False, "cup_x": 0.1, "cup_y": 0.5}
    always |= {"success": True, "attempts": 1, "tipped": False}
    numbers = rng.normal(size=(TRIALS, len(RANDOM_COLUMNS)))
    return [
        {"trial": k, "trial_in_block": k, **always, **dict(zip(RANDOM_COLUMNS, values, strict=True))}
        for k, values in enumerate(numbers.tolist(), start=1)
    ]


def measure(options: Options) -> list[Row]:
    """Measure all, each once; the options have no effect."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    values = loading()
    for count in NUMBERS_OF_JOBS:
        wall, cpu = small_jobs(count)
        values[f"{count} small jobs, wall"] = wall, "s per job"
        values[f"{count} small jobs, CPU of workers"] = cpu, "s per job"
    nothing = {"peer": None, "ratio": None}
    return [{"name": name, "value": round(value, 4), "unit": unit, **nothing} for name, (value, unit) in values.items()]
