"""A process that has imported what jobs need, and forks a fresh worker for each of them.

Importing the learners takes seconds; a fork takes milliseconds and is as fresh: the server has run no job, and holds
one thread and no state but loaded modules and the simulation's compiled functions. It refuses to serve where that does
not hold, and the engine then starts a new interpreter for each job instead. Random generators of the interpreter are
seeded anew in every worker, as they are in a new interpreter. Linux only: elsewhere a process that has loaded numerical
libraries may not be forked.

The server speaks with the engine over a Unix socket, its standard input. For each worker the engine sends four
descriptors: the worker's standard input, output and error, and a pipe on which the server writes the worker's process
id and, when it has ended, its exit status, a line each.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from reach.study.worker import main

READY, UNFIT = b"ready", b"unfit"
DESCRIPTORS = 4
SERVER = (sys.executable, "-m", "reach.study.fork_server")


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


def load_simulation() -> None:
    """Have the simulation's compiled functions loaded, which takes half a second, by one step of an arm."""
    import gymnasium as gym

    import reach  # noqa: F401  (registers the environments)

    env = gym.make("reach/CupGrab-v0", disable_env_checker=True)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def threads() -> int:
    """Threads of this process, those of libraries included."""
    return len(os.listdir("/proc/self/task"))


def become_worker(given: Sequence[int], servers: Sequence[int]) -> None:
    """In a forked process: take the descriptors given, close the server's own, do one job, end."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for target, descriptor in enumerate(given[:3]):
            os.dup2(descriptor, target)
        for descriptor in (*given, *servers):
            os.close(descriptor)
        random.seed()
        if "numpy" in sys.modules:
            importlib.import_module("numpy").random.seed()
        main()
        status = 0
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def serve(modules: Sequence[str]) -> None:
    """Import, then fork a worker for every request until the engine closes the socket."""
    engine = socket.socket(fileno=0)
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    load_simulation()
    if threads() > 1:
        engine.send(UNFIT)
        return
    gc.collect()
    gc.freeze()  # so that a worker's collections touch no page it shares with the server
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    engine.send(READY)
    running: dict[int, int] = {}
    waiting = selectors.EpollSelector()
    waiting.register(engine, selectors.EVENT_READ)
    waiting.register(ended, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is engine:
                message, given, _, _ = socket.recv_fds(engine, 16, DESCRIPTORS)
                if not message:
                    return
                if (pid := os.fork()) == 0:
                    become_worker(given, (ended, wake, waiting.fileno(), *running.values()))
                for descriptor in given[:3]:
                    os.close(descriptor)
                running[pid] = given[3]
                os.write(given[3], f"{pid}\n".encode())
            else:
                os.read(ended, 4096)
                report_ended(running)


def report_ended(running: dict[int, int]) -> None:
    """Tell of every worker that has ended; running: process id -> where to tell it."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = running.pop(pid)
        with suppress(BrokenPipeError):
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(told)


if __name__ == "__main__":
    serve(sys.argv[1:])
