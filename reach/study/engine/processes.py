"""Jobs on this machine: one fresh process a job, one thread each.

A worker that dies (killed, out of memory) is started once more; one that raises tells its traceback.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from reach.files import replace_by_empty
from reach.study.engine.jobs import Job, Outcome, outcome_of
from reach.study.engine.worker import READY

SERVER = (sys.executable, "-m", "reach.study.engine.worker")


def can_fork() -> bool:
    """Whether this system is one on which workers are forked."""
    return sys.platform == "linux"


class ForkedWorker:
    """A worker that the server has forked, as the engine sees it: like a `subprocess.Popen` with pipes."""

    def __init__(self, stdin: TextIO, stdout: TextIO, status: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self._status = status
        self._pid = int(status.readline() or 0)

    def wait(self) -> int:
        """Exit status, below 0 for a signal; `-SIGKILL` where the server went too, and so nobody can tell."""
        line = self._status.readline()
        self._pid = 0
        self._status.close()
        return int(line or -signal.SIGKILL)

    def kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)


class ForkServer:
    """The server as the engine sees it."""

    def __init__(self, modules: Sequence[str], environment: dict[str, str]) -> None:
        """Start a server that imports `modules`; one that cannot be imported is left for the worker to report.

        Raises:
            OSError: the server did not start, or must not be forked.
        """
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                (*SERVER, *modules),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        if self._socket.recv(len(READY)) != READY:
            self.close()
            raise OSError("the server of workers holds threads, which no fork survives")

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self._process.pid

    def start(self, log: TextIO) -> ForkedWorker:
        """Fork a worker that writes its standard error to `log`.

        Raises:
            OSError: the server is gone.
        """
        (read_in, write_in), (read_out, write_out), (read_status, write_status) = os.pipe(), os.pipe(), os.pipe()
        given = (read_in, write_out, log.fileno(), write_status)
        try:
            socket.send_fds(self._socket, [b"fork"], given)
        except OSError:
            for descriptor in (write_in, read_out, read_status):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (read_in, write_out, write_status):
                os.close(descriptor)
        return ForkedWorker(os.fdopen(write_in, "w"), os.fdopen(read_out), os.fdopen(read_status))

    def close(self) -> None:
        """End the server; workers that run go on until their standard input closes."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


WORKER = (sys.executable, "-m", "reach.study.engine.worker")
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
ALWAYS_IMPORTED = "reach.study.perform"


def worker_environment() -> dict[str, str]:
    """The environment variables of a worker."""
    return {**os.environ, **ONE_THREAD, "PYGAME_HIDE_SUPPORT_PROMPT": "1"}


class Processes:
    """The processes that run now, so that all of them can be ended at once.

    fork: fork workers from a server that has imported the learners, where the system allows it; else each is a new
    interpreter, which takes seconds longer and gives the same bytes.
    """

    def __init__(
        self,
        log_path: Callable[[Job], Path],
        on_progress: Callable[[Job, float], None] = lambda job, done: None,
        *,
        fork: bool = True,
    ) -> None:
        self.log_path = log_path
        self.on_progress = on_progress
        self.running: dict[str, subprocess.Popen[str] | ForkedWorker] = {}
        self.closed = False
        self.forks = fork and can_fork()
        self.server: ForkServer | None = None
        self._lock = threading.Lock()

    def do(self, job: Job) -> Outcome:
        """Run one job to its end in a process of its own."""
        status = 0
        for tries in range(1, TRIES + 1):
            began = time.monotonic()
            message, status = self._attempt(job)
            if "error" in message or "rows" in message:
                spent = {"cpu_seconds": message["cpu_seconds"], "wall_seconds": time.monotonic() - began}
                return outcome_of(job, message, tries=tries, **spent)
            if self.closed:
                break
            self.on_progress(job, 0.0)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        tail = self.log_path(job).read_text(errors="replace")[-LOG_TAIL_CHARS:]
        text = f"the worker died {TRIES} times without an answer (last: {how})\n{tail}"
        return Outcome(job, error=text, tries=TRIES)

    def _attempt(self, job: Job) -> tuple[dict[str, Any], int]:
        log_path = self.log_path(job)
        last: dict[str, Any] = {}
        with os.fdopen(replace_by_empty(log_path), "w") as log:
            with self._lock:
                if self.closed:
                    return last, 0
                process = self._start(job, log)
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

    def _start(self, job: Job, log: Any) -> subprocess.Popen[str] | ForkedWorker:
        for _ in range(2 if self.forks else 0):  # a server that has died is replaced once
            try:
                if self.server is None:
                    self.server = ForkServer((ALWAYS_IMPORTED, job.factory.partition(":")[0]), worker_environment())
                return self.server.start(log)
            except OSError:
                self._end_server()
        self.forks = False
        return subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=worker_environment(),
        )

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def close(self) -> None:
        """End every process that still runs."""
        with self._lock:
            self.closed = True
            for process in list(self.running.values()):
                with suppress(ProcessLookupError):
                    process.kill()
            self._end_server()
