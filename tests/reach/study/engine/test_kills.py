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

import pandas as pd
import pyarrow.parquet as pq
import pytest

from reach.study import load
from reach.study.engine.store import Store

HERE = Path(__file__).parents[1]
# The whole study of two fake learners, in a process of its own; it prints a line when it begins and as each job ends.
STUDY = """
import sys
from pathlib import Path
import fake_learner
from reach.protocols import PROTOCOLS
from reach.study import Store, complete, plan
out = Path(sys.argv[1])
jobs = plan(["steady", "wandering"], {"tiny": PROTOCOLS["tiny"]}, range(2), factory="fake_learner:prepare", out=out)
store = Store(out)

def on_end(outcome):
    store.write_tables(jobs)
    print("ended", flush=True)

with store.only_writer():
    print("begun", flush=True)
    failures = complete(jobs, store, processes=2, show=False, on_end=on_end)
    store.write_tables(jobs)
sys.exit(bool(failures))
"""


def start(out: Path, trial_s: float) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", STUDY, str(out)],
        env=os.environ | {"PYTHONPATH": path, "FAKE_TRIAL_S": str(trial_s)},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(out: Path) -> dict[str, bytes]:
    """Run the study to its end; return the bytes of all that it keeps."""
    study = start(out, 0.0)
    study.communicate()
    assert study.returncode == 0
    assert set(Store(out).read_jobs()["state"]) == {"done"}
    return results(out)


def results(out: Path) -> dict[str, bytes]:
    files = [*out.glob("*.parquet"), *out.glob("trials/*/*/*/*"), *out.glob("done/*")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def descendants(pid: int) -> list[int]:
    """Processes below a process: the server, and the workers it has forked."""
    below: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                below += [child, *descendants(child)]
    return below


def check_that_all_is_whole(out: Path) -> dict[str, bytes]:
    """Check that whatever can be read is whole; return the finished runs."""
    for file in out.rglob("[!.]*.parquet"):
        pq.read_table(file)
    marks = [*out.glob("done/[!.]*-tiny-*.json")]
    files = [
        *marks,
        *(file for mark in marks for file in out.glob(f"trials/*/*/*/{mark.stem.rpartition('-')[2]}.parquet")),
    ]
    runs = {str(file.relative_to(out)): file.read_bytes() for file in files}
    if runs:
        trials = load(out)
        assert set(trials.groupby(["learner", "seed"]).size()) == {20}
        assert len(trials) == 20 * len(marks)
        assert len(runs) == 2 * len(marks)
    return runs


def kill_at_random(out: Path, times: int, seed: int) -> dict[str, int]:
    """Kill the study or one of its processes again and again; return how often which was hit.

    It is killed up to half a second after a random line, so at any stage however fast the machine is.
    """
    rng = random.Random(seed)
    hits = {"engine": 0, "worker": 0}
    finished: dict[str, bytes] = {}
    for _ in range(times):
        study = start(out, 0.02)
        assert study.stdout is not None
        for _ in range(rng.randint(1, 4)):
            study.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.5))
        below = descendants(study.pid)
        if below and rng.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(below), signal.SIGKILL)
                hits["worker"] += 1
            time.sleep(rng.uniform(0.0, 0.5))
        study.kill()
        study.communicate()
        hits["engine"] += 1
        runs = check_that_all_is_whole(out)
        assert finished.items() <= runs.items(), "something that was finished has gone or changed"
        finished = runs
    return hits


def test_killed_at_random_moments_it_loses_nothing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed")
    kill_at_random(tmp_path / "killed", times=2, seed=1)
    assert finish(tmp_path / "killed") == undisturbed
    pd.testing.assert_frame_equal(load(tmp_path / "killed"), load(tmp_path / "undisturbed"))


@pytest.mark.endurance
def test_killed_at_fifty_random_moments_it_loses_nothing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed")
    total = {"engine": 0, "worker": 0}
    # Of ten studies each is killed five times, so that kills fall early and late.
    for study in range(10):
        out = tmp_path / f"killed-{study}"
        for what, times in kill_at_random(out, times=5, seed=study).items():
            total[what] += times
        assert finish(out) == undisturbed
    print(f"killed: {total}")
    assert total["engine"] == 50
    assert total["worker"] > 5
