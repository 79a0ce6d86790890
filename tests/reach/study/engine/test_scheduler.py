"""The laws of the engine: deaths and errors are contained, nothing is left behind, order has no effect."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from fake_learner import Fake

from reach.perturbations import Rotation
from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, Block, Protocol
from reach.study import Job, Outcome, Store, complete, missing_jobs, plan, run_jobs
from reach.study.engine.formats import trials_frame
from reach.study.engine.scheduler import Processes
from reach.study.run import filmed_trials, run_measured

FACTORY = "fake_learner:prepare"
pytestmark = pytest.mark.usefixtures("fake_learner")


def planned(out: Path, *learners: str) -> list[Job]:
    return plan(learners, {"tiny": PROTOCOLS["tiny"]}, [0], factory=FACTORY, out=out)


def study(out: Path, *learners: str, processes: int) -> tuple[pd.DataFrame, dict[Job, str]]:
    store, jobs = Store(out), planned(out, *learners)
    with store.only_writer():
        failures = complete(jobs, store, processes=processes, show=False)
        return store.read("trials", jobs), failures


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, dict[Job, str]]:
    """A study of learners that work, raise and die: its folder, trials and failures."""
    out = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        here = str(Path(__file__).parents[1])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        importlib.import_module("fake_learner")
        return out, *study(out, "steady", "wandering", "raises", "dies-once", "dies", processes=2)


def rows_of(trials: pd.DataFrame, *learners: str) -> pd.DataFrame:
    return trials[trials["learner"].isin(learners)].reset_index(drop=True)


def test_every_trial_of_the_protocol_is_recorded_once_and_learners_are_paired(
    mixed: tuple[Path, pd.DataFrame, dict[Job, str]],
) -> None:
    _, trials, _ = mixed
    cups = []
    for learner in ("steady", "wandering"):
        rows = rows_of(trials, learner)
        reaches = rows[~rows["probe"]]
        assert reaches["trial"].tolist() == list(range(1, 15))
        assert reaches["block"].tolist() == ["baseline"] * 4 + ["perturbed"] * 6 + ["washout"] * 4
        assert rows[rows["probe"]]["trial"].tolist() == list(range(5, 11))
        cups.append(rows["cup_x"].tolist())
    assert cups[0] == cups[1]


def test_errors_and_deaths_are_recorded_and_the_other_learners_finish(
    mixed: tuple[Path, pd.DataFrame, dict[Job, str]],
) -> None:
    out, trials, failures = mixed
    assert trials.groupby("learner").size().to_dict() == {"steady": 20, "wandering": 20, "dies-once": 20}
    errors = {(job.learner, job.kind): error for job, error in failures.items()}
    assert set(errors) == {(learner, kind) for learner in ("raises", "dies") for kind in ("train", "protocol")}
    assert "RuntimeError: this learner cannot be made" in errors["raises", "train"]
    assert "not run" in errors["raises", "protocol"]
    assert f"the worker died 2 times without an answer (last: signal {signal.SIGKILL.value})" in errors["dies", "train"]
    for job, error in failures.items():
        assert Store(out).error_path(job).read_text() == error


def test_what_is_done_is_not_done_again_and_rows_do_not_depend_on_how_many_processes_run(
    mixed: tuple[Path, pd.DataFrame, dict[Job, str]], tmp_path: Path
) -> None:
    alone, _ = study(tmp_path, "steady", processes=1)
    pd.testing.assert_frame_equal(alone, rows_of(mixed[1], "steady"))
    store, jobs = Store(tmp_path), planned(tmp_path, "steady", "wandering")
    assert {job.learner for job in missing_jobs(jobs, store)} == {"wandering"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/*/*/*.parquet")}
    assert before
    both, _ = study(tmp_path, "steady", "wandering", processes=1)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    pd.testing.assert_frame_equal(both, rows_of(mixed[1], "steady", "wandering"))


def test_a_film_is_made_of_each_phase_and_changes_no_row(tmp_path: Path) -> None:
    jobs = plan(["wandering"], {"brief": PROTOCOLS["brief"]}, [0], factory=FACTORY, out=tmp_path, filmed=[("brief", 0)])
    store = Store(tmp_path)
    assert not complete(jobs, store, processes=1, show=False)
    unfilmed = run_measured(Fake("wandering", 0), PROTOCOLS["brief"], 0).rows
    identity = {"learner": "wandering", "protocol": "brief", "seed": 0}
    pd.testing.assert_frame_equal(store.read("trials", jobs), trials_frame([{**row, **identity} for row in unfilmed]))
    for path in store.film_paths(jobs[-1]).values():
        assert path.read_bytes()[4:8] == b"ftyp"


def test_a_filmed_run_with_too_few_reaches_for_every_film_is_done(tmp_path: Path) -> None:
    blocks = (Block(BASELINE, 1), Block(PERTURBED, 1, (Rotation(30.0),)))
    short = Protocol(name="short", blocks=blocks, source="made for tests")
    store = Store(tmp_path)
    job = plan(["steady"], {"short": short}, [0], factory=FACTORY, out=tmp_path, filmed=[("short", 0)])[-1]
    result = run_measured(Fake("steady", 0), short, 0, film=True)
    assert set(result.films) == {"before", "during"}
    store.write_outcome(Outcome(job, rows=result.rows, films=result.films))
    assert not missing_jobs([job], store)


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
    first = Job("protocol", "a", 0, FACTORY, "", "1", "tiny", needs="b-tiny-0-2")
    second = Job("protocol", "b", 0, FACTORY, "", "2", "tiny", needs="a-tiny-0-1")
    with pytest.raises(ValueError, match="got a cycle"):
        list(run_jobs([first, second], processes=1, workers=Processes(Store(tmp_path).log_path)))


STUDY = """
import sys
from pathlib import Path
import fake_learner
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
out = Path(sys.argv[1])
jobs = plan(["steady"], {"tiny": PROTOCOLS["tiny"]}, range(2), factory="fake_learner:prepare", out=out)
complete(jobs, Store(out), processes=2, show=False)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_no_worker_outlives_a_killed_engine(tmp_path: Path, wait_until: Callable[[Callable[[], bool]], None]) -> None:
    engine = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path)], env=os.environ | {"FAKE_TRIAL_S": "5"})
    try:
        wait_until(
            lambda: len(list((tmp_path / "done").glob("*-train-*.json"))) == 2 and len(descendants(engine.pid)) == 3
        )
        processes = descendants(engine.pid)  # the server and two workers
    finally:
        engine.kill()
        engine.wait()
    wait_until(lambda: not any(map(is_alive, processes)))
    assert not any(map(is_alive, processes))


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    below: list[int] = []
    with suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                below += [child, *descendants(child)]
    return below


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return False
