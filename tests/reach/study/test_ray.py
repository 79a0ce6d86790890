"""Jobs as tasks of Ray: the same bytes as processes, and deaths and errors contained. Needs the extra `ray`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from reach.protocols import PROTOCOLS
from reach.study import Job, Store, complete, plan
from reach.study.jobs import definition, digest
from reach.study.ray_tasks import do_task, files_in, on_ray

HERE = Path(__file__).parent
FACTORY = "fake_learner:prepare"


@pytest.fixture(autouse=True)
def _fake_learner_can_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    monkeypatch.setenv("FAKE_MARKS", str(tmp_path))
    __import__("fake_learner")


def study(out: Path, *learners: str, **how: Any) -> tuple[dict[str, bytes], dict[Job, str]]:
    store = Store(out)
    jobs = plan(learners, {"tiny": PROTOCOLS["tiny"]}, [0], factory=FACTORY, out=out)
    failures = complete(jobs, store, processes=2, show=False, **how)
    files = [*out.glob("trials/*/*/*/*"), *out.glob("baseline/*/*"), *out.glob("baseline/*.done")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}, failures


def test_tasks_give_the_bytes_that_processes_give_and_their_deaths_and_errors_are_contained(tmp_path: Path) -> None:
    by_processes, _ = study(tmp_path / "processes", "steady", "wandering")
    found, failures = study(
        tmp_path / "tasks", "steady", "wandering", "raises", "dies-once", "dies", workers=on_ray(None, 2)
    )
    assert by_processes
    assert by_processes.items() <= found.items()
    assert any("dies-once" in name and "trials" in name for name in found)
    errors = {job.learner: error for job, error in failures.items() if job.kind == "train"}
    assert set(errors) == {"raises", "dies"}
    assert "RuntimeError: this learner cannot be made" in errors["raises"]
    assert "the worker died 2 times without an answer" in errors["dies"]
    # A rerun does what is missing and nothing else.
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").glob("trials/*/*/*/*")}
    again, _ = study(tmp_path / "tasks", "steady", "wandering")
    assert again == found
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_task_on_a_machine_with_other_code_is_refused(tmp_path: Path) -> None:
    (job, _) = plan(["steady"], {"tiny": PROTOCOLS["tiny"]}, [0], factory=FACTORY, out=tmp_path)
    told = do_task(job.to_json(), "0123456789ab", {}, {})
    assert "holds other code or libraries" in told["error"]
    trained = do_task(job.to_json(), digest(definition(FACTORY)), {}, {})
    assert set(trained["folder"]) == {"config.json"}
    assert not Path(job.folder).exists()
    with pytest.raises(KeyError):
        trained["error"]
    assert files_in(tmp_path) == {}


STUDY = """
import sys
from pathlib import Path
import fake_learner
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
from reach.study.ray_tasks import on_ray
out = Path(sys.argv[1])
jobs = plan(["steady", "wandering"], {"tiny": PROTOCOLS["tiny"]}, range(2), factory="fake_learner:prepare", out=out)
complete(jobs, Store(out), processes=1, show=False, workers=on_ray(None, 1))
"""


@pytest.mark.endurance
@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_what_is_finished_survives_the_death_of_rays_head_and_a_rerun_ends_the_same(part: str, tmp_path: Path) -> None:
    out, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", STUDY]
    subprocess.run([*command, str(undisturbed)], check=True)
    study = subprocess.Popen([*command, str(out)], env=os.environ | {"FAKE_TRIAL_S": "0.5"})
    end = time.monotonic() + 120.0
    while not list(out.glob("trials/*/*/*/*.parquet")):
        assert time.monotonic() < end
        time.sleep(0.1)
    (head,) = [pid for pid in below(study.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == part]
    os.kill(head, 9)
    assert study.wait(timeout=180.0) != 0
    finished = {path.name: path.read_bytes() for path in out.glob("trials/*/*/*/*.parquet")}
    assert finished
    subprocess.run([*command, str(out)], check=True)
    ended = {path.name: path.read_bytes() for path in out.glob("trials/*/*/*/*.parquet")}
    assert finished.items() <= ended.items()
    assert ended == {path.name: path.read_bytes() for path in undisturbed.glob("trials/*/*/*/*.parquet")}


def below(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]
    return found
