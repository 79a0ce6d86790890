"""Jobs as tasks of Ray, on this machine or on a cluster, with the same results to the last byte.

Everything a job needs and gives travels by value: the trained learner's files go to a run and come from a training, so
the machines need no disk in common. They need the same code and libraries, which every task checks. A task has a
process to itself and one thread; one whose process or machine dies is started once more. When Ray's head dies, Ray ends
this process; what is finished has been written, and a rerun does the rest. Needs the extra `ray`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reach.files import below
from reach.study.engine.jobs import Job, Outcome, answer, code_digest, cpu_seconds, outcome_of
from reach.study.engine.processes import ONE_THREAD, TRIES
from reach.study.engine.scheduler import MakeWorkers, Workers
from reach.study.engine.store import Store

LOOK_EVERY_S = 0.2
# Results are some tens of kB; the least that Ray takes.
OBJECT_STORE_BYTES = 80 * 2**20
# After so long without its head Ray ends this process; by itself it would wait for a minute.
HEAD_LOST_AFTER_S = 15
# Without this Ray reports its use to its makers.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
# A cluster of our own: every process of it asks for a random token, which the environment holds and no file or command
# line. The last setting, off as on macOS and Windows, has Ray listen on the loopback interface alone.
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class RayLostError(ConnectionError):
    """Ray has gone away in the middle of a study."""


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their path in it."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def put_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder; the reverse of `files_in`.

    Raises:
        ValueError: a path that leads out of the folder.
    """
    for path, data in [(below(folder, name), data) for name, data in files.items()]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def do_task(text: str, wanted: str, learner: Mapping[str, bytes], protocol: Mapping[str, bytes]) -> dict[str, Any]:
    """Do one job in this process, in a folder that is removed afterwards.

    Args:
        text: the job, as JSON.
        wanted: digest of the code and libraries with which the study was planned.
        learner: the trained learner's files; none for a training.
        protocol: the file that the protocol is read from, by its name; none for one known by its own name.

    Returns:
        What `reach.study.engine.jobs.outcome_of` reads, and "folder": files of a learner that was trained.
    """
    began, spent = time.monotonic(), cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="reach-job-") as place:
        try:
            job = Job.from_json(text)
            found = code_digest(job.factory)
            if found != wanted:
                raise RuntimeError(
                    f"this machine ({os.uname().nodename}) holds other code or libraries ({found}) than the study was "
                    f"planned with ({wanted}); install the same on all machines"
                )
            job = replace(job, folder=str(Path(place) / Path(job.folder).name))
            if learner:
                put_files(Path(job.folder), learner)
            if protocol:
                put_files(Path(place), protocol)
                job = replace(job, protocol_file=str(Path(place) / next(iter(protocol))))
            from reach.study.perform import perform

            told = answer(perform(job))
            if job.kind == "train":
                told["folder"] = files_in(Path(job.folder))
        except Exception:
            told = {"error": traceback.format_exc()}
    return {**told, "cpu_seconds": cpu_seconds() - spent, "wall_seconds": time.monotonic() - began}


class RayTasks:
    """The tasks that run now."""

    def __init__(self, store: Store, address: str | None, processes: int) -> None:
        """Join the cluster at `address`, or start one of `processes` cores on this machine.

        A cluster that is started listens on the loopback interface alone, and refuses whoever lacks its random token.
        For one that is joined, the user's own settings of Ray's authentication apply.

        Raises:
            ModuleNotFoundError: Ray is not installed.
            ConnectionError: there is no cluster at `address`, or it refuses this process.
            ValueError: no address, and Ray was imported before, so that it has not read the token.
        """
        if address is None and "ray" in sys.modules and os.environ.get("RAY_AUTH_TOKEN") != PRIVATE["RAY_AUTH_TOKEN"]:
            raise ValueError(
                "--engine ray starts a cluster behind a random token, which Ray reads when it is imported, but Ray has "
                "been imported before; move `import ray` into the functions that need it, or give --address"
            )
        os.environ.update(QUIET if address else QUIET | PRIVATE)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("--engine ray needs Ray: pip install 'cup-reach[ray]'") from error
        self._ray = ray
        self._store = store
        self._closed = threading.Event()
        self._own_folder: str | None = None
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self._own_folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray's sockets lie below it
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=processes,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._own_folder,
                _system_config={"gcs_rpc_server_reconnect_timeout_s": HEAD_LOST_AFTER_S},
                **common,
            )
        else:
            try:
                ray.init(address=address, **common)
            except ray.exceptions.RayError as error:
                raise ConnectionError(f"--address {address}: {error}") from error
        environment = {"env_vars": {**ONE_THREAD, "PYGAME_HIDE_SUPPORT_PROMPT": "1"}}
        options = {"num_cpus": 1, "max_calls": 1, "max_retries": TRIES - 1, "runtime_env": environment}
        self._task: Any = ray.remote(**options)(do_task)

    def do(self, job: Job) -> Outcome:
        """Run one job to its end in a task.

        Raises:
            RayLostError: Ray does not answer any more.
        """
        folder, file = Path(job.folder), Path(job.protocol_file)
        learner = files_in(folder) if job.kind == "protocol" else {}
        protocol = {file.name: file.read_bytes()} if job.protocol_file else {}
        try:
            reference = self._task.remote(job.to_json(), code_digest(job.factory), learner, protocol)
            while not self._ray.wait([reference], timeout=LOOK_EVERY_S)[0]:
                if self._closed.is_set():
                    self._ray.cancel(reference, force=True)
                    return Outcome(job, error="ended before it was done")
            message: dict[str, Any] = self._ray.get(reference)
        except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.NodeDiedError) as error:
            return Outcome(job, error=f"the worker died {TRIES} times without an answer\n{error}", tries=TRIES)
        except self._ray.exceptions.RayError as error:
            raise RayLostError(
                f"Ray does not answer any more ({type(error).__name__}). What is finished is kept: the same command "
                "goes on from there"
            ) from error
        measured = {name: message[name] for name in ("cpu_seconds", "wall_seconds")}
        return outcome_of(job, message, folder=message.get("folder", {}), **measured)

    def close(self) -> None:
        """End every task that still runs, and the cluster that was started for them."""
        self._closed.set()
        self._ray.shutdown()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)


def on_ray(address: str | None, processes: int) -> MakeWorkers:
    """Workers that are tasks of Ray."""

    def make(store: Store, on_progress: Callable[[Job, float], None]) -> Workers:
        return RayTasks(store, address, processes)

    return make
