"""Measure the study's engine and store: `benchmark.py study`.

Time per small job as their number grows tenfold, twice; and the time to load a thousand runs of two hundred trials,
from the file of all trials and from the files of single runs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reach.perturbations import Rotation
from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, Block, Protocol

FACTORY = "benchmarks.study:prepare"
SMALL = Protocol(
    name="small",
    blocks=(Block(BASELINE, 1, learning=False), Block(PERTURBED, 1, (Rotation(30.0),), learning=False)),
    source="made for this benchmark",
)
PROTOCOLS.setdefault(SMALL.name, SMALL)  # workers import this module and so know it too
RUNS, TRIALS = 1_000, 200


class Still:
    """A learner that always commands one posture."""

    def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, Any]:
        return np.array([0.2, 0.3, 0.0, 0.9], dtype=np.float32), state


def prepare(learner: str, seed: int, folder: Path, on_progress: Callable[[float], None] | None = None) -> Still:
    """Return a learner for the engine, saved as an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Still()


def row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "unit": unit, "peer": None, "ratio": None}


def growth(most: int, processes: int) -> list[dict[str, Any]]:
    """Measure the seconds per job for 10, 100, ... jobs."""
    rows, count = [], 10
    while count <= most:
        wall, cpu = small_jobs(count, processes)
        rows.append(row(f"{count} small jobs, wall", wall / count, "s per job"))
        rows.append(row(f"{count} small jobs, CPU of workers", cpu, "s per job"))
        count *= 10
    return rows


def small_jobs(count: int, processes: int) -> tuple[float, float]:
    """Do `count` small jobs and write their tables; return wall time and mean CPU time of a job, s."""
    from reach.study import Store, complete, plan
    from reach.study.engine.scheduler import Throttle

    with tempfile.TemporaryDirectory(prefix="reach-study-") as folder:
        store = Store(Path(folder))
        # A training and a run for each seed.
        jobs = plan(["still"], {SMALL.name: SMALL}, range(count // 2), factory=FACTORY, out=store.folder)
        write_tables = Throttle(lambda: store.write_tables(jobs))
        began = time.perf_counter()
        with store.only_writer():
            failures = complete(jobs, store, processes=processes, on_end=lambda _: write_tables())
            store.write_tables(jobs)
        wall = time.perf_counter() - began
        if failures:
            raise RuntimeError(next(iter(failures.values())))
        return wall, float(store.read_jobs()["cpu_seconds"].mean())


def loading() -> list[dict[str, Any]]:
    """Measure the seconds to load RUNS runs of TRIALS trials, the best of three."""
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
        with JobTable(store.jobs_path) as table:
            table.enter(jobs, dict.fromkeys((job.name for job in jobs), True))
        from_runs = min(timed(lambda: load(store.folder)) for _ in range(3))
        store.write_tables(jobs)
        from_one = min(timed(lambda: load(store.folder)) for _ in range(3))
        assert len(load(store.folder)) == RUNS * TRIALS
    return [
        row(f"write a run of {TRIALS} trials", 1000.0 * wrote / RUNS, "ms"),
        row(f"load {RUNS:,} runs of {TRIALS} trials, as one file", from_one, "s"),
        row(f"load {RUNS:,} runs of {TRIALS} trials, a file each", from_runs, "s"),
    ]


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def made_up_trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return rows as a run returns them, with random numbers."""
    numbers = rng.normal(size=(TRIALS, 6))
    return [
        {
            "trial": k + 1,
            "block": "perturbed",
            "trial_in_block": k + 1,
            "probe": False,
            "cup_x": 0.1,
            "cup_y": 0.5,
            "launch_error_deg": values[0],
            "endpoint_error_cm": values[1],
            "time_to_success_s": values[2],
            "success": True,
            "attempts": 1,
            "tipped": False,
            "reward": values[3],
            "duration_s": values[4],
            "unlearned_launch_error_deg": values[5],
        }
        for k, values in enumerate(numbers.tolist())
    ]


def study(most: int = 1_000, processes: int = 2) -> list[dict[str, Any]]:
    """Measure all; return rows of name, value, unit, peer, ratio."""
    here = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    if here not in sys.path:
        sys.path.insert(0, here)
    return [*loading(), *growth(most, processes)]
