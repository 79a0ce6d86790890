"""Jobs on this machine: one new process per job, with one thread each.

On Linux the processes are forked from a server that has imported the learners. On other systems, and if the server has
threads, each job gets a new interpreter, which takes seconds longer and gives the same bytes. A worker that dies
(killed, out of memory) is started once more; a worker that raises an error reports its traceback.
`reach.study.engine.worker` documents the messages.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from reach.files import replace_by_empty
from reach.study.engine.jobs import Job, Outcome, outcome_of, parts_of
from reach.study.engine.worker import READY

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
            raise OSError("the server of workers did not start, or holds threads, which no fork survives")

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
