"""Does the jobs of a study: in what order, what is written when, and what is told of it.

Where and how a job runs is left to `Workers`: processes on this machine, or tasks of Ray. Only this process writes
results. A job waits for the job it needs; one whose need has failed is not run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from tqdm import tqdm

from reach.study.engine.jobs import Job, Outcome
from reach.study.engine.ledger import Ledger
from reach.study.engine.processes import Processes
from reach.study.engine.store import State, Store

BAR = "{percentage:3.0f}%|{bar}| {n:.1f}/{total} jobs [{elapsed}<{remaining}]{postfix}"


class Workers(Protocol):
    """Where jobs run. `do` is called from several threads at once and blocks; `close` ends all that runs."""

    def do(self, job: Job) -> Outcome: ...

    def close(self) -> None: ...


# Makes the workers of a study; the second argument is to be told how much of a job is done, 0..1.
MakeWorkers = Callable[[Store, Callable[[Job, float], None]], Workers]


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_this_machine(store: Store, on_progress: Callable[[Job, float], None]) -> Workers:
    """One fresh process a job."""
    return Processes(store.log_path, on_progress)


def run_jobs(
    jobs: Sequence[Job],
    *,
    processes: int,
    workers: Workers,
    on_start: Callable[[Job], None] = lambda job: None,
) -> Iterator[Outcome]:
    """Do all jobs, each as soon as a worker is free and the job it needs is done; yields them as they end.

    A job whose need is not among `jobs` is taken to have it already. The workers are closed in the end.
    """
    if processes < 1:
        raise ValueError(f"processes={processes} must be at least 1")
    waiting = {job.name: job for job in jobs}
    unfinished = set(waiting)
    failed: set[str] = set()
    pool = ThreadPoolExecutor(max_workers=processes)
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            for job in list(waiting.values()):
                if job.needs in failed:
                    del waiting[job.name]
                    unfinished.discard(job.name)
                    failed.add(job.name)
                    yield Outcome(job, error=f"not run: {job.needs} failed", tries=0)
                elif len(running) == processes:
                    break
                elif job.needs not in unfinished:
                    del waiting[job.name]
                    on_start(job)
                    running[pool.submit(workers.do, job)] = job
            if not running:
                if waiting:
                    raise ValueError(f"these jobs wait for each other: {list(waiting)}")
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
    """Return the jobs still to be done: runs and trainings that are damaged or missing.

    A training that is missing is done only if a run that is to be done needs it, or if there are no runs at all.
    """
    return list(_missing(jobs, store))


def _missing(jobs: Sequence[Job], store: Store) -> dict[Job, State]:
    states = {job: store.state(job) for job in jobs}
    needed = {job.needs for job, state in states.items() if state != "done"}
    needed_alone = not any(job.kind == "protocol" for job in jobs)

    def is_missing(job: Job) -> bool:
        needless = job.kind == "train" and job.name not in needed and not needed_alone
        return states[job] == "damaged" or (states[job] == "absent" and not needless)

    missing = [job for job in jobs if is_missing(job)]
    return {job: states[job] for job in sorted(missing, key=lambda job: job.kind != "train")}


def complete(
    jobs: Sequence[Job],
    store: Store,
    *,
    processes: int,
    show: bool = True,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
    workers: MakeWorkers = on_this_machine,
) -> dict[Job, str]:
    """Do what is missing or damaged of a study, write each result as its job ends; return the failures, job -> error.

    The caller holds the store (`Store.only_writer`).

    Args:
        jobs: all of the study, as `reach.study.plan` gives them.
        store: where results are kept.
        processes: jobs at a time.
        show: a progress bar, drawn only on a terminal.
        on_end: called when a job has ended and what it gave, or its error, has been written.
        workers: makes what jobs run on.
    """
    states = _missing(jobs, store)
    for job, state in states.items():
        if state == "damaged":
            store.make_way(job)
    todo = list(states)
    missing = {job.name for job in todo}
    failures: dict[Job, str] = {}
    parts: dict[str, float] = {}
    whole = 0.0
    bar = tqdm(total=len(todo), bar_format=BAR, smoothing=0.0, disable=None if show else True)

    def on_progress(job: Job, done: float) -> None:
        nonlocal whole
        whole += done - parts.get(job.name, 0.0)
        parts[job.name] = done
        bar.n = min(len(todo), whole)
        bar.set_postfix_str(job.title)

    with bar, Ledger(store.ledger_path) as ledger:
        ledger.enter(jobs, {job.name: job.name not in missing for job in jobs})
        if not todo:
            return failures
        outcomes = run_jobs(todo, processes=processes, workers=workers(store, on_progress), on_start=ledger.begun)
        for outcome in outcomes:
            if outcome.error:
                failures[outcome.job] = outcome.error
            store.write_outcome(outcome)
            ledger.ended(outcome)
            on_end(outcome)
            on_progress(outcome.job, 1.0)
    return failures
