"""The laws of the store: whole or not at all, one writer, the same bytes, nothing of another definition."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reach.files import UNSEALED, DiskFullError, make_folder, replace_by_empty, seal, write_file
from reach.protocols import PROTOCOLS
from reach.study import DamagedError, Job, Store, load, plan
from reach.study.engine.formats import COLUMNS, summary_bytes, trials_frame
from reach.study.engine.jobs import JobTable, Outcome
from reach.study.engine.store import FILM_PHASES

JOB = Job("protocol", "none", 0, "somewhere:prepare", "baseline/none-0", "0123456789ab", "prism")


def row(trial: int, **other: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "trial": trial,
        "block": "baseline",
        "trial_in_block": trial,
        "probe": False,
        "cup_x": 0.1,
        "cup_y": 0.5,
        "launch_error_deg": 1.5,
        "endpoint_error_cm": 0.5,
        "time_to_success_s": math.nan,
        "success": True,
        "attempts": 1,
        "tipped": False,
        "reward": 0.0,
        "duration_s": 1.0,
    }
    return made | other


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_file(path, b"old")

    def full_disk(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DiskFullError, match="No space left on the disk; finished files are intact") as caught:
        write_file(path, b"new")
    assert "file.json" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_place_where_no_folder_can_be_is_refused_by_the_argument_that_gave_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", "--out")
    make_folder(tmp_path / "a" / "b", "--out")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=f"--out: expected a folder that can be written, got {place}"):
            make_folder(place, "--out")


def test_parts_left_by_a_kill_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    path = store.part_path("trials", JOB)
    part = path.with_name(f".{path.name}.part-another-machine-1-01234567")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    with store.only_writer():
        assert not part.exists()


def test_what_a_killed_writer_left_of_a_file_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    code = (
        "import os, sys; from pathlib import Path; from reach.files import write_file\n"
        "os.fsync = lambda file: os._exit(9)\n"
        "write_file(Path(sys.argv[1]), b'half')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_file(path, b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reach.study import Store\n"
        "with Store(Path(sys.argv[1])).only_writer(): pass"
    )
    with Store(tmp_path).only_writer():
        second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert second.returncode != 0
    assert f"is being written by process {os.getpid()} on {socket.gethostname()}" in second.stderr
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 0


@pytest.mark.parametrize("placed", ["link", "hard link", "folder", "pipe"])
def test_a_lock_that_is_no_file_of_its_own_is_refused_by_name_and_nothing_is_truncated(
    placed: str, tmp_path: Path
) -> None:
    out, valued = tmp_path / "out", tmp_path / "valued"
    out.mkdir()
    valued.write_text("of value")
    lock = out / ".lock"
    match placed:
        case "link":
            lock.symlink_to(valued)
        case "hard link":
            lock.hardlink_to(valued)
        case "folder":
            lock.mkdir()
        case _:
            os.mkfifo(lock)
    with pytest.raises(OSError, match=f"expected a regular file.*{lock}"), Store(out).only_writer():
        pass
    assert valued.read_text() == "of value"


def test_nothing_outside_the_folder_is_written_or_cut_through_links_in_it(tmp_path: Path) -> None:
    store, valued = Store(tmp_path / "out"), tmp_path / "valued"
    valued.write_text("of value")
    filmed = replace(JOB, film=True)
    paths = [store.part_path(part, JOB) for part in ("trials", "costs")]
    paths += [*store.film_paths(JOB).values(), store.mark_path(JOB), store.error_path(JOB), store.log_path(JOB)]
    paths += [store.trials_path, store.summary_path, store.report_path, store.jobs_path]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(valued)
    with store.only_writer():
        with pytest.warns(UserWarning, match=r"jobs\.jsonl: expected a regular file"):
            JobTable(store.jobs_path, [JOB], {JOB.name})
        store.write_outcome(Outcome(filmed, error="it failed"))
        films = dict.fromkeys(FILM_PHASES, b"film")
        store.write_outcome(Outcome(filmed, rows=[row(1)], cost={"weight_updates": 1.0}, films=films))
        store.write_tables([JOB])
        write_file(store.report_path, b"report")
        os.close(replace_by_empty(store.log_path(JOB)))
    assert valued.read_text() == "of value"
    assert len(load(store.folder)) == 1


@pytest.mark.parametrize("folder", ["films", "baseline", "trials/learner=none", "logs"])
def test_a_link_in_place_of_a_folder_of_results_is_refused_by_name(folder: str, tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "out" / folder
    elsewhere.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match=f"{link} is a link"), Store(tmp_path / "out").only_writer():
        pass


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_outcome(Outcome(JOB, rows=[row(1), row(2, launch_error_deg=math.nan)]))
    trials = store.read("trials", [JOB])
    assert list(trials.columns) == list(COLUMNS)
    assert trials["learner"].tolist() == ["none", "none"]
    assert trials["seed"].tolist() == [0, 0]
    assert math.isnan(trials["launch_error_deg"][1])
    store.write_tables([JOB])
    pd.testing.assert_frame_equal(load(tmp_path), trials)
    pd.testing.assert_frame_equal(load(tmp_path / "trials.parquet"), trials)


def test_a_whole_table_that_is_damaged_is_made_up_for_by_its_runs_or_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_outcome(Outcome(JOB, rows=[row(1), row(2)]))
    store.trials_path.write_bytes(b"junk")
    with pytest.raises(DamagedError, match=r"trials\.parquet is damaged"):
        load(tmp_path)
    JobTable(store.jobs_path, [JOB], {JOB.name})
    with pytest.warns(UserWarning, match=r"trials\.parquet is damaged"):
        assert len(load(tmp_path)) == 2


def test_a_table_of_jobs_whose_names_are_paths_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    JobTable(store.jobs_path, [JOB], {JOB.name})
    sound = json.loads(store.jobs_path.read_bytes().splitlines()[0])
    for column, value in {"learner": "../../elsewhere", "protocol": "a/b", "fingerprint": "/x", "seed": "0"}.items():
        forged = json.dumps(sound | {column: value})
        store.jobs_path.write_bytes(seal(f'{forged}\n{{"seal": "{UNSEALED}"}}\n'.encode()))
        with pytest.raises(DamagedError, match=f"{store.jobs_path} is damaged: {column}: expected .*, got '{value}'"):
            load(tmp_path)


def test_a_row_without_a_column_is_an_error_that_names_it() -> None:
    short = row(1)
    del short["reward"]
    with pytest.raises(ValueError, match="reward"):
        trials_frame([{"learner": "none", "protocol": "prism", "seed": 0, **short}])


def test_loading_a_folder_without_results_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"compare\.py --out"):
        load(tmp_path)


def test_a_filmed_job_is_done_only_with_its_films(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_outcome(Outcome(JOB, rows=[row(1)]))
    filmed = replace(JOB, film=True)
    assert store.is_done(JOB)
    assert not store.is_done(filmed)
    store.write_outcome(Outcome(filmed, rows=[row(1)], films=dict.fromkeys(FILM_PHASES, b"film")))
    assert store.is_done(filmed)


def test_a_success_removes_the_error_of_an_earlier_try(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_outcome(Outcome(JOB, error="it failed"))
    assert not store.is_done(JOB)
    store.write_outcome(Outcome(JOB, rows=[row(1)]))
    assert not store.error_path(JOB).exists()


def test_summary_is_strict_json_with_the_same_bytes_for_numbers_that_differ_in_the_last_bit() -> None:
    one = {"learner": "none", "metric": "L30", "value": 0.1 + 0.2, "low": -0.0, "high": math.inf, "seeds": 5}
    other = one | {"value": 0.3, "low": 0.0}
    assert summary_bytes(pd.DataFrame([one])) == summary_bytes(pd.DataFrame([other]))
    (read,) = json.loads(summary_bytes(pd.DataFrame([one])))
    assert read == {"learner": "none", "metric": "L30", "value": 0.3, "low": 0.0, "high": None, "seeds": 5}


def test_results_of_another_definition_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def planned(trials: int) -> Job:
        protocol = PROTOCOLS["prism"]
        changed = replace(protocol, blocks=(replace(protocol.blocks[0], trials=trials), *protocol.blocks[1:]))
        return plan(["none"], {"prism": changed}, [0], factory="json:loads", out=tmp_path)[-1]

    store.write_outcome(Outcome(planned(20), rows=[row(1)]))
    assert store.is_done(planned(20))
    assert not store.is_done(planned(21))
    assert store.other_results([planned(21)]) == 1
    assert store.read("trials", [planned(21)]).empty


def test_the_fingerprint_follows_learner_seed_and_factory_but_not_the_folder(tmp_path: Path) -> None:
    def marks(learner: str = "none", seed: int = 0, factory: str = "json:loads", out: Path = tmp_path) -> list[str]:
        jobs = plan([learner], {"prism": PROTOCOLS["prism"]}, [seed], factory=factory, out=out)
        return [job.fingerprint for job in jobs]

    assert marks() == marks(out=tmp_path / "elsewhere")
    others = [marks(learner="error-bp"), marks(seed=1), marks(factory="json:load")]
    assert all(mark not in marks() for other in others for mark in other)


@pytest.mark.parametrize("bad", ["", "a/b", "../up", "-dash", "n" * 101, "trailing\n"])
def test_a_learner_or_protocol_whose_name_cannot_name_a_file_is_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"learner: expected up to 100"):
        plan([bad], {}, [0], factory="json:loads", out=tmp_path)
    with pytest.raises(ValueError, match=r"protocol: expected up to 100"):
        plan(["none"], {bad: PROTOCOLS["prism"]}, [0], factory="json:loads", out=tmp_path)
    with pytest.raises(ValueError, match=r"Protocol name: expected up to 100"):
        replace(PROTOCOLS["prism"], name=bad)


def test_results_of_the_longest_names_can_be_written(tmp_path: Path) -> None:
    longest = "n" * 100
    store = Store(tmp_path)
    films = dict.fromkeys(FILM_PHASES, b"film")
    for job in plan([longest], {longest: PROTOCOLS["prism"]}, [2**63], factory="json:loads", out=tmp_path):
        store.write_outcome(Outcome(job, error="it failed"))
        store.write_outcome(Outcome(job, rows=[row(1)], films=films, folder={"config.json": b"{}"}))
        assert store.is_done(job)
