"""The table of jobs: one writer, readers at any moment, and no loss that the results cannot mend."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reach.study import DamagedError, DiskFullError, Job, Outcome
from reach.study.engine.ledger import Ledger, read_ledger

TRAINING = Job("train", "none", 0, "somewhere:prepare", "baseline/none-0", "0123456789ab")
RUN = Job("protocol", "none", 0, "somewhere:prepare", "baseline/none-0", "ba9876543210", "prism", TRAINING.name)


def states(path: Path) -> dict[str, str]:
    table = read_ledger(path)
    return dict(zip(table["name"], table["state"], strict=True))


def test_a_job_waits_runs_and_ends_as_readers_see_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([TRAINING, RUN], {TRAINING.name: True, RUN.name: False})
        assert states(path) == {TRAINING.name: "done", RUN.name: "waiting"}
        ledger.begun(RUN)
        assert states(path)[RUN.name] == "running"
        ledger.ended(Outcome(RUN, error="Traceback: it failed", tries=2, cpu_seconds=1.5, wall_seconds=2.0))
        row = read_ledger(path).iloc[1]
        assert (row["state"], row["tries"], row["cpu_seconds"], row["wall_seconds"]) == ("failed", 2, 1.5, 2.0)
        assert row["traceback"] == "Traceback: it failed"
        assert row["ended"] >= row["started"]
        ledger.begun(RUN)
        ledger.ended(Outcome(RUN, rows=[{}], cpu_seconds=1.0, wall_seconds=1.0))
    row = read_ledger(path).iloc[1]
    assert (row["state"], row["tries"], row["traceback"]) == ("done", 3, "")


def test_what_ran_when_the_engine_was_killed_waits_again(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: False})
        ledger.begun(RUN)
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: False})
        assert states(path) == {RUN.name: "waiting"}
        ledger.enter([RUN], {RUN.name: True})
        assert states(path) == {RUN.name: "done"}


def test_jobs_that_are_not_of_the_present_study_are_kept_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([TRAINING, RUN], {TRAINING.name: True, RUN.name: True})
        ledger.enter([RUN], {RUN.name: True})
        assert list(states(path)) == [RUN.name]
        ledger.enter([RUN, TRAINING], {TRAINING.name: True, RUN.name: True})
        assert list(states(path)) == [RUN.name, TRAINING.name]


def test_at_rest_the_table_is_one_file_that_reading_leaves_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
        assert ledger.table.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    before = path.read_bytes()
    assert states(path) == {RUN.name: "done"}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_folder_without_a_table_has_no_jobs(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "jobs.sqlite").empty


@pytest.mark.parametrize("kept", [0, 30, 6000])
def test_a_damaged_table_is_named_and_is_kept_aside_when_it_is_made_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
    damaged = path.read_bytes()[:kept]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"jobs\.sqlite holds no table of jobs that can be read"):
        read_ledger(path)
    if not damaged:  # there is nothing to keep
        with Ledger(path):
            assert states(path) == {}
        return
    with pytest.warns(UserWarning, match=r"is kept as .*jobs\.sqlite\.damaged"), Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
    assert states(path) == {RUN.name: "done"}
    assert (tmp_path / "jobs.sqlite.damaged").read_bytes() == damaged


@pytest.mark.parametrize("placed", ["folder", "link", "table of others", "changed row", "unreadable text"])
def test_whatever_is_in_the_place_of_the_table_is_named_and_made_again(placed: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    if placed == "folder":
        (path / "below").mkdir(parents=True)
    elif placed == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        with Ledger(path) as ledger:
            ledger.enter([RUN], {RUN.name: True})
        changed = {
            "table of others": "ALTER TABLE jobs DROP COLUMN place",
            "changed row": "UPDATE jobs SET learner = 'another'",
            "unreadable text": "UPDATE jobs SET learner = CAST(x'ff' AS TEXT)",
        }
        with closing(sqlite3.connect(path)) as table, table:
            table.execute(changed[placed])
    with pytest.raises(DamagedError, match=r"jobs\.sqlite holds no table of jobs that can be read"):
        read_ledger(path)
    with pytest.warns(UserWarning, match=r"kept as .*jobs\.sqlite\.damaged"), Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
    assert states(path) == {RUN.name: "done"}
    # A second time, with the first one still kept.
    path.write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"kept as .*jobs\.sqlite\.damaged-2"), Ledger(path):
        assert states(path) == {}


def test_a_table_that_another_program_holds_is_left_alone_and_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match=r"jobs\.sqlite cannot be written \(database is locked\)"):
            Ledger(path)
    assert states(path) == {RUN.name: "done"}


def test_a_full_disk_is_an_error_that_says_so_and_leaves_the_table_readable(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    many = [Job("train", f"learner{k}", 0, "somewhere:prepare", "", f"{k:012x}") for k in range(2000)]
    with Ledger(path) as ledger:
        ledger.enter([RUN], {RUN.name: True})
        ledger.table.execute("PRAGMA max_page_count = 8")  # SQLite's own way of running out of room
        with pytest.raises(DiskFullError, match="No space left on the disk"):
            ledger.enter(many, {job.name: False for job in many})
        assert states(path) == {RUN.name: "done"}
    assert states(path) == {RUN.name: "done"}
    with sqlite3.connect(path) as table:
        assert table.execute("PRAGMA integrity_check").fetchone() == ("ok",)
