"""Run the jobs of a study in order, and write their results.

Jobs run on `Workers`: processes on this machine, or Ray tasks. Only this process writes results. A job waits for the
job that it needs, and is not run if that job has failed. During a study, combined results are written from time to time
(`Throttle`), and TensorBoard curves as jobs end.

On this machine each job has its own process with one thread (`Processes`). On Linux the processes are forked from a
server that has imported the learners. On other systems, and if the server has threads, each job gets a new interpreter,
which takes seconds longer and gives the same bytes. A worker that dies (killed, out of memory) is started once more; a
worker that raises an error reports its traceback. `reach.study.engine.worker` documents the messages.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from tqdm import tqdm

from reach.files import replace_by_empty
from reach.study.engine.formats import trials_frame
from reach.study.engine.jobs import Job, JobTable, Outcome, outcome_of, parts_of
from reach.study.engine.store import State, Store, whose_of
from reach.study.engine.worker import READY
from reach.study.measures import per_seed

WORKER = (sys.executable, "-m", "reach.study.engine.worker")
TRIES = 2  # a worker that dies is started once more
LOG_TAIL_CHARS = 2_000
# Environment variables of every worker.
SETTINGS = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")}
SETTINGS |= {"VECLIB_MAXIMUM_THREADS": "1", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}


class ForkServer:
    """A process that has imported modules and forks workers.

    Attributes:
        process: the server.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the server.

        Raises:
            OSError: the server did not start, or has threads and cannot be forked.
        """
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            none, command = subprocess.DEVNULL, (*WORKER, *modules)
            self.process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=none, stderr=none, env=environment)
        if self._socket.recv(len(READY)) != READY:
            self.close()
            raise OSError(
                "server of workers: expected a process without threads, which can fork, got none, or one with threads"
            )

    def fork(self, connection: socket.socket, log: IO[Any]) -> None:
        """Fork a worker that reads its job from `connection` and prints to `log`.

        Raises:
            OSError: the server has ended.
        """
        socket.send_fds(self._socket, [b"f"], [connection.fileno(), log.fileno()])

    def close(self) -> None:
        """End the server; running workers continue until their connection closes."""
        self._socket.close()
        self.process.kill()
        self.process.wait()


class Processes:
    """The workers of a study on this machine.

    Attributes:
        forks: whether workers are forked; without a server, each worker is a new interpreter.
        server: the server that forks workers; None before it is started.
    """

    def __init__(
        self,
        log_path: Callable[[Job], Path],
        on_progress: Callable[[Job, float], None] = lambda job, done: None,
        *,
        fork: bool = True,
    ) -> None:
        self._log_path = log_path
        self._on_progress = on_progress
        self.forks = fork and sys.platform == "linux"
        self.server: ForkServer | None = None
        self._running: dict[str, socket.socket] = {}  # name of the job -> connection to its worker
        self._closed = False
        self._lock = threading.Lock()

    def do(self, job: Job) -> Outcome:
        """Run one job to its end in a separate process."""
        status = 0
        for tries in range(1, TRIES + 1):
            began = time.monotonic()
            message, status = self._attempt(job)
            if "error" in message or "rows" in message:
                spent = {"cpu_seconds": message["cpu_seconds"], "wall_seconds": time.monotonic() - began}
                return outcome_of(job, message, tries=tries, **spent)
            if self._closed:
                break
            self._on_progress(job, 0.0)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        tail = self._log_path(job).read_text(errors="replace")[-LOG_TAIL_CHARS:]
        text = f"the worker died {TRIES} times without an answer (last: {how})\n{tail}"
        return Outcome(job, error=text, tries=TRIES)

    def _attempt(self, job: Job) -> tuple[dict[str, Any], int]:
        """Run one job; return the worker's last message and its exit status, which is negative for a signal."""
        last: dict[str, Any] = {}
        status: int | None = None
        connection, theirs = socket.socketpair()
        with theirs, os.fdopen(replace_by_empty(self._log_path(job)), "w") as log, self._lock:
            if self._closed:
                connection.close()
                return last, 0
            process = self._start(job, theirs, log)
            server = self.server
            self._running[job.name] = connection
        with suppress(ConnectionError), connection.makefile("r", encoding="utf-8") as lines:
            connection.sendall(f"{job.to_json()}\n".encode())
            for line in lines:
                with suppress(json.JSONDecodeError):  # a line truncated by the worker's death
                    message = json.loads(line)
                    if "exit" in message:
                        status = message["exit"]
                        break
                    last = message
                    if "done" in message:
                        self._on_progress(job, message["done"])
        with self._lock:
            self._running.pop(job.name).close()
            if process is None and status is None and self.server is server:
                # The server was killed and could report no status. It may take a moment to end, and would accept jobs.
                self._end_server()
        if process is not None:
            return last, process.wait()
        return last, -signal.SIGKILL if status is None else status

    def _start(self, job: Job, connection: socket.socket, log: IO[Any]) -> subprocess.Popen[bytes] | None:
        """Start a worker; return its process, or None if it was forked."""
        environment = os.environ | SETTINGS
        for _ in range(2 if self.forks else 0):  # a server that has died is replaced once
            try:
                if self.server is None:
                    self.server = ForkServer(parts_of(job.factory)[:1], environment)
                self.server.fork(connection, log)
                return None
            except OSError:
                self._end_server()
        self.forks = False
        return subprocess.Popen(WORKER, stdin=connection.fileno(), stdout=log, stderr=log, env=environment)

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def close(self) -> None:
        """End all running processes."""
        with self._lock:
            self._closed = True
            for connection in self._running.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            self._end_server()


