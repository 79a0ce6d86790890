"""Runs jobs on this machine: one fresh process a job, as many at once as asked for, one thread each.

A worker that dies (killed, out of memory) is started once more; a learner that raises is recorded with its
traceback and the others go on. Only this process writes results. A job waits for the job it needs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reach.study.jobs import Job
from reach.study.store import Store

WORKER = (sys.executable, "-m", "reach.study.worker")
TRIES = 2  # a worker that dies is started once more
LOG_TAIL_CHARS = 2_000
THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
ONE_THREAD = dict.fromkeys(THREAD_SETTINGS, "1")
BAR = "{percentage:3.0f}%|{bar}| {n:.1f}/{total} jobs [{elapsed}<{remaining}]{postfix}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with rows and films, or with an error text."""

    job: Job
    rows: list[dict[str, Any]] = field(default_factory=list)
    films: dict[str, bytes] = field(default_factory=dict)
    error: str = ""


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """The processes that run now, so that all of them can be ended at once."""

    def __init__(self, log_path: Callable[[Job], Path], on_progress: Callable[[Job, float], None]) -> None:
        self.log_path = log_path
        self.on_progress = on_progress
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.closed = False
        self._lock = threading.Lock()

    def do(self, job: Job) -> Outcome:
        """Run one job to its end in a process of its own."""
        status = 0
        for _ in range(TRIES):
            message, status = self._attempt(job)
            if "error" in message:
                return Outcome(job, error=str(message["error"]))
            if "rows" in message:
                films = {phase: base64.b64decode(data) for phase, data in message["films"].items()}
                return Outcome(job, rows=message["rows"], films=films)
            if self.closed:
                break
            self.on_progress(job, 0.0)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        tail = self.log_path(job).read_text(errors="replace")[-LOG_TAIL_CHARS:]
        return Outcome(job, error=f"the worker died {TRIES} times without an answer (last: {how})\n{tail}")

    def _attempt(self, job: Job) -> tuple[dict[str, Any], int]:
        log_path = self.log_path(job)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        last: dict[str, Any] = {}
        with log_path.open("w") as log:
            with self._lock:
                if self.closed:
                    return last, 0
                process = subprocess.Popen(
                    WORKER,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, **ONE_THREAD, "PYGAME_HIDE_SUPPORT_PROMPT": "1"},
                )
                self.running[job.name] = process
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(job.to_json() + "\n")
                process.stdin.flush()
            for line in process.stdout:
                with suppress(json.JSONDecodeError):  # a line cut short by the worker's death
                    last = json.loads(line)
                    if "progress" in last:
                        self.on_progress(job, last["progress"])
            status = process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            self.running.pop(job.name, None)
        return last, status

    def close(self) -> None:
        """End every process that still runs."""
        with self._lock:
            self.closed = True
            for process in list(self.running.values()):
                with suppress(ProcessLookupError):
                    process.kill()


def run_jobs(
    jobs: Sequence[Job],
    *,
    processes: int,
    log_path: Callable[[Job], Path],
    on_progress: Callable[[Job, float], None] = lambda job, done: None,
) -> Iterator[Outcome]:
    """Do all jobs, each as soon as a process is free and the job it needs is done; yields them as they end.

    A job whose need is not among `jobs` is taken to have it already.
    """
    if processes < 1:
        raise ValueError(f"processes={processes} must be at least 1")
    waiting = list(jobs)
    unfinished = {job.name for job in jobs}
    failed: set[str] = set()
    workers = Workers(log_path, on_progress)
    pool = ThreadPoolExecutor(max_workers=processes)
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            for job in list(waiting):
                if job.needs in failed:
                    waiting.remove(job)
                    unfinished.discard(job.name)
                    failed.add(job.name)
                    yield Outcome(job, error=f"not run: {job.needs} failed")
                elif job.needs not in unfinished and len(running) < processes:
                    waiting.remove(job)
                    running[pool.submit(workers.do, job)] = job
            if not running:
                if waiting:
                    raise ValueError(f"these jobs wait for each other: {[job.name for job in waiting]}")
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda f: running[f].name):
                job = running.pop(future)
                outcome = future.result()
                if outcome.error:
                    failed.add(job.name)
                yield outcome
                unfinished.discard(job.name)
    finally:
        workers.close()
        pool.shutdown(wait=True, cancel_futures=True)


def missing_jobs(jobs: Sequence[Job], store: Store) -> list[Job]:
    """Jobs still to be done: runs that are not there, and the trainings that those need and are not there."""
    runs = [job for job in jobs if job.kind == "protocol" and not store.is_done(job)]
    needed = {job.needs for job in runs}
    asked_alone = not any(job.kind == "protocol" for job in jobs)
    trainings = [
        job for job in jobs if job.kind == "train" and (job.name in needed or asked_alone) and not store.is_done(job)
    ]
    return trainings + runs


def complete(
    jobs: Sequence[Job],
    store: Store,
    *,
    processes: int,
    show: bool = True,
    on_result: Callable[[], None] = lambda: None,
) -> dict[Job, str]:
    """Do what is missing of a study and write each result as its job ends; gives the failures, job -> error.

    The caller holds the store (`Store.only_writer`). show: a progress bar, drawn only on a terminal. on_result: called
    when a run through a protocol has been written.
    """
    todo = missing_jobs(jobs, store)
    failures: dict[Job, str] = {}
    parts: dict[str, float] = {}
    bar = tqdm(total=len(todo), bar_format=BAR, smoothing=0.0, disable=None if show else True)

    def on_progress(job: Job, done: float) -> None:
        parts[job.name] = done
        bar.n = min(len(todo), sum(parts.values()))
        bar.set_postfix_str(job.title)

    with bar:
        for outcome in run_jobs(todo, processes=processes, log_path=store.log_path, on_progress=on_progress):
            if outcome.error:
                failures[outcome.job] = outcome.error
                store.write_error(outcome.job, outcome.error)
            else:
                store.write_result(outcome.job, outcome.rows, outcome.films)
                if outcome.job.kind == "protocol":
                    on_result()
            on_progress(outcome.job, 1.0)
    return failures
