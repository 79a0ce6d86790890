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


def write_table(path: Path) -> None:
    with JobTable(path) as table:
        table.enter([RUN], {RUN.name: True})


def test_a_job_waits_runs_and_ends_as_readers_see_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    with JobTable(path) as table:
        table.enter([TRAINING, RUN], {TRAINING.name: True, RUN.name: False})
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
    with JobTable(path) as table:
        table.enter([RUN], {RUN.name: False})
        table.begin(RUN)
    with JobTable(path) as table:
        table.enter([RUN], {RUN.name: False})
        assert states(path) == {RUN.name: "waiting"}
        table.enter([RUN], {RUN.name: True})
        assert states(path) == {RUN.name: "done"}


def test_jobs_that_are_not_of_the_present_study_are_kept_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    with JobTable(path) as table:
        table.enter([TRAINING, RUN], {TRAINING.name: True, RUN.name: True})
        table.enter([RUN], {RUN.name: True})
        assert list(states(path)) == [RUN.name]
        table.enter([RUN, TRAINING], {TRAINING.name: True, RUN.name: True})
        assert list(states(path)) == [RUN.name, TRAINING.name]


def test_a_folder_without_a_table_has_no_jobs(tmp_path: Path) -> None:
    assert read_jobs(tmp_path / "jobs.jsonl").empty


def test_a_line_that_a_kill_has_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    write_table(path)
    whole = path.read_bytes()
    with JobTable(path) as table:
        table.enter([RUN], {RUN.name: False})
        before = path.read_bytes()
        table.begin(RUN)
        added = path.read_bytes()[len(before) :]
    for kept in (0, 1, 100, len(added) - 2, len(added) - 1):
        path.write_bytes(before + added[:kept])
        assert states(path) == {RUN.name: "waiting"}
    write_table(path)
    assert path.read_bytes()[: len(whole)].count(b"\n") == 1


def forged(changes: dict[str, Any]) -> bytes:
    """A table with a valid seal and one job, changed."""
    row = {"name": RUN.name, "place": 0, "kind": "protocol", "learner": "none", "protocol": "prism", "seed": 0}
    row |= {"fingerprint": RUN.fingerprint, "state": "done", "tries": 1, "traceback": ""}
    row |= dict.fromkeys(("cpu_seconds", "wall_seconds", "started", "ended"), 0.0) | {"seal": UNSEALED}
    return seal(json.dumps(row | changes).encode() + b"\n")


def test_whatever_is_in_the_place_of_the_table_is_named_kept_aside_and_made_again(tmp_path: Path) -> None:
    sound = forged({})
    (tmp_path / "jobs.jsonl").write_bytes(sound)
    assert states(tmp_path / "jobs.jsonl") == {RUN.name: "done"}
    placed: dict[str, bytes | None] = {
        "a link": None,
        "junk": b"junk\n",
        "a changed row": sound.replace(b"none", b"nine"),
        "a changed end": sound[:-1] + b"\x0b",
        "no text": b"\xff\n",
        "a number": seal(b'"%s"\n' % UNSEALED.encode()),
        "a list": forged({"name": []}),
        "a place that is text": forged({"place": "0"}),
        "seconds that are text": forged({"started": "now"}),
        "a missing row": forged({"place": 1}),
    }
    for number, (what, data) in enumerate(placed.items()):
        path = tmp_path / str(number) / "jobs.jsonl"
        path.parent.mkdir()
        path.symlink_to(tmp_path / "nowhere") if data is None else path.write_bytes(data)
        with pytest.raises(DamagedError, match=r"jobs\.jsonl holds no table of jobs that can be read"):
            read_jobs(path)
        if number < 8:
            for aside in ("damaged", "damaged-2"):
                with pytest.warns(UserWarning, match=rf"kept as .*jobs\.jsonl\.{aside}"):
                    write_table(path)
                assert states(path) == {RUN.name: "done"}, what
                path.write_bytes(b"junk\n")


def test_a_full_disk_is_an_error_that_says_so_and_leaves_the_table_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.jsonl"
    write = os.write
    with JobTable(path) as table:
        table.enter([RUN], {RUN.name: False})
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:50]))
        with pytest.raises(DiskFullError, match="No space left on the disk") as raised:
            table.begin(RUN)
        assert raised.value.errno == errno.ENOSPC
        assert states(path) == {RUN.name: "waiting"}