BAR = "{percentage:3.0f}%|{bar}| {n:.1f}/{total} jobs [{elapsed}<{remaining}]{postfix}"


class Workers(Protocol):
    """The interface of workers. `do` blocks and is called from several threads; `close` ends all running jobs."""

    def do(self, job: Job) -> Outcome: ...

    def close(self) -> None: ...


# Makes the workers of a study, which call the second argument with the share of a job that is done, 0 to 1.
MakeWorkers = Callable[[Store, Callable[[Job, float], None]], Workers]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_this_machine(store: Store, on_progress: Callable[[Job, float], None]) -> Workers:
    """Return workers that run each job in a new process on this machine."""
    return Processes(store.log_path, on_progress)


def run_jobs(
    jobs: Sequence[Job],
    *,
    processes: int,
    workers: Workers,
    on_start: Callable[[Job], None] = lambda job: None,
) -> Iterator[Outcome]:
    """Run each job as soon as a worker is free and the job that it needs is done; yield outcomes as jobs end.

    A needed job that is not in `jobs` counts as done. The workers are closed at the end.

    Raises:
        ValueError: `processes` is below 1, or jobs need each other.
    """
    if processes < 1:
        raise ValueError(f"processes: expected at least 1, got {processes}")
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
                    raise ValueError(f"jobs: expected an order in which they can run, got a cycle: {list(waiting)}")
                break
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(ended, key=lambda f: running[f].name):
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
    """Return the jobs to do: runs and trainings that are damaged or missing.

    A missing training is included only if a run to do needs it, or if there are no runs.
    """
    return list(_states_of_missing(jobs, store))


def _states_of_missing(jobs: Sequence[Job], store: Store) -> dict[Job, State]:
    """Return the jobs to do, trainings first, each with its state, "absent" or "damaged"."""
    states = {job: store.state(job) for job in jobs}
    needed = {job.needs for job, state in states.items() if state != "done"}
    trainings_only = all(job.kind == "train" for job in jobs)

    def is_missing(job: Job) -> bool:
        is_needed = job.kind == "protocol" or job.name in needed or trainings_only
        return states[job] == "damaged" or (states[job] == "absent" and is_needed)

    missing = sorted(filter(is_missing, jobs), key=lambda job: job.kind != "train")
    return {job: states[job] for job in missing}


