"""Forked workers are as fresh as new interpreters, and give the same bytes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reach.protocols import PROTOCOLS
from reach.study import Job, Store, complete, plan
from reach.study.engine.scheduler import SETTINGS, ForkServer, Processes

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only"),
    pytest.mark.usefixtures("fake_learner"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server that has imported the fake learner."""
    folder = str(Path(__file__).parents[1])
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    made = ForkServer(("fake_learner",), os.environ | SETTINGS | {"PYTHONPATH": path})
    yield made
    made.close()


def training(folder: Path, learner: str) -> Job:
    return Job("train", learner, 0, "fake_learner:prepare", str(folder / learner), "0123456789ab")


def messages_of(server: ForkServer, job: Job, log: Path) -> list[dict[str, Any]]:
    """All messages of a worker, the last with its exit status."""
    connection, theirs = socket.socketpair()
    with theirs, log.open("w") as file:
        server.fork(theirs, file)
    with connection, connection.makefile("r") as lines:
        connection.sendall(f"{job.to_json()}\n".encode())
        return [json.loads(line) for line in lines if line.strip()]


def test_every_worker_is_a_process_of_its_own_that_begins_where_the_last_one_did(
    server: ForkServer, tmp_path: Path
) -> None:
    jobs = [messages_of(server, training(tmp_path, "remembers"), tmp_path / "log.txt") for _ in range(2)]
    errors = [messages[-2]["error"] for messages in jobs]
    first, second = [json.loads(error.strip().splitlines()[-1].partition("seen ")[2]) for error in errors]
    assert first["pid"] != second["pid"]
    # Nothing that one left behind in its modules is there for the next, and no thread but its watchdog.
    assert [state["times"] for state in (first, second)] == [1, 1]
    assert [state["threads"] for state in (first, second)] == [2, 2]
    # The interpreter's own generators differ, as those of two interpreters do.
    assert first["random"] != second["random"]
    assert first["numpy"] != second["numpy"]


def test_the_exit_status_of_a_worker_is_reported(server: ForkServer, tmp_path: Path) -> None:
    *_, answer, exit_message = messages_of(server, training(tmp_path, "steady"), tmp_path / "log.txt")
    assert (answer["rows"], exit_message) == ([], {"exit": 0})
    assert "a learner may print" in (tmp_path / "log.txt").read_text()
    assert messages_of(server, training(tmp_path, "dies"), tmp_path / "log.txt") == [{"exit": -signal.SIGKILL}]


def test_a_server_that_holds_threads_does_not_serve(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    with pytest.raises(OSError, match="one with threads"):
        ForkServer(("threaded",), os.environ | SETTINGS | {"PYTHONPATH": path})


def test_a_server_that_dies_is_replaced_and_new_interpreters_give_the_same_bytes(tmp_path: Path) -> None:
    results = {}
    for fork in (True, False):
        store = Store(tmp_path / str(fork))
        jobs = plan(["wandering"], {"tiny": PROTOCOLS["tiny"]}, [0], factory="fake_learner:prepare", out=store.folder)
        processes = Processes(store.log_path, fork=fork)
        servers: list[int] = []

        def kill_server(_: Any, processes: Processes = processes, servers: list[int] = servers) -> None:
            if processes.server is not None:
                servers.append(processes.server.process.pid)
                os.kill(processes.server.process.pid, signal.SIGKILL)

        made = lambda *_, processes=processes: processes  # noqa: E731
        assert not complete(jobs, store, processes=1, show=False, on_end=kill_server, workers=made)
        assert len(set(servers)) == (2 if fork else 0)  # one for the training, one for the run
        assert processes.forks is fork
        results[fork] = [path.read_bytes() for path in sorted(store.folder.glob("trials/*/*/*/*.parquet"))]
    assert len(results[True]) == 1
    assert results[True] == results[False]
