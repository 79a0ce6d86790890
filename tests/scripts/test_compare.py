"""`scripts/compare.py` as a user runs it: one command, killed, continued, the same bytes."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import compare as script
import pyarrow.parquet as pq
import pytest

from agents.registry import FACTORIES, is_learner
from reach.protocols import PROTOCOLS
from reach.study import load
from reach.study.engine.jobs import JobTable
from reach.study.watch.session import trained_learner

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "reach" / "study"
PROTOCOL = """
name = "{name}"
[[blocks]]
name = "baseline"
trials = {before}
[[blocks]]
name = "perturbed"
trials = {during}
perturbation = [{{kind = "prism"}}]
"""
TRIALS = 18


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A protocol of few trials, as a file."""
    file = tmp_path_factory.mktemp("protocol") / "short.toml"
    file.write_text(PROTOCOL.format(name="short", before=6, during=12))
    return str(file)


@pytest.fixture(scope="module")
def shortest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A protocol of three trials, as a file."""
    file = tmp_path_factory.mktemp("protocol") / "shortest.toml"
    file.write_text(PROTOCOL.format(name="shortest", before=1, during=2))
    return str(file)


Compare = Callable[..., subprocess.CompletedProcess[str]]


def words(out: Path, protocol: str, *flags: str) -> list[str]:
    return [
        *("--out", str(out), "--factory", "fake_learner:prepare", "--learners", "still", "wandering"),
        *("--protocols", protocol, "--seeds", "2", "--jobs", "2", "--no-films", *flags),
    ]


def command(out: Path, protocol: str, *flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / "compare.py"), *words(out, protocol, *flags)]


def environment(**settings: str) -> dict[str, str]:
    path = os.pathsep.join([str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | settings


def compare_apart(out: Path, protocol: str, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Compare in a process of its own."""
    return subprocess.run(command(out, protocol, *flags), env=environment(**settings), capture_output=True, text=True)


