"""Jobs as tasks of Ray, on this machine or on a cluster, with the same results to the last byte.

Everything a job needs and gives travels by value: a learner's files go to a run and come from a training, so the
machines need no disk in common. They need the same code and libraries, which every task checks. A task has a process
and a thread to itself; one whose process or machine dies is started once more. When Ray's head dies, Ray ends this
process; what is finished has been written, and a rerun does the rest. Needs the extra `ray`.
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
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reach.files import read_folder, write_folder
from reach.study.engine.jobs import Job, Outcome, answer, code_digest, outcome_of
from reach.study.engine.processes import SETTINGS, TRIES
from reach.study.engine.scheduler import MakeWorkers
from reach.study.engine.worker import perform

POLL_INTERVAL_S = 0.2
# The least that Ray takes; results are some tens of kB.
OBJECT_STORE_BYTES = 80 * 2**20
# After so long without its head Ray ends this process; by itself it would wait for a minute.
HEAD_LOST_AFTER_S = 15
# Without this Ray reports its use to its makers.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
# Settings of a cluster that is started here: each of its processes asks for a random token, which is in the environment
# and in no file or command line. The last one, off as on macOS and Windows, has Ray listen on the loopback interface
# alone.
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class RayLostError(ConnectionError):
    """Ray has gone away in the middle of a study."""


def do_task(text: str, planned: str, learner: Mapping[str, bytes], protocol: Mapping[str, bytes]) -> dict[str, Any]:
    """Do one job in this process, in a folder that is removed afterwards.

    Args:
        text: the job, as JSON.
        planned: digest of the code and libraries with which the study was planned.
        learner: the trained learner's files, path -> bytes; none for a training.
        protocol: the protocol's file, name -> bytes; none for a protocol that is known by its name.

    Returns:
        What `reach.study.engine.jobs.outcome_of` reads, and "folder": files of a learner that was trained.
    """
    began, spent = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="reach-job-") as folder:
        try:
            job = Job.from_json(text)
            here = code_digest(job.factory)
            if here != planned:
                raise RuntimeError(
                    f"this machine ({os.uname().nodename}): expected the code and libraries that the study was planned "
                    f"with ({planned}), got others ({here}); install the same on all machines"
                )
            job = replace(job, folder=str(Path(folder) / "learner" / Path(job.folder).name))
            if learner:
                write_folder(Path(job.folder), learner)
            if protocol:
                write_folder(Path(folder) / "protocol", protocol)
                job = replace(job, protocol_file=str(Path(folder) / "protocol" / next(iter(protocol))))
            message = answer(perform(job))
            if job.kind == "train":
                message["folder"] = read_folder(Path(job.folder))
        except Exception:
            message = {"error": traceback.format_exc()}
    return {**message, "cpu_seconds": time.process_time() - spent, "wall_seconds": time.monotonic() - began}


class RayTasks:
    """The workers of a study on a cluster."""

    def __init__(self, address: str | None, processes: int) -> None:
        """Join the cluster at `address`, or start one of `processes` cores on this machine.

        A cluster that is started listens on the loopback interface alone, and refuses whoever lacks its random token.
        For one that is joined, the user's own settings of Ray's authentication apply.

        Raises:
            ModuleNotFoundError: Ray is not installed.
            ConnectionError: there is no cluster at `address`, or it refuses this process.
            ValueError: no address, and Ray was imported before, so that it has not read the random token.
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
        self._closed = threading.Event()
        self._temporary_folder: str | None = None
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self._temporary_folder = tempfile.mkdtemp(prefix="ray-")  # short: Ray's sockets lie below it
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=processes,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._temporary_folder,
                _system_config={"gcs_rpc_server_reconnect_timeout_s": HEAD_LOST_AFTER_S},
                **common,
            )
        else:
            try:
                ray.init(address=address, **common)
            except ray.exceptions.RayError as error:
                raise ConnectionError(f"--address {address}: {error}") from error
        options = {"num_cpus": 1, "max_calls": 1, "max_retries": TRIES - 1, "runtime_env": {"env_vars": SETTINGS}}
        self._task: Any = ray.remote(**options)(do_task)

    def do(self, job: Job) -> Outcome:
        """Run one job to its end in a task.

        Raises:
            RayLostError: Ray does not answer any more.
        """
        folder, file = Path(job.folder), Path(job.protocol_file)
        learner = read_folder(folder) if job.kind == "protocol" else {}
        protocol = {file.name: file.read_bytes()} if job.protocol_file else {}
        try:
            reference = self._task.remote(job.to_json(), code_digest(job.factory), learner, protocol)
            while not self._ray.wait([reference], timeout=POLL_INTERVAL_S)[0]:
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
        if self._temporary_folder is not None:
            shutil.rmtree(self._temporary_folder, ignore_errors=True)


def on_ray(address: str | None, processes: int) -> MakeWorkers:
    """Return what makes workers that are tasks of Ray; arguments as in `RayTasks`."""
    return lambda store, on_progress: RayTasks(address, processes)
