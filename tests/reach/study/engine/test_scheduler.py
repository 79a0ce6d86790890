"""The laws of the engine: deaths and errors are contained, nothing is left behind, order has no effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from reach.protocols import PROTOCOLS
from reach.study import Job, Store, complete, missing_jobs, plan, run_jobs
from reach.study.engine.processes import Processes
from reach.study.filming import filmed_trials

FACTORY = "fake_learner:prepare"
pytestmark = pytest.mark.usefixtures("fake_learner")


def planned(out: Path, *learners: str, seeds: int = 1, film: bool = False) -> list[Job]:
    return plan(
        learners,
        {"tiny": PROTOCOLS["tiny"]},
        range(seeds),
        factory=FACTORY,
        out=out,
        filmed=[("tiny", 0)] if film else [],
    )


def study(out: Path, *learners: str, seeds: int = 1, processes: int = 2) -> tuple[pd.DataFrame, dict[Job, str]]:
    store, jobs = Store(out), planned(out, *learners, seeds=seeds)
    with store.only_writer():
        failures = complete(jobs, store, processes=processes, show=False)
        return store.read_trials(jobs), failures


def test_every_trial_of_the_protocol_is_recorded_once_and_learners_are_paired(tmp_path: Path) -> None:
    trials, failures = study(tmp_path, "steady", "wandering")
    assert not failures
    for _, one in trials.groupby("learner"):
        reaches = one[~one["probe"]]
        assert reaches["trial"].tolist() == list(range(1, 15))
        assert reaches["block"].tolist() == ["baseline"] * 4 + ["perturbed"] * 6 + ["washout"] * 4
        assert one[one["probe"]]["trial"].tolist() == list(range(5, 11))
    cups = [one["cup_x"].tolist() for _, one in trials.groupby("learner")]
    assert cups[0] == cups[1]


def test_rows_do_not_depend_on_how_many_processes_run(tmp_path: Path) -> None:
    alone, _ = study(tmp_path / "alone", "steady", seeds=2, processes=1)
    together, _ = study(tmp_path / "together", "steady", seeds=2, processes=2)
    pd.testing.assert_frame_equal(alone, together)


def test_a_learner_that_raises_is_recorded_with_its_traceback_and_the_others_finish(tmp_path: Path) -> None:
    trials, failures = study(tmp_path, "raises", "steady")
    assert set(trials["learner"]) == {"steady"}
    first, second = failures.items()
    assert "RuntimeError: this learner cannot be made" in first[1]
    assert "Traceback" in Store(tmp_path).error_path(first[0]).read_text()
    assert second[0].protocol == "tiny"
    assert "not run" in second[1]


def test_a_worker_that_is_killed_is_started_once_more(tmp_path: Path) -> None:
    trials, failures = study(tmp_path, "dies-once")
    assert not failures
    assert len(trials) == 20


def test_a_worker_that_dies_twice_is_a_failure_that_says_how(tmp_path: Path) -> None:
    trials, failures = study(tmp_path, "dies", "steady")
    assert set(trials["learner"]) == {"steady"}
    assert any(f"signal {signal.SIGKILL.value}" in error for error in failures.values())


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    study(tmp_path, "steady")
    store, jobs = Store(tmp_path), planned(tmp_path, "steady", "wandering")
    assert {job.learner for job in missing_jobs(jobs, store)} == {"wandering"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/*/*/*.parquet")}
    assert before
    study(tmp_path, "steady", "wandering")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_film_is_made_of_each_phase_and_changes_no_row(tmp_path: Path) -> None:
    plain, _ = study(tmp_path / "plain", "wandering")
    store, jobs = Store(tmp_path / "filmed"), planned(tmp_path / "filmed", "wandering", film=True)
    assert not complete(jobs, store, processes=1, show=False)
    pd.testing.assert_frame_equal(plain, store.read_trials(jobs))
    for path in store.film_paths(jobs[-1]).values():
        assert path.read_bytes()[4:8] == b"ftyp"


def test_films_show_the_reaches_next_to_the_onset_and_the_last_perturbed_ones() -> None:
    from reach.protocols import schedule_of

    schedule = schedule_of(PROTOCOLS["rotation30"], seed=0)
    shown = {phase: [] for phase in ("before", "during", "after")}  # type: dict[str, list[int]]
    for index, phase in filmed_trials(schedule).items():
        assert not schedule[index].probe
        shown[phase].append(schedule[index].trial)
    assert {phase: sorted(numbers) for phase, numbers in shown.items()} == {
        "before": [18, 19, 20],
        "during": [21, 22, 23, 24],
        "after": [118, 119, 120],
    }


def test_jobs_that_wait_for_each_other_are_an_error(tmp_path: Path) -> None:
    one = Job("protocol", "a", 0, FACTORY, "", "1", "tiny", needs="b-tiny-0-2")
    other = Job("protocol", "b", 0, FACTORY, "", "2", "tiny", needs="a-tiny-0-1")
    with pytest.raises(ValueError, match="got a cycle"):
        list(run_jobs([one, other], processes=1, workers=Processes(Store(tmp_path).log_path)))


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, fake_learner; from pathlib import Path; from reach.protocols import PROTOCOLS\n"
        "from reach.study import Store, complete, plan\n"
        "out = Path(sys.argv[1]); jobs = plan(['steady'], {'tiny': PROTOCOLS['tiny']}, range(2),"
        " factory='fake_learner:prepare', out=out)\n"
        "complete(jobs, Store(out), processes=2, show=False)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"FAKE_TRIAL_S": "5"})
    try:
        until(lambda: len(workers_of(parent.pid)) == 2 and len(list((tmp_path / "baseline").glob("*.done"))) == 2)
        workers = descendants(parent.pid)
        assert workers
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(alive(worker) for worker in workers))


def until(holds, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end as it is looked at
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have, nearest first."""
    found, queue = [], children(pid)
    while queue:
        found.append(queue.pop(0))
        queue += children(found[-1])
    return found


def workers_of(pid: int) -> list[int]:
    """The processes that do jobs: those without children of their own."""
    return [one for one in descendants(pid) if not children(one)]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