def complete(
    jobs: Sequence[Job],
    store: Store,
    *,
    processes: int,
    show: bool = True,
    on_end: Callable[[Outcome], None] = lambda outcome: None,
    workers: MakeWorkers = on_this_machine,
) -> dict[Job, str]:
    """Do the missing or damaged jobs of a study, and write each result when its job ends; return the errors by job.

    The caller must have locked the store (`Store.only_writer`).

    Args:
        jobs: all jobs of the study, from `reach.study.plan`.
        store: store of the results.
        processes: number of jobs that run at a time.
        show: whether to show a progress bar; it is drawn only on a terminal.
        on_end: called when a job has ended and its results, or its error, have been written.
        workers: function that makes the workers.
    """
    missing = _states_of_missing(jobs, store)
    for job, state in missing.items():
        if state == "damaged":
            store.discard_damaged(job)
    failures: dict[Job, str] = {}
    shares: dict[str, float] = {}
    bar = tqdm(total=len(missing), bar_format=BAR, smoothing=0.0, disable=None if show else True)

    def on_progress(job: Job, share: float) -> None:
        shares[job.name] = share
        bar.n = min(len(missing), sum(shares.copy().values()))
        bar.set_postfix_str(job.title)

    with bar:
        table = JobTable(store.jobs_path, jobs, {job.name for job in jobs if job not in missing})
        if not missing:
            return failures
        made = workers(store, on_progress)
        for outcome in run_jobs(list(missing), processes=processes, workers=made, on_start=table.begin):
            if outcome.error:
                failures[outcome.job] = outcome.error
            store.write_outcome(outcome)
            table.end(outcome)
            on_end(outcome)
            on_progress(outcome.job, 1.0)
    return failures


# Largest share of a study's time for writing its progress.
WRITING_SHARE = 0.05


class Throttle:
    """Call `write` only so often that it takes at most WRITING_SHARE of the time.

    The cost of a study is then proportional to its number of jobs, although each call takes longer than the last.
    """

    def __init__(self, write: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._next = -math.inf

    def __call__(self) -> None:
        began = self._clock()
        if began < self._next:
            return
        self._write()
        ended = self._clock()
        self._next = ended + (ended - began) / WRITING_SHARE


class TensorBoard:
    """Write TensorBoard files: a run for each learner, whose steps are seeds, and a run for the study's progress."""

    def __init__(self, folder: Path, jobs: int) -> None:
        """Write to `folder`; `jobs` is the number of jobs to do.

        Raises:
            ModuleNotFoundError: TensorBoard is not installed.
        """
        try:
            from tensorboard.summary import Writer
        except ModuleNotFoundError as error:
            message = "--tensorboard needs TensorBoard: pip install 'cup-reach[tensorboard]'"
            raise ModuleNotFoundError(message) from error
        self._make: Callable[[str], Any] = Writer
        self._folder = folder
        self._jobs = jobs
        self._done = 0
        self._began = time.monotonic()
        self._writers: dict[str, Any] = {}

    def _write(self, run: str, scalars: Mapping[str, float], step: int) -> None:
        if run not in self._writers:
            self._writers[run] = self._make(str(self._folder / run))
        for name, value in scalars.items():
            self._writers[run].add_scalar(name, value, step)
        self._writers[run].flush()

    def on_end(self, outcome: Outcome) -> None:
        """Write the share of finished jobs and, for a run of a protocol, its measures."""
        job = outcome.job
        self._done += 1
        self._write("study", {"jobs/done": self._done / max(1, self._jobs)}, round(time.monotonic() - self._began))
        if not outcome.error and job.kind == "protocol":
            measured = per_seed(trials_frame([{**row, **whose_of(job)} for row in outcome.rows]))
            values = dict(zip(f"{job.protocol}/" + measured["metric"], measured["value"].tolist(), strict=True))
            self._write(job.learner, {name: value for name, value in values.items() if math.isfinite(value)}, job.seed)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
