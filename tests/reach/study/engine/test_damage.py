"""Damage inside a study is never read silently: it is named, and its job is done again, or it is refused.

The study is made once, of learners that only copy bytes, and put back before each example.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reach.protocols import PROTOCOLS
from reach.study import DamagedError, Job, Outcome, Store, complete, load, plan
from reach.study.engine.formats import PARTS
from reach.study.engine.store import FILM_PHASES
from reach.study.watch.session import recorded_row, trained_learner

FACTORY, PROTOCOL, SEEDS = "json:loads", PROTOCOLS["prism"], (0, 1)
MADE_AGAIN = ("*.parquet", "summary.*", "pairs.csv")  # written by every command from the results, whatever was there


class MadeUp:
    """Workers that give results made up from the job's seed."""

    def do(self, job: Job) -> Outcome:
        if job.kind == "train":
            return Outcome(job, folder={"config.json": job.name.encode(), "deep/policy.bin": bytes(200)})
        rows = [made_up_row(trial, job.seed) for trial in range(1, 4)]
        trace = {"block": "perturbed", "time_s": 0.02, "remaining": job.seed + 0.5, "trials": 3}
        films = dict.fromkeys(FILM_PHASES, bytes(100)) if job.film else {}
        return Outcome(job, rows=rows, traces=[trace], cost={"weight_updates": job.seed + 7.0}, films=films)

    def close(self) -> None:
        pass


def made_up_row(trial: int, seed: int) -> dict[str, Any]:
    row = {"trial": trial, "block": "baseline", "trial_in_block": trial, "probe": False, "cup_x": 0.0, "cup_y": 0.5}
    row |= {"launch_error_deg": 10.0 * seed + trial, "endpoint_error_cm": 1.0, "time_to_success_s": 1.0}
    return row | {"success": True, "attempts": 1, "tipped": False, "reward": 0.0, "duration_s": 1.0}


@cache
def planned_once() -> list[Job]:
    protocols = {PROTOCOL.name: PROTOCOL}
    return plan(["made-up"], protocols, SEEDS, factory=FACTORY, out=Path("out"), filmed=[(PROTOCOL.name, 0)])


def planned(out: Path) -> list[Job]:
    return [replace(job, folder=str(out / "baseline" / Path(job.folder).name)) for job in planned_once()]


def command(out: Path) -> list[Job]:
    """What a command that makes the study does with its results; return the jobs."""
    store, jobs = Store(out), planned(out)
    with store.only_writer():
        assert not complete(jobs, store, processes=1, show=False, workers=lambda *_: MadeUp())
        store.write_tables(jobs)
        table = pd.DataFrame([{"learner": "made-up", "value": 1.0}])
        store.write_summary(table, table)
    return jobs


def files_of(out: Path) -> dict[str, bytes]:
    """The files of a study, without those that hold times or were set aside."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and ".damaged" not in str(path)]
    kept = {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in kept.items() if name not in ("jobs.jsonl", ".lock")}


def read_all(out: Path) -> dict[str, Any]:
    """All that can be read of a study."""
    store, jobs = Store(out), runs_of(out)
    tables: dict[str, Any] = {f"all {part}": load(out, part) for part in PARTS}
    tables |= {part: store.read(part, jobs) for part in PARTS}
    tables |= {f"whole {part}": load(out / f"{part}.parquet") for part in PARTS}
    row = recorded_row(out, "made-up", PROTOCOL, 1, 2)
    learners = {
        name: data
        for seed in SEEDS
        for folder, _ in [trained_learner(out, "made-up", seed, [FACTORY])]
        for name, data in files_of(folder).items()
    }
    films = {
        (job.name, phase): store.read_file(job, phase, store.marked_files(job) or {})
        for job in jobs
        if job.film
        for phase in FILM_PHASES
    }
    return {
        **{name: table.to_csv() for name, table in tables.items()},
        "row": row,
        "learners": learners,
        "films": films,
    }


def runs_of(out: Path) -> list[Job]:
    return [job for job in planned(out) if job.kind == "protocol"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sound") / "study"
    command(out)
    return out


def put_back(sound: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(sound, out)


ANY_CASE = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=8, **ANY_CASE)
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_named_and_a_rerun_ends_with_the_same_bytes(
    sound: Path, tmp_path: Path, data: st.DataObject
) -> None:
    flip_read_and_rerun(sound, out := tmp_path / "study", data)
    assert files_of(out) == files_of(sound)
    assert read_all(out) == read_all_of(sound)


@pytest.mark.endurance
@settings(max_examples=3_000, **ANY_CASE)
@given(data=st.data())
def test_any_of_three_thousand_flipped_bits_is_refused_or_named(
    sound: Path, tmp_path: Path, data: st.DataObject
) -> None:
    flip_read_and_rerun(sound, out := tmp_path / "study", data)
    assert files_of(out) == files_of(sound)
    assert read_all(out) == read_all_of(sound)


def flip_read_and_rerun(sound: Path, out: Path, data: st.DataObject) -> None:
    put_back(sound, out)
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    file = data.draw(st.sampled_from(files))
    whole = bytearray(file.read_bytes())
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[place] ^= 1 << bit
    file.write_bytes(whole)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        refusal = None
        try:
            assert read_all(out) == read_all_of(sound)
        except DamagedError as error:
            refusal = str(error)
        assert refusal is None or str(file) in refusal
        raised.clear()
        command(out)
    if not any(file.match(pattern) and file.parent == out for pattern in MADE_AGAIN) and file.name != "jobs.jsonl":
        assert any(str(file) in str(warning.message) for warning in raised)


@cache
def read_all_of(sound: Path) -> dict[str, Any]:
    return read_all(sound)


@pytest.mark.parametrize(
    "kind",
    [
        "film", "costs", "traces", "policy", "one seed's in another's place", "trials of another", "traces of another",
        "costs of another", "table of jobs",
    ],
)  # fmt: skip
def test_what_is_missing_cut_short_or_of_another_seed_is_named_and_made_again(
    kind: str, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    put_back(sound, out)
    first, second = runs_of(out)
    store, part = Store(out), kind.removesuffix(" of another")
    policies = [Path(job.folder) / "deep" / "policy.bin" for job in (first, second)]
    match kind:
        case "film":
            damaged = store.film_paths(first)["after"]
            damaged.unlink()
        case "table of jobs":
            damaged = store.jobs_path
            damaged.unlink()
            (damaged / "below").mkdir(parents=True)
        case "policy":
            damaged = policies[0]
            damaged.write_bytes(damaged.read_bytes()[:-1])
        case "one seed's in another's place":
            damaged = Path(first.folder) / "config.json"
            damaged.write_bytes((Path(second.folder) / "config.json").read_bytes())
        case "costs" | "traces":
            damaged = store.part_path(part, first)
            damaged.unlink()
        case _:
            damaged = store.part_path(part, first)
            damaged.write_bytes(store.part_path(part, second).read_bytes())
    if part in PARTS:
        with pytest.raises(DamagedError, match=f"{damaged} is damaged.*repeat the command of the study"):
            store.read(part, [first, second])
    with pytest.warns(UserWarning, match=str(damaged)):
        command(out)
    assert files_of(out) == files_of(sound)
