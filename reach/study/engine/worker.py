"""The process that does one job: started by the engine and by nothing else.

It reads the job as one line of JSON from its standard input and answers in lines of JSON on its standard
output: {"progress": 0..1} any number of times, then {"rows": [...], "traces": [...], "cost": {...},
"films": {phase: base64}} or {"error": traceback}, with "cpu_seconds". Whatever the learner prints goes to standard
error. The standard input stays open as long as the parent lives; when it closes, the worker ends at once, so that a
killed parent leaves none behind.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from reach.study.engine.jobs import Job, answer, cpu_seconds, plain

ORPHANED = 3  # exit status when the parent is gone
PROGRESS_EVERY_S = 0.2


def leave_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def read_line() -> str:
    """The first line of standard input, unbuffered, so that the rest is left to the watchdog."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            os._exit(ORPHANED)
        line += piece
    return line.decode()


def main() -> None:
    answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    job = Job.from_json(read_line())
    threading.Thread(target=leave_with_parent, daemon=True).start()
    said = time.monotonic()

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, default=plain) + "\n")
        answers.flush()

    def on_progress(done: float) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_EVERY_S:
            said = time.monotonic()
            say({"progress": float(done)})

    try:
        from reach.study.perform import perform

        told = answer(perform(job, on_progress))
        say({**told, "cpu_seconds": cpu_seconds()})
    except Exception:
        say({"error": traceback.format_exc(), "cpu_seconds": cpu_seconds()})


READY, UNFIT = b"ready", b"unfit"
DESCRIPTORS = 4


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
    serve(sys.argv[1:]) if sys.argv[1:] else main()
