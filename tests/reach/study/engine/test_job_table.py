"""The table of jobs: one writer, readers at any moment, and no loss that the results cannot mend."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reach.files import UNSEALED, seal
from reach.study import DamagedError, DiskFullError, Job, Outcome, Store
from reach.study.engine.jobs import JobTable

TRAINING = Job("train", "none", 0, "somewhere:prepare", "baseline/none-0", "0123456789ab")
RUN = Job("protocol", "none", 0, "somewhere:prepare", "baseline/none-0", "ba9876543210", "prism", TRAINING.name)


def read_jobs(path: Path) -> pd.DataFrame:
    return Store(path.parent).read_jobs()


def states(path: Path) -> dict[str, str]:
    table = read_jobs(path)
    return dict(zip(table["name"], table["state"], strict=True))


def test_a_job_waits_runs_and_ends_as_readers_see_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    table = JobTable(path, [TRAINING, RUN], {TRAINING.name})
    assert states(path) == {TRAINING.name: "done", RUN.name: "waiting"}
    table.begin(RUN)
    assert states(path)[RUN.name] == "running"
    table.end(Outcome(RUN, error="Traceback: it failed", tries=2, cpu_seconds=1.5, wall_seconds=2.0))
    row = read_jobs(path).iloc[1]
    assert (row["state"], row["tries"], row["cpu_seconds"], row["wall_seconds"]) == ("failed", 2, 1.5, 2.0)
    assert row["traceback"] == "Traceback: it failed"
    assert row["ended"] >= row["started"]
    table.begin(RUN)
    table.end(Outcome(RUN, rows=[{}], cpu_seconds=1.0))
    row = read_jobs(path).iloc[1]
    assert (row["state"], row["tries"], row["traceback"]) == ("done", 3, "")
    assert row["wall_seconds"] != row["wall_seconds"]  # not measured
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_ran_when_the_engine_was_killed_waits_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    JobTable(path, [RUN], set()).begin(RUN)
    JobTable(path, [RUN], set())
    assert states(path) == {RUN.name: "waiting"}
    JobTable(path, [RUN], {RUN.name})
    assert states(path) == {RUN.name: "done"}


def test_jobs_that_are_not_of_the_present_study_are_kept_and_not_read(tmp_path: Path) -> None:
    path, done = tmp_path / "jobs.jsonl", {TRAINING.name, RUN.name}
    JobTable(path, [TRAINING, RUN], set()).end(Outcome(TRAINING, wall_seconds=2.0))
    JobTable(path, [RUN], done)
    assert list(states(path)) == [RUN.name]
    JobTable(path, [RUN, TRAINING], done)
    assert list(states(path)) == [RUN.name, TRAINING.name]
    assert read_jobs(path)["wall_seconds"][1] == 2.0


def test_a_folder_without_a_table_has_no_jobs(tmp_path: Path) -> None:
    assert read_jobs(tmp_path / "jobs.jsonl").empty


def forged(*rows: str | dict[str, Any]) -> bytes:
    """A table with a valid seal, and one job with changes for each row that is a dictionary."""
    sound = {"name": RUN.name, "present": True, "kind": "protocol", "learner": "none", "protocol": "prism", "seed": 0}
    sound |= {"fingerprint": RUN.fingerprint, "state": "done", "tries": 1, "traceback": ""}
    sound |= dict.fromkeys(("cpu_seconds", "wall_seconds", "started", "ended"), 0.0)
    lines = [row if isinstance(row, str) else json.dumps(sound | row) for row in rows]
    return seal("\n".join([*lines, json.dumps({"seal": UNSEALED}), ""]).encode())


def test_whatever_is_in_the_place_of_the_table_is_named_kept_aside_and_made_again(tmp_path: Path) -> None:
    sound = forged({})
    (tmp_path / "jobs.jsonl").write_bytes(sound)
    assert states(tmp_path / "jobs.jsonl") == {RUN.name: "done"}
    placed: dict[str, bytes | None] = {
        "a link": None,
        "junk": b"junk\n",
        "a changed row": sound.replace(b"none", b"nine"),
        "a changed end": sound[:-1] + b"\x0b",
        "a missing row": sound[sound.index(b"\n") + 1 :],
        "no text": b"\xff\n",
        "no JSON": forged("junk"),
        "a number": forged("1"),
        "a list": forged({"name": []}),
        "seconds that are text": forged({"started": "now"}),
    }
    for number, (what, data) in enumerate(placed.items()):
        path = tmp_path / str(number) / "jobs.jsonl"
        path.parent.mkdir()
        path.symlink_to(tmp_path / "nowhere") if data is None else path.write_bytes(data)
        with pytest.raises(DamagedError, match=r"jobs\.jsonl holds no table of jobs that can be read"):
            read_jobs(path)
        if what != "seconds that are text":
            for aside in ("damaged", "damaged-2"):
                with pytest.warns(UserWarning, match=rf"kept as .*jobs\.jsonl\.{aside}"):
                    JobTable(path, [RUN], {RUN.name})
                assert states(path) == {RUN.name: "done"}, what
                path.write_bytes(b"junk\n")


def test_a_full_disk_is_an_error_that_says_so_and_leaves_the_table_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.jsonl"
    table = JobTable(path, [RUN], set())

    def full_disk(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DiskFullError, match="No space left on the disk") as raised:
        table.begin(RUN)
    assert raised.value.errno == errno.ENOSPC
    assert states(path) == {RUN.name: "waiting"}