@pytest.fixture
def compare(run_here: Compare, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Compare in this process, which has imported everything; the workers are processes of their own."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.syspath_prepend(str(FAKES))
    return lambda out, protocol, *flags: run_here("scripts/compare.py", *words(out, protocol, *flags))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, short: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished study, in a terminal that lacks a letter of what is printed."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, compare_apart(out, short, PYTHONIOENCODING="latin-1")


def test_it_writes_trials_summary_and_report_and_names_the_next_command(
    undisturbed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = undisturbed
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout  # in place of the letter
    assert len(load(out)) == 2 * 2 * TRIALS
    for row in json.loads((out / "summary.json").read_text()):
        assert list(row) == ["learner", "protocol", "metric", "value", "low", "high", "seeds", "failed"]
    csv = (out / "summary.csv").read_text().splitlines()
    assert csv[0] == "learner,protocol,metric,value,low,high,seeds,failed"
    assert len(csv) == 1 + len(json.loads((out / "summary.json").read_text()))
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert "on target at first" in done.stdout
    assert "Written:" in done.stdout


def finished_trials(out: Path) -> list[Path]:
    """Return the files of trials of runs that have a completion mark; other files are written again."""
    marked = {mark.stem.rpartition("-")[2] for mark in out.glob("done/[!.]*.json")}
    return [path for path in out.glob("trials/*/*/*/[!.]*.parquet") if path.stem in marked]


def test_killed_and_run_again_it_ends_with_the_same_bytes(
    undisturbed: tuple[Path, subprocess.CompletedProcess[str]],
    short: str,
    tmp_path: Path,
    compare: Compare,
    wait_until: Callable[[Callable[[], bool]], None],
) -> None:
    for finished in (0, 2):
        killed = subprocess.Popen(
            command(tmp_path, short),
            env=environment(FAKE_TRIAL_S="0.1"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(
            lambda finished=finished: len(finished_trials(tmp_path)) >= finished and (tmp_path / "baseline").exists()
        )
        killed.kill()
        killed.wait()
        # What is there so far is there whole.
        if (tmp_path / "summary.json").exists():
            json.loads((tmp_path / "summary.json").read_text())
    kept = {path: path.stat().st_mtime_ns for path in finished_trials(tmp_path)}
    assert len(kept) >= 2
    again = compare(tmp_path, short)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "summary.json").read_bytes() == (undisturbed[0] / "summary.json").read_bytes()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_learner_that_fails_is_named_and_the_others_are_reported(
    short: str, tmp_path: Path, compare: Compare
) -> None:
    done = compare(tmp_path, short, "--learners", "still", "raises")
    assert done.returncode == 1
    (failure,) = re.findall("Failed: raises, baseline training, seed 0: (.*) [(]all of it", done.stdout)
    assert re.fullmatch(r"fake_learner.py, line \d+, in \w+: RuntimeError: this learner cannot be made", failure)
    assert set(load(tmp_path)["learner"]) == {"still"}
    assert "this learner cannot be made" in (tmp_path / "report.html").read_text()


def test_another_comparison_in_the_same_folder_says_what_it_leaves_aside(
    undisturbed: tuple[Path, subprocess.CompletedProcess[str]], short: str, tmp_path: Path, compare: Compare
) -> None:
    out = tmp_path / "again"
    shutil.copytree(undisturbed[0], out)
    done = compare(out, short, "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"Left aside: \d+ results in .*again of other learners, protocols.*of this command only", done.stdout
    )
    assert len(load(out)) == 2 * TRIALS


def test_an_unknown_protocol_is_an_error_that_names_the_known_ones(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path, "rotation31")
    assert done.returncode != 0
    assert "rotation31" in done.stderr
    assert "rotation30" in done.stderr


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path, compare: Compare) -> None:
    (tmp_path / "report.html").write_text("mine")
    done = compare(tmp_path, "prism")
    assert done.returncode != 0
    assert "which has other files" in done.stderr
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_study_that_was_killed_before_its_first_job_ended_is_taken_up(
    short: str, tmp_path: Path, compare: Compare
) -> None:
    JobTable(tmp_path / "jobs.jsonl", [], set())
    done = compare(tmp_path, short)
    assert done.returncode == 0, done.stderr
    assert len(load(tmp_path)) == 2 * 2 * TRIALS


def test_shards_are_gathered_into_the_study_that_was_never_cut(
    undisturbed: tuple[Path, subprocess.CompletedProcess[str]], short: str, tmp_path: Path, compare: Compare
) -> None:
    for shard in ("1/2", "2/2"):
        done = compare(tmp_path, short, "--shard", shard)
        assert done.returncode == 0, done.stderr
        assert "--shard" not in done.stdout.splitlines()[-1]
    assert not (tmp_path / "report.html").exists()
    gathered = compare(tmp_path, short, "--tensorboard", str(tmp_path / "board"))
    assert gathered.returncode == 0, gathered.stderr
    assert "Gathered 8 jobs from 2 shards" in gathered.stdout
    for name in ("summary.json", "summary.csv", "trials.parquet"):
        assert (tmp_path / name).read_bytes() == (undisturbed[0] / name).read_bytes()


def test_a_shard_knows_the_protocols_that_only_the_factory_registers(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path, "tiny", "--shard", "1/4")
    assert done.returncode == 0, done.stderr
    assert set(load(tmp_path / "shard-1-of-4")["protocol"]) == {"tiny"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--shard", "3/2"), "shard: expected 1/2 to 2/2, got 3/2"),
        (("--address", "auto"), "--address: expected --engine ray with it, got --engine local"),
        (("--human", "nowhere"), "--human nowhere:"),
        (("--tensorboard", __file__), f"--tensorboard: expected a folder that can be written, got {__file__}"),
        (("--seeds", "0"), "--seeds: expected 1 or more, got 0"),
        (("--control", "torque"), "--control: expected a learner of this project in --learners, got torque"),
        (("--learners", "none", "error-bp,rat=1"), "--learners: unknown setting: expected one of ["),
        (("--learners", "none", "error-snn-bp,depth=4"), "got 'depth'"),
    ],
)
def test_a_flag_that_cannot_be_followed_is_an_error_that_says_why(
    flags: tuple[str, ...], message: str, tmp_path: Path, compare: Compare
) -> None:
    done = compare(tmp_path, "prism", *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "trials").exists()


def test_a_full_disk_says_what_to_do_and_what_was_finished_can_be_read(
    short: str, tmp_path: Path, compare: Compare
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(small)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        done = compare(small / "out", short)
        assert done.returncode != 0
        assert "No space left on the disk; finished files are intact" in done.stderr
        for file in small.rglob("[!.]*.parquet"):
            pq.read_table(file)
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        again = compare(small / "out", short)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_presets_name_learners_that_there_are() -> None:
    assert set(script.PRESETS) == set(get_args(script.Preset))
    for grid in itertools.chain.from_iterable(script.PRESETS.values()):
        assert all(map(is_learner, grid.learners))
        assert set(grid.protocols) <= set(PROTOCOLS)
        assert grid.learners[0] == "none"
    (paper,) = script.PRESETS["paper"]
    assert len(paper.learners) >= 10
    assert len(paper.protocols) >= 8
    assert paper.seeds >= 10


def test_protocols_are_listed_with_their_sources(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path, "prism", "--list")
    assert done.returncode == 0, done.stderr
    for name in (
        "error-mlp-dfa",
        "error-lstm-eprop",
        "rotation30",
        "prism",
        "curl",
        "savings",
        "switching",
        "jump",
        "generalisation",
    ):
        assert name in done.stdout
    assert "Krakauer" in done.stdout
    assert not (tmp_path / "trials").exists()


def test_a_protocol_file_that_is_wrong_is_refused(tmp_path: Path, compare: Compare) -> None:
    # All studies here are of one; a wrong one is named.
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nblock = []\n')
    wrong = compare(tmp_path / "wrong", str(file))
    assert wrong.returncode != 0
    assert "blocks" in wrong.stderr


def test_a_factory_adds_learners_to_ours_which_are_trained_with_the_control_asked_for(
    short: str, tmp_path: Path, compare: Compare
) -> None:
    flags = ("--learners", "none", "still", "none,rate=0.5", "--seeds", "1", "--control", "torque")
    done = compare(tmp_path / "out", short, *flags)
    assert done.returncode == 0, done.stderr
    assert set(load(tmp_path / "out")["learner"]) == {"none", "still", "none,rate=0.5"}
    for config in (tmp_path / "out" / "baseline").glob("none*/config.json"):
        assert json.loads(config.read_text())["env_options"] == {"control": "torque"}
    (config,) = (tmp_path / "out" / "baseline").glob("none-0-*/config.json")
    assert "it commands torques" in (tmp_path / "out" / "report.html").read_text()
    assert trained_learner(tmp_path / "out", "none", 0, FACTORIES.values()) == (config.parent, True)


def test_a_person_is_compared_as_a_learner_is(
    undisturbed: tuple[Path, subprocess.CompletedProcess[str]], short: str, tmp_path: Path, compare: Compare
) -> None:
    out, _ = undisturbed
    played = load(out)
    one = played[(played["learner"] == "wandering") & (played["seed"] == 0)].assign(learner="person")
    (tmp_path / "me").mkdir()
    one.to_parquet(tmp_path / "me" / "trials.parquet")
    done = compare(out, short, "--person", str(tmp_path / "me"))
    assert done.returncode == 0, done.stderr
    values = {(row["learner"], row["metric"]): row["value"] for row in json.loads((out / "summary.json").read_text())}
    alone = [row for row in values if row[0] == "person"]
    assert alone
    assert "person" in (out / "report.html").read_text()
    assert set(load(out)["learner"]) == {"still", "wandering"}


def test_a_folder_without_a_person_is_refused(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path / "out", "prism", "--person", str(tmp_path))
    assert done.returncode != 0
    assert f"--person {tmp_path}" in done.stderr


# Put into every interpreter, so that it is as if these libraries were not installed.
WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "stable_baselines3", "sb3_contrib", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""
# What the README names as the same bytes.
SAME = ("report.html", "summary.json", "summary.csv", "**/*.parquet", "films/*.mp4", "baseline/*/*", "done/*")


@pytest.fixture(scope="module")
def twice(
    tmp_path_factory: pytest.TempPathFactory, shortest: str
) -> list[tuple[Path, subprocess.CompletedProcess[str]]]:
    """The same command in two folders, with a factory in each and without the libraries of this project's learners."""
    blocked = tmp_path_factory.mktemp("blocked")
    (blocked / "sitecustomize.py").write_text(WITHOUT_TORCH)
    path = os.pathsep.join([str(blocked), str(ROOT)])
    studies = []
    for name in ("one", "other"):
        here = tmp_path_factory.mktemp(name)
        (here / "found_here.py").write_text((FAKES / "fake_learner.py").read_text())
        command_words = [
            *(sys.executable, str(ROOT / "scripts" / "compare.py"), "--out", "study"),
            *("--factory", "found_here:prepare", "--learners", "still", "wandering"),
            *("--protocols", shortest, "--seeds", "1", "--jobs", "2"),
        ]
        done = subprocess.run(
            command_words, cwd=here, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
        )
        studies.append((here / "study", done))
    return studies


def test_a_factory_is_found_in_the_current_directory_and_needs_no_library_of_this_projects_learners(
    twice: list[tuple[Path, subprocess.CompletedProcess[str]]],
) -> None:
    for study, done in twice:
        assert done.returncode == 0, done.stderr
        assert set(load(study)["learner"]) == {"still", "wandering"}


def test_two_studies_by_the_same_command_have_the_same_bytes(
    twice: list[tuple[Path, subprocess.CompletedProcess[str]]],
) -> None:
    (one, done), (other, _) = twice
    assert "CPU time of a run, median: still" in done.stdout
    for pattern in SAME:
        files = sorted(file.relative_to(one) for file in one.glob(pattern))
        assert files
        assert files == sorted(file.relative_to(other) for file in other.glob(pattern))
        for file in files:
            assert (one / file).read_bytes() == (other / file).read_bytes(), file


def test_a_factory_that_is_nowhere_is_an_error_that_names_it(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path, "prism", "--factory", "nowhere_at_all:prepare")
    assert done.returncode != 0
    assert "--factory nowhere_at_all:prepare: No module named 'nowhere_at_all'" in done.stderr


def test_a_factory_without_its_function_is_refused_before_any_work(tmp_path: Path, compare: Compare) -> None:
    done = compare(tmp_path, "prism", "--factory", "fake_learner:prepar")
    assert done.returncode != 0
    assert (
        "--factory fake_learner:prepar: expected the name of a function in module 'fake_learner', got 'prepar'"
        in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_not_utf8_is_refused_before_any_work(tmp_path: Path, compare: Compare) -> None:
    done = compare(Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff")), "prism")
    assert done.returncode == 1
    assert "UTF-8" in done.stderr
    assert "damaged" not in done.stderr
    assert list(tmp_path.iterdir()) == []
