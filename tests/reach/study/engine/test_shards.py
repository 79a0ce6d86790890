"""Shards: every job in just one, a training beside its runs, and the same study when they are gathered."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reach.files import UNSEALED, seal, sha256_of, write_file, write_folder
from reach.protocols import PROTOCOLS
from reach.study import DamagedError, Job, Outcome, Shard, Store, merge, plan, shard_folders
from reach.study.engine.store import FILM_PHASES

LEARNERS, SEEDS = ("none", "error-bp", "error-dfa"), range(5)


@cache
def planned_once() -> list[Job]:
    protocols = {name: PROTOCOLS[name] for name in ("prism", "rotation30")}
    return plan(LEARNERS, protocols, SEEDS, factory="json:loads", out=Path("out"), filmed=[("prism", 0)])


def planned(out: Path) -> list[Job]:
    return [replace(job, folder=str(out / "baseline" / Path(job.folder).name)) for job in planned_once()]


def outcome(job: Job) -> Outcome:
    """What a job might give: a number that only it gives."""
    row = {"trial": 1, "block": "baseline", "trial_in_block": 1, "probe": False, "cup_x": 0.0, "cup_y": 0.5}
    row |= {"launch_error_deg": float(int(job.fingerprint, 16) % 97), "endpoint_error_cm": 1.0}
    row |= {"time_to_success_s": 1.0, "success": True, "attempts": 1, "tipped": False, "reward": 0.0, "duration_s": 1.0}
    trace = {"block": "perturbed", "time_s": 0.02, "remaining": 1.0, "trials": 3}
    films = dict.fromkeys(FILM_PHASES, b"film") if job.film else {}
    if job.kind == "train":
        return Outcome(job, folder={"config.json": job.name.encode()})
    return Outcome(job, rows=[row], traces=[trace], cost={"weight_updates": 7.0}, films=films)


@pytest.mark.parametrize("of", [1, 2, 4, 15, 40])
def test_every_job_is_in_just_one_shard_and_a_training_beside_its_runs(of: int, tmp_path: Path) -> None:
    jobs = planned(tmp_path)
    shards = [Shard(number, of).of_jobs(jobs) for number in range(1, of + 1)]
    assert sorted(job.name for shard in shards for job in shard) == sorted(job.name for job in jobs)
    for shard in shards:
        names = {job.name for job in shard}
        assert all(job.needs in names for job in shard if job.needs)
    if of <= 15:
        sizes = [len(shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 3  # a learner and seed is a training and two runs


def test_gathered_shards_are_the_study_that_was_never_cut(tmp_path: Path) -> None:
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    for job in planned(whole.folder):
        whole.write_outcome(outcome(job))
    for number in (1, 2, 3):
        folder = Shard(number, 3).folder(cut.folder)
        for job in Shard(number, 3).of_jobs(planned(folder)):
            Store(folder).write_outcome(outcome(job))
    jobs = planned(cut.folder)
    assert merge(cut, jobs, shard_folders(cut.folder)) == len(jobs)
    assert all(cut.is_done(job) for job in jobs)
    for part in ("trials", "traces", "costs"):
        pd.testing.assert_frame_equal(cut.read(part, jobs), whole.read(part, planned(whole.folder)))
    assert (Path(jobs[0].folder) / "config.json").read_bytes() == jobs[0].name.encode()
    assert merge(cut, jobs, shard_folders(cut.folder)) == 0


def test_what_a_shard_has_not_finished_is_left_to_be_done(tmp_path: Path) -> None:
    store, folder = Store(tmp_path), Shard(1, 2).folder(tmp_path)
    jobs = Shard(1, 2).of_jobs(planned(folder))
    training, run = jobs[0], next(job for job in jobs if job.needs == jobs[0].name)
    Store(folder).write_outcome(outcome(training))
    # A run that has its trials and not yet its mark, and one of another definition.
    write_file(Store(folder).part_path("trials", run), b"")
    Store(folder).write_outcome(outcome(replace(run, fingerprint="0123456789ab")))
    mine = planned(tmp_path)
    assert merge(store, mine, shard_folders(tmp_path)) == 1
    assert [job.name for job in mine if store.is_done(job)] == [training.name]


PAYLOAD = b"from a stranger"
# Arbitrary values, and names of files put together from what paths are made of.
COMPONENTS = ["..", ".", "", "PAYLOAD", "deep", "C:", "a\\b"]
PATHS = st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=6).map("/".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | PATHS, inner, max_size=3),
    max_leaves=8,
)
FILES = JSON | st.dictionaries(PATHS | st.sampled_from(["costs", "during"]), st.just(sha256_of(PAYLOAD)), max_size=3)


def forged(mark: Any, job: Job, folder: Path) -> None:
    """Write a validly sealed mark of a job into a stranger's folder, beside files that have the payload."""
    there = replace(job, folder=str(folder / "baseline" / Path(job.folder).name))
    for place in (folder, *folder.parents[:2], folder / "baseline", Path(there.folder), Path(there.folder) / "deep"):
        write_file(place / "PAYLOAD", PAYLOAD)
    write_file(Store(folder).mark_path(there), seal(json.dumps(mark).encode()))


def files_outside(out: Path) -> dict[Path, bytes]:
    files = (path for path in out.parent.rglob("*") if path.is_file() and not path.is_relative_to(out))
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("place", [0, -1], ids=["training", "run"])
@pytest.mark.parametrize(
    "name", ["../../../PAYLOAD", "/tmp/../PAYLOAD", "deep//x", "", ".", "a\\b", "C:/x", "\0", "\ud800", "trials/../x"]
)
def test_a_forged_mark_that_names_a_path_elsewhere_is_refused_and_nothing_is_written_there(
    place: int, name: str, tmp_path: Path
) -> None:
    out = tmp_path / "a" / "out"
    job, folder = planned(out)[place], Shard(1, 1).folder(out)
    files = {name: sha256_of(PAYLOAD)}
    forged({"job": job.name, "files": files, "seal": UNSEALED}, job, folder)
    before = files_outside(out)
    with pytest.warns(UserWarning, match=f"{folder}.*is damaged"):
        assert merge(Store(out), [job], [folder]) == 0
    assert files_outside(out) == before
    assert not (tmp_path / "PAYLOAD").exists()


@pytest.mark.parametrize("place", [0, -1], ids=["training", "run"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mark_of_any_json_is_read_or_refused_by_name_and_nothing_is_written_outside(
    place: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("any") / "a" / "out"
    job, folder = planned(out)[place], Shard(1, 1).folder(out)
    files = data.draw(FILES)
    sealed = {"job": job.name, "files": files, "seal": UNSEALED}
    mark = data.draw(st.just(sealed) | st.lists(st.just(UNSEALED) | JSON, max_size=2).map(lambda end: [*end, UNSEALED]))
    forged(mark, job, folder)
    before = files_outside(out)
    there = replace(job, folder=str(folder / "baseline" / Path(job.folder).name))
    refusal = None
    try:
        Store(folder).check(there)
    except DamagedError as error:
        refusal = str(error)
    assert refusal is None or str(folder) in refusal
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert merge(Store(out), [job], [folder]) == (refusal is None)
    assert files_outside(out) == before


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "a\\b", "C:x"])
def test_a_folder_of_files_is_not_written_where_one_of_them_leads_out_of_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a relative path inside"):
        write_folder(tmp_path / "in" / "folder", {"sound": b"", name: b""})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [("3", "expected K/N"), ("0/2", "expected 1/2 to 2/2"), ("3/2", "expected 1/2 to 2/2")],
)
def test_a_bad_shard_is_an_error_that_says_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shard.read(text)
