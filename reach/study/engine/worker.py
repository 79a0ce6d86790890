"""The process that does one job: it makes the job's learner and runs it through its protocol.

A worker's standard input is a socket shared with the engine. The worker reads the job as a line of JSON and answers in
lines of JSON: {"done": 0..1} any number of times, then the result of `answer` or {"error": traceback}, with
"cpu_seconds". The output of the learner goes to the log. When the engine closes its end of the socket, the worker ends
at once, so a killed engine leaves no workers behind.

On Linux a server forks the workers. Importing the learners takes seconds, while a fork takes milliseconds and is as
good as a new process: the server has run no job, and has one thread and no state except loaded modules and the
simulation's compiled functions. On other systems, a process that has loaded numerical libraries must not be forked.

The forkserver of multiprocessing is not used, because it runs the caller's main script again in every worker (4 s
instead of 0.15 s per job of compare.py), fails for a script without a `__main__` guard, and keeps the environment of
the first study.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from reach.protocols import Protocol, read_protocol
from reach.protocols.presets import find_protocol
from reach.study.engine.jobs import Job, answer, parts_of, plain, protocol_digest
from reach.study.run import Model, Result, run_measured

# Function of name, seed, folder and a callback for the share of the training that is done, 0 to 1. It reads the learner
# from the folder, or trains it and writes it there. For a protocol with lamps, `context` is their number.
Factory = Callable[..., Model]

READY, UNFIT = b"ready", b"unfit"  # the server's message to the engine after its imports
ORPHANED = 3  # exit status after the engine has ended
PROGRESS_INTERVAL_S = 0.2


def load_factory(name: str) -> Factory:
    """Return the function that "module:function" names.

    Raises:
        ValueError: the name has another form, or the module has no such function.
    """
    module, function = parts_of(name)
    factory: Factory | None = getattr(importlib.import_module(module), function, None)
    if not callable(factory):
        raise ValueError(f"expected the name of a function in module {module!r}, got {function!r}")
    return factory


def perform(job: Job, on_progress: Callable[[float], object] | None = None) -> Result:
    """Do a job in this process; a training writes the learner to the job's folder and returns an empty result."""
    factory = load_factory(job.factory)  # first, as the module may register protocols
    if job.kind == "train":
        _make_learner(factory, job, on_progress)
        return Result()
    protocol = protocol_of(job)
    return run_measured(_make_learner(factory, job), protocol, job.seed, film=job.film, on_progress=on_progress)


def _make_learner(factory: Factory, job: Job, on_progress: Callable[[float], object] | None = None) -> Model:
    folder = Path(job.folder)
    is_trained = folder.exists()
    try:
        lamps = {"context": job.context} if job.context else {}
        return factory(job.learner, job.seed, folder, on_progress, **lamps)
    except Exception as error:
        if not is_trained:
            raise
        raise RuntimeError(
            f"the learner in {folder} cannot be loaded ({error}); delete that folder, and the same command trains it "
            "again"
        ) from error


def protocol_of(job: Job) -> Protocol:
    """Return the protocol of a job, a preset or the protocol of a file.

    Raises:
        ValueError: there is no such protocol, or the file has changed since the study was planned.
    """
    if job.protocol_file:
        protocol = read_protocol(job.protocol_file)
        if protocol_digest(protocol, job.protocol_file) != job.protocol_digest:
            raise ValueError(
                f"{job.protocol_file} has changed since the study was planned; repeat the command to plan it "
                "with the file as it is now"
            )
        return protocol
    return find_protocol(job.protocol)


def socket_of_standard_input() -> socket.socket:
    """Return the socket at standard input, not inherited by processes that the learner starts; empty standard input."""
    connection = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    return connection


def do_job() -> None:
    """Read a job from the socket at standard input, do it, and answer through the socket."""
    engine = socket_of_standard_input()
    sys.stdout = sys.stderr  # the same log, unbuffered
    with engine.makefile("r", encoding="utf-8") as lines:
        line = lines.readline()
    if not line.endswith("\n"):
        os._exit(ORPHANED)
    threading.Thread(target=_end_with, args=(engine,), daemon=True).start()
    reported = time.monotonic()

    def send(message: dict[str, Any]) -> None:
        engine.sendall((json.dumps(message, default=plain) + "\n").encode())

    def on_progress(done: float) -> None:
        nonlocal reported
        if time.monotonic() - reported >= PROGRESS_INTERVAL_S:
            reported = time.monotonic()
            send({"done": float(done)})

    try:
        results = answer(perform(Job.from_json(line), on_progress))
        send({**results, "cpu_seconds": time.process_time()})  # raises an error if the result is not JSON
    except Exception:
        send({"error": traceback.format_exc(), "cpu_seconds": time.process_time()})


def _end_with(engine: socket.socket) -> None:
    """End this process when the engine closes its end of the socket."""
    with suppress(OSError):
        engine.recv(1)
    os._exit(ORPHANED)


def load_simulation() -> None:
    """Load the simulation's compiled functions by one step of an environment, which takes half a second."""
    env = gym.make("reach/CupGrab-v1", disable_env_checker=True)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def serve(modules: Sequence[str]) -> None:
    """Import `modules`, then fork a worker for every request until the engine closes the socket.

    If a module has a function `preload`, it is called, to import modules that each worker would otherwise import.

    A request contains two descriptors: the worker's socket and its log. When a worker has ended, its socket receives
    {"exit": status}. A module that cannot be imported is ignored here, because the worker will report it.
    """
    engine = socket_of_standard_input()
    for module in modules:
        with suppress(Exception):
            getattr(importlib.import_module(module), "preload", lambda: None)()
    load_simulation()
    if len(os.listdir("/proc/self/task")) > 1:  # threads do not survive a fork
        engine.send(UNFIT)
        return
    gc.collect()
    gc.freeze()  # so that a worker's garbage collection does not copy pages shared with the server
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _report_ended(running))
    engine.send(READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(engine, 1, 2)
        if not request:
            return
        connection, log = socket.socket(fileno=descriptors[0]), descriptors[1]
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the worker is in `running`
        pid = os.fork()
        if pid == 0:
            _become_worker(connection, log, [engine, connection, *running.values()])
        running[pid] = connection
        os.close(log)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _become_worker(connection: socket.socket, log: int, sockets: Sequence[socket.socket]) -> NoReturn:
    """Do a job in a process that has just been forked, and end the process; `sockets` are the server's, to close."""
    status = 1
    try:
        for target, descriptor in enumerate((connection.fileno(), log, log)):
            os.dup2(descriptor, target)
        os.close(log)
        for other in sockets:
            other.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        np.random.seed()  # noqa: NPY002  (seed the global generator as in a new interpreter)
        do_job()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _report_ended(running: dict[int, socket.socket]) -> None:
    """Report the exit status of every worker that has ended; `running` contains the sockets by process id."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] in running:  # not a process that a module has started
                with running.pop(ended[0]) as connection, suppress(OSError):
                    # The first newline ends a line that the worker's death may have truncated.
                    connection.sendall(b'\n{"exit": %d}\n' % os.waitstatus_to_exitcode(ended[1]))


if __name__ == "__main__":
    serve(sys.argv[1:]) if sys.argv[1:] else do_job()
