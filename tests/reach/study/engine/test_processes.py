"""Forked workers are as fresh as new interpreters, and give the same bytes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
from reach.study.engine.jobs import Job
from reach.study.engine.processes import ForkServer, Processes, can_fork, worker_environment

pytestmark = [
    pytest.mark.skipif(not can_fork(), reason="workers are forked on Linux only"),
    pytest.mark.usefixtures("fake_learner"),
]


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A server that has imported the fake learner."""
    made = ForkServer(("fake_learner",), worker_environment())
    yield made
    made.close()


def training(folder: Path, learner: str) -> Job:
    return Job("train", learner, 0, "fake_learner:prepare", str(folder / learner), "0123456789ab")


def last_answer(server: ForkServer, job: Job, log: Path) -> tuple[dict[str, Any], int]:
    with log.open("w") as file:
        worker = server.start(file)
    worker.stdin.write(job.to_json() + "\n")
    worker.stdin.flush()
    answers = [json.loads(line) for line in worker.stdout]
    return (answers[-1] if answers else {}), worker.wait()


def test_every_worker_is_a_process_of_its_own_that_begins_where_the_last_one_did(
    server: ForkServer, tmp_path: Path
) -> None:
    told = [last_answer(server, training(tmp_path, "remembers"), tmp_path / "log.txt")[0]["error"] for _ in range(2)]
    seen = [json.loads(error.strip().splitlines()[-1].partition("seen ")[2]) for error in told]
    assert seen[0]["pid"] != seen[1]["pid"]
    # Nothing that one left behind in its modules is there for the next, and no thread but its watchdog.
    assert [one["times"] for one in seen] == [1, 1]
    assert [one["threads"] for one in seen] == [2, 2]
    # The interpreter's own generators differ, as those of two interpreters do.
    assert seen[0]["random"] != seen[1]["random"]
    assert seen[0]["numpy"] != seen[1]["numpy"]


def test_how_a_worker_ended_is_told(server: ForkServer, tmp_path: Path) -> None:
    answer, status = last_answer(server, training(tmp_path, "steady"), tmp_path / "log.txt")
    assert (answer["rows"], status) == ([], 0)
    assert "a learner may print" in (tmp_path / "log.txt").read_text()
    assert last_answer(server, training(tmp_path, "dies"), tmp_path / "log.txt") == ({}, -signal.SIGKILL)


def test_a_server_that_holds_threads_does_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    with pytest.raises(OSError, match="holds threads"):
        ForkServer(("threaded",), worker_environment())


def test_forked_workers_and_new_interpreters_give_the_same_bytes(tmp_path: Path) -> None:
    found = {}
    for fork in (True, False):
        store = Store(tmp_path / str(fork))
        jobs = plan(["wandering"], {"tiny": PROTOCOLS["tiny"]}, [0], factory="fake_learner:prepare", out=store.folder)
        made: list[Processes] = []

        def workers(store: Store, on_progress: Any, fork: bool = fork, made: list[Processes] = made) -> Processes:
            made.append(Processes(store.log_path, on_progress, fork=fork))
            return made[-1]

        assert not complete(jobs, store, processes=1, show=False, workers=workers)
        assert made[0].forks is fork
        found[fork] = [path.read_bytes() for path in sorted(store.folder.glob("trials/*/*/*/*.parquet"))]
    assert len(found[True]) == 1
    assert found[True] == found[False]


def test_a_server_that_dies_is_replaced(tmp_path: Path) -> None:
    processes = Processes(lambda job: tmp_path / f"{job.name}.txt")
    assert processes.do(training(tmp_path, "steady")).error == ""
    first = processes.server
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    assert processes.do(training(tmp_path, "wandering")).error == ""
    assert processes.server is not None
    assert processes.server.pid != first.pid
    processes.close()
