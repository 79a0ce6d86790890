"""Jobs as Ray tasks, on this machine or on a cluster, with byte-identical results.

All inputs and outputs of a job are sent by value: the files of a learner are sent to a run and returned by a training,
so the machines need no common disk. They need the same code and libraries, which every task checks. A task has its own
process and one thread. A task whose process or machine dies is started once more. If Ray's head dies, Ray ends this
process; finished results have been written, and a rerun does the rest. This module needs the extra `ray`.
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
from reach.study.engine.scheduler import SETTINGS, TRIES, MakeWorkers
from reach.study.engine.worker import perform

POLL_INTERVAL_S = 0.2
# Smallest object store that Ray accepts; results take some tens of kB.
OBJECT_STORE_BYTES = 80 * 2**20
# Time without a head after which Ray ends this process; Ray's default is one minute.
HEAD_LOST_AFTER_S = 15
# Disables Ray's usage statistics.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
# Settings of a cluster that this module starts. Each of its processes requires a random token, which is passed in the
# environment, not in a file or command line. The last setting, off as on macOS and Windows, makes Ray listen on the
# loopback interface only.
PRIVATE = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class RayLostError(ConnectionError):
    """The connection to Ray was lost during a study."""


def do_task(text: str, planned: str, learner: Mapping[str, bytes], protocol: Mapping[str, bytes]) -> dict[str, Any]:
    """Do one job in this process, in a folder that is removed afterwards.

    Args:
        text: the job, as JSON.
        planned: digest of the code and libraries with which the study was planned.
        learner: contents of the trained learner's files, by path; empty for a training.
        protocol: contents of the protocol's file, by name; empty for a preset.

    Returns:
        The message for `reach.study.engine.jobs.outcome_of`, with "folder", the files of a trained learner.
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
        """Join the cluster at `address`, or start a cluster with `processes` cores on this machine.

        A cluster that is started here listens on the loopback interface only and requires a random token. For a cluster
        that is joined, the user's settings of Ray's authentication apply.

        Raises:
            ModuleNotFoundError: Ray is not installed.
            ConnectionError: there is no cluster at `address`, or it rejects this process.
            ValueError: there is no address, and Ray was imported before and has therefore not read the random token.
        """
        if address is None and "ray" in sys.modules and os.environ.get("RAY_AUTH_TOKEN") != PRIVATE["RAY_AUTH_TOKEN"]:
            raise ValueError(
                "--engine ray: expected a process that has not imported Ray, because Ray reads the random token of its "
                "cluster when it is imported, got ray imported; move `import ray` into the functions that need it, or "
                "give --address"
            )
        os.environ.update(QUIET if address else QUIET | PRIVATE)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("--engine ray: expected Ray, got none; pip install 'cup-reach[ray]'") from error
        self._ray = ray
        self._closed = threading.Event()
        self._temporary_folder: str | None = None
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self._temporary_folder = tempfile.mkdtemp(prefix="ray-")  # a short path, because it contains Ray's sockets
            ray.init(
                address="local",  # overrides RAY_ADDRESS
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
            RayLostError: Ray no longer answers.
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
        """End all running tasks, and the cluster if it was started here."""
        self._closed.set()
        self._ray.shutdown()
        if self._temporary_folder is not None:
            shutil.rmtree(self._temporary_folder, ignore_errors=True)


def on_ray(address: str | None, processes: int) -> MakeWorkers:
    """Return a function that makes workers on Ray; arguments are those of `RayTasks`."""
    return lambda store, on_progress: RayTasks(address, processes)
