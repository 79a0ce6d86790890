"""Killed at random moments, a study loses nothing that was finished, shows nothing half-written, and ends the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from reach.study import load
from reach.study.engine.store import Store

HERE = Path(__file__).parents[1]
# The whole study of two fake learners, in a process of its own; it says when it has begun.
STUDY = """
import sys
from pathlib import Path
import fake_learner
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
out = Path(sys.argv[1])
protocols = {"tiny": PROTOCOLS["tiny"]}
jobs = plan(["steady", "wandering"], protocols, range(3), factory="fake_learner:prepare", out=out)
store = Store(out)
with store.only_writer():
    print("begun", flush=True)
    failures = complete(jobs, store, processes=2, show=False, on_end=lambda outcome: store.write_tables(jobs))
    store.write_tables(jobs)
sys.exit(bool(failures))
"""
LONGEST_S = 5.0  # by when, after it has begun, a study is killed


def start(out: Path, trial_s: float) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    study = subprocess.Popen(
        [sys.executable, "-c", STUDY, str(out)],
        env=os.environ | {"PYTHONPATH": path, "FAKE_TRIAL_S": str(trial_s)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert study.stdout is not None
    assert study.stdout.readline() == "begun\n"
    return study


def finish(out: Path) -> dict[str, bytes]:
    """Run the study to its end; the bytes of all that it keeps."""
    study = start(out, 0.0)
    assert study.wait() == 0
    assert set(Store(out).read_jobs()["state"]) == {"done"}
    return results(out)


def results(out: Path) -> dict[str, bytes]:
    files = [*out.glob("*.parquet"), *out.glob("trials/*/*/*/*"), *out.glob("baseline/*.done")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def offspring(pid: int) -> list[int]:
    """Processes below a process: the server, and the workers it has forked."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *offspring(child)]
    return found


def check_that_all_is_whole(out: Path) -> dict[str, bytes]:
    """Whatever can be read is whole; gives the finished runs."""
    for file in out.rglob("*.parquet"):
        if not file.name.startswith("."):
            pq.read_table(file)
    runs = {name: data for name, data in results(out).items() if name.startswith("trials/")}
    whole = {name: data for name, data in runs.items() if not Path(name).name.startswith(".")}
    done = Store(out).read_jobs()
    if len(done) and ((done["kind"] == "protocol") & (done["state"] == "done")).any():
        trials = load(out)
        assert set(trials.groupby(["learner", "seed"]).size()) == {20}
    return whole


def kill_at_random(out: Path, moments: int, seed: int) -> dict[str, Any]:
    """Kill the study or one of its processes again and again; how often what was hit."""
    rng = random.Random(seed)
    hit = {"parent": 0, "worker": 0}
    finished: dict[str, bytes] = {}
    for _ in range(moments):
        study = start(out, 0.1)
        time.sleep(rng.uniform(0.0, LONGEST_S))
        below = offspring(study.pid)
        if below and rng.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(below), signal.SIGKILL)
                hit["worker"] += 1
            time.sleep(rng.uniform(0.0, 1.0))
        study.kill()
        study.wait()
        hit["parent"] += 1
        whole = check_that_all_is_whole(out)
        assert finished.items() <= whole.items(), "something that was finished has gone or changed"
        finished = whole
    return hit


def test_killed_at_random_moments_it_loses_nothing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed")
    hit = kill_at_random(tmp_path / "killed", moments=6, seed=1)
    assert hit["parent"] == 6
    assert finish(tmp_path / "killed") == undisturbed
    pd.testing.assert_frame_equal(load(tmp_path / "killed"), load(tmp_path / "undisturbed"))


@pytest.mark.endurance
def test_killed_at_fifty_random_moments_it_loses_nothing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed")
    total = {"parent": 0, "worker": 0}
    # Of ten studies each is killed five times, so that kills fall early and late.
    for study in range(10):
        out = tmp_path / f"killed-{study}"
        for what, times in kill_at_random(out, moments=5, seed=study).items():
            total[what] += times
        assert finish(out) == undisturbed
    print(f"killed: {total}")
    assert total["parent"] == 50
    assert total["worker"] > 5
