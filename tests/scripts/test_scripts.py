"""What a user types works, and mistakes are answered in a line."""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from agents.learner import make_learner
from agents.registry import BASELINE_ENV, FACTORIES, POSTURE
from reach.study import Store, plan

ROOT = Path(__file__).parents[2]


def run(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A script as a module, by its name."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module


def test_help_and_a_list_of_learners_are_given(run_here: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for name in ("train", "watch", "compare", "benchmark", "tune", "success"):
        done = run_here(f"scripts/{name}.py", "--help")
        assert done.returncode == 0
        assert "--help" in done.stdout
    for name in ("train", "watch", "tune", "success"):
        done = run_here(f"scripts/{name}.py", "--list")
        assert done.returncode == 0
        assert "error-lstm-dfa" in done.stdout
        assert "learns from reward alone" in " ".join(done.stdout.split())


def test_train_then_watch(tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    out = tmp_path / "tr\u00e4n 2"
    # A terminal that lacks a letter of the path is told the rest.
    words = ("--learner", "error-dfa", "--trials", 5, "--judge", 2, "--out", out)
    trained = run("scripts/train.py", *words, PYTHONIOENCODING="ascii")
    assert trained.returncode == 0, trained.stderr
    assert "watch.py" in trained.stdout
    assert "tr?n 2" in trained.stdout
    film = tmp_path / "film.mp4"
    watched = run_here(
        "scripts/watch.py", "--learner", "error-dfa", "--checkpoint", out, "--first", 1, "--last", 1,
        "--protocol", "prism", "--size", 640, 400, "--speed", 2, "--video", film,
    )  # fmt: skip
    assert watched.returncode == 0, watched.stderr
    assert "compare" in watched.stdout
    frames = iio.imread(film)
    assert frames.shape[1:] == (400, 640, 3)
    assert len(frames) > 10


def test_learners_are_watched_side_by_side_on_one_picture(
    tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    # Kept where watching looks for them, learners are not trained.
    for job in plan(["none", "error-dfa"], {}, [0], factory=FACTORIES[POSTURE], out=tmp_path):
        make_learner(job.learner, gym.make(BASELINE_ENV), seed=0).save(Path(job.folder))
    words = ("--compare", "none,error-dfa", "--first", 1, "--last", 1, "--keep", tmp_path, "--size", 640, 400)
    done = run_here("scripts/watch.py", *words, "--png", tmp_path / "one.png", "--prism", "on", "--no-learning")
    assert done.returncode == 0, done.stderr
    picture = iio.imread(tmp_path / "one.png")
    assert picture.shape == (400, 640, 3)
    assert not np.array_equal(picture[60:200, :310], picture[60:200, -310:])


def test_a_trial_is_replayed_as_it_was_recorded(
    tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    out = tmp_path / "study"
    words = ("--out", out, "--learners", "none", "--protocols", "rotation30", "--seeds", 1, "--jobs", 1, "--no-films")
    compared = run_here("scripts/compare.py", *words)
    assert compared.returncode == 0, compared.stderr
    asked = ("--replay", out, "--learner", "none", "--trial", 23, "--size", 640, 400, "--speed", 8)
    done = run_here("scripts/watch.py", *asked, "--twin", "--video", tmp_path / "film.gif")
    assert done.returncode == 0, done.stderr
    assert "none, trial 23: identical to the recorded one" in done.stdout
    handled = run_here("scripts/watch.py", *asked, "--prism", "on", "--video", tmp_path / "other.gif")
    assert "instead of" in handled.stdout
    other = ("--replay", out, "--learner", "none", "--trial", 23, "--protocol", "prism")
    unrecorded = run_here("scripts/watch.py", *other, "--png", tmp_path / "other.png")
    assert "none, trial 23: not recorded in" in unrecorded.stdout
    stranger = run_here("scripts/watch.py", *asked, "--seed", 1, "--video", tmp_path / "none.gif")
    assert stranger.returncode != 0
    assert "none-0" in stranger.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cup": (9.0, 9.0)}, "--cup 9 9: .*0.7 m"),
        ({"cup": (math.nan, 0.5)}, "--cup nan 0.5: "),
        ({"replay": Path("nothere")}, "--replay: expected a folder written by compare.py --out, got nothere"),
        ({"speed": math.nan}, "--speed: expected 0.125 to 32, got nan"),
        ({"speed": 0.0}, "--speed: expected 0.125 to 32, got 0"),
        ({"png_s": math.nan}, "--png-s: expected 0 or more, got nan"),
        ({"png_s": -1.0}, "--png-s: expected 0 or more, got -1"),
        ({"compare": ""}, "--compare: .*error-dfa"),
        ({"compare": ","}, "--compare: .*error-dfa.*got ','"),
        ({"learner": ""}, "--learner: unknown learner ''"),
        ({"size": (10, 10)}, "--size 10 10: .*480 and 400"),
        (
            {"table": False, "network": False, "errors": False},
            "--no-table --no-network --no-errors: expected at most two",
        ),
        ({"png": Path("tests")}, "--png: expected a file name that ends in .png, got tests"),
    ],
)
def test_watching_that_cannot_be_is_refused_before_a_learner_is_trained(
    given: dict[str, Any], message: str, script: Callable[[str], Any]
) -> None:
    with pytest.raises(SystemExit, match=message):
        script("watch").Watch(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"json": Path("nodir/x.json")}, "--json: .*nodir/x.json"),
        ({"peers": Path("README.md")}, "--peers: .*README.md"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused_before_it_is_measured(
    given: dict[str, Any], message: str, script: Callable[[str], Any]
) -> None:
    with pytest.raises(SystemExit, match=message):
        script("benchmark").Benchmark("world", **given)


def test_a_result_that_is_broken_is_named(tmp_path: Path, script: Callable[[str], Any]) -> None:
    path = tmp_path / "result.json"
    for broken in ("{", "[]", '{"learner": "none"}'):
        path.write_text(broken)
        with pytest.raises(ValueError, match=f"{path} holds no result; delete it"):
            script("success").read_result(path)


def test_training_goes_on_as_it_began_or_not_at_all(tmp_path: Path, script: Callable[[str], Any]) -> None:
    train = script("train")
    out = tmp_path / "kept"
    reach = "reach/CupReach-v1"
    train.main(train.Train(out, learner="none", env=reach, seed=3, trials=4, judge=0))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"seed": 4}, "--seed: expected 3, .*got 4"),
        ({"env": "reach/CupGrab-v1"}, f"--env: expected {reach}, .*got reach/CupGrab-v1"),
        ({"trials": 3}, "--trials: expected 4 or more, .*got 3"),
        ({"timesteps": 1}, "--timesteps: expected [0-9]+ or more, .*got 1"),
        ({"env": ""}, "--env ''"),
    ]
    for given, message in refused:
        with pytest.raises(SystemExit, match=message):
            train.main(train.Train(out, resume=True, **{"trials": 6} | given if "timesteps" not in given else given))
    train.main(train.Train(out, resume=True, trials=6, judge=0))
    config = json.loads((out / "config.json").read_text())
    assert (config["env"], config["seed"], config["trials"]) == (reach, 3, 6)


@pytest.mark.parametrize(
    ("name", "words"), [("train", ("--resume", "--out")), ("watch", ("--video", "film.mp4", "--checkpoint"))]
)
def test_a_checkpoint_that_nobody_can_read_is_answered_in_a_line(
    name: str, words: tuple[str, ...], tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "config.json").write_text("[" * 100_000)
    done = run_here(f"scripts/{name}.py", *words, tmp_path / "kept")
    assert done.returncode == 1
    assert f"{name}.py: {tmp_path / 'kept' / 'config.json'} is not JSON" in done.stderr.splitlines()[-1]


def test_a_spiking_learner_from_reward_is_trained_and_judged_by_trials(
    tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    words = ("--learners", "reward-snn-stdp", "--env", "reach/CupReach-v1", "--trials", 5, "--seeds", 1, "--points", 2)
    done = run("scripts/success.py", *words, "--judge", 2, "--out", tmp_path / "success", "--jobs", 1)
    assert done.returncode == 0, done.stderr
    row = pd.read_csv(tmp_path / "success" / "success.csv").iloc[0]
    assert row["learner"] == "reward-snn-stdp"
    assert row["trials"] == 5
    assert pd.isna(row["timesteps"])
    curve = pd.read_csv(tmp_path / "success" / "curves.csv")
    assert list(curve["after"]) == [2, 5]
    assert curve["success"].iloc[-1] == row["success"]
    kept = ("--learner", "reward-snn-stdp", "--trials", 5, "--judge", 2, "--out", tmp_path / "kept")
    trained = run_here("scripts/train.py", *kept)
    assert trained.returncode == 0, trained.stderr
    assert "succeeds in" in trained.stdout


def test_the_benchmark_writes_its_rows(tmp_path: Path) -> None:
    done = run("scripts/benchmark.py", "world", "--json", tmp_path / "world.json", "--seconds", 0.05, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "world.json").read_text())
    assert all(set(row) == {"name", "value", "unit", "peer", "ratio"} for row in rows)
    named = {row["name"]: row for row in rows}
    assert named["reach/CupGrab-v1"]["peer"] == "Reacher-v5"
    assert named["reach/CupGrab-v1"]["ratio"] > 0


def test_a_search_writes_settings_by_the_names_that_learners_read_and_is_taken_up_again(
    tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command.workers", ThreadPoolExecutor)
    settings = tmp_path / "tuned.json"
    words = ("scripts/tune.py", "--out", tmp_path / "search", "--learners", "error-bp", "--trials", 1, "--seeds", 1)
    words = (*words, "--reaches", 20)
    settings.write_text(json.dumps({"error-mlp-bp": {"settings": {"rate": 9.0}}}))
    for run_it in (run, run_here):
        done = run_it(*words, "--baseline-trials", 30, "--settings", settings)
        assert done.returncode == 0, done.stderr
    found = json.loads(settings.read_text())
    assert list(found) == ["error-mlp-bp"]
    assert 0.2 <= found["error-mlp-bp"]["settings"]["rate"] <= 1.8
    assert len(found["error-mlp-bp"]["history"]) == 1
    assert (tmp_path / "search" / "tuning.png").exists()
    other = run_here(*words, "--baseline-trials", 40)
    assert other.returncode != 0
    expected = "expected --seeds 1 --baseline-trials 30 --lamps 4 --reaches 20, as in its search of"
    assert expected in other.stderr
    assert "got --seeds 1 --baseline-trials 40 --lamps 4 --reaches 20; give another --out" in other.stderr


def test_a_search_that_is_taken_up_again_draws_what_it_would_have_drawn(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tune = script("tune")

    def cheap(learner: str, settings: dict[str, float], given: Any) -> Iterator[float]:
        yield from (abs(math.log(settings["rate"] / 0.5)) + 0.1 * step for step in range(4))

    monkeypatch.setattr(tune, "judged", cheap)
    histories = {}
    # The sampler draws at random at first, then by what it has found; some trials are cut short.
    for name, parts in (("whole", [14]), ("what? 50%#2", [5, 12, 14])):
        (tmp_path / name).mkdir()
        for trials in parts:
            found = tune.search("error-mlp-bp", tune.Tune(tmp_path / name, ("error-bp",), trials=trials))
        histories[name] = found["history"]
        assert (tmp_path / name / "error-mlp-bp.db").is_file()
    assert len(histories["whole"]) == 14
    assert {trial["pruned"] for trial in histories["whole"]} == {True, False}
    assert histories["what? 50%#2"] == histories["whole"]


@pytest.mark.parametrize("name", ["tune", "success"])
def test_two_that_write_results_in_one_folder_are_refused(
    name: str, tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with Store(tmp_path).only_writer():
        done = run_here(f"scripts/{name}.py", "--out", tmp_path, "--learners", "error-bp", "--trials", 1)
    assert done.returncode == 1
    assert "is being written by process" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def change_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have results depend on another version of a library, as they do after an update."""
    monkeypatch.setattr("reach.study.engine.jobs.library_versions", lambda *_: {"numpy": "0.0"})


def test_success_is_judged_again_by_other_libraries_or_on_another_device(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    success = script("success")
    judged = []

    def made_up(case: Any) -> dict[str, Any]:
        judged.append(case.learner)
        return asdict(case) | {"success": 0.5, "steps": 1, "training_s": len(judged), "curve": [0.5]}

    monkeypatch.setattr(success.command, "workers", ThreadPoolExecutor)
    monkeypatch.setattr(success, "result", made_up)

    def judgings(**given: Any) -> int:
        before = len(judged)
        success.main(success.Success(tmp_path, ("error-bp",), seeds=2, jobs=1, **given))
        assert len(pd.read_csv(tmp_path / "success.csv")) == 2
        return len(judged) - before

    assert [judgings(), judgings()] == [2, 0]
    assert [judgings(device="cpu"), judgings(device="cpu")] == [2, 0]
    change_libraries(monkeypatch)
    assert [judgings(device="cpu"), judgings(device="cpu")] == [2, 0]


def test_a_search_by_other_libraries_is_refused_with_what_to_do(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tune = script("tune")
    given = tune.Tune(tmp_path, ("error-bp",), trials=1)
    monkeypatch.setattr(tune, "judged", lambda *_: iter([0.5]))
    tune.make_ready("error-mlp-bp", given)
    tune.search("error-mlp-bp", given)
    tune.make_ready("error-mlp-bp", given)
    change_libraries(monkeypatch)
    with pytest.raises(ValueError, match=f"{tmp_path / 'error-mlp-bp.db'} holds .* other code or libraries.*--out, or"):
        tune.make_ready("error-mlp-bp", given)
    (tmp_path / "error-mlp-bp.db").unlink()
    tune.make_ready("error-mlp-bp", given)


def test_a_link_in_place_of_a_search_or_a_picture_is_not_written_through(
    script: Callable[[str], Any], tmp_path: Path
) -> None:
    valued = tmp_path / "valued"
    valued.write_bytes(b"")
    for name in ("error-mlp-bp.db", "tuning.png"):
        (tmp_path / name).symlink_to(valued)
    tune = script("tune")
    with pytest.raises(ValueError, match=r"error-mlp-bp\.db: expected a regular file, got a link"):
        tune.make_ready("error-mlp-bp", tune.Tune(tmp_path, ("error-bp",)))
    history = [{"rate": 0.5, "left_of_the_miss": 0.3, "pruned": False}]
    tune.draw_tuning({"error-mlp-bp": {"history": history}}, tmp_path / "tuning.png")
    assert valued.read_bytes() == b""
    assert not (tmp_path / "tuning.png").is_symlink()


def test_learners_trained_for_a_search_or_for_watching_are_kept_apart_by_libraries(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tune, watch = script("tune"), script("watch")
    monkeypatch.setattr(tune.tuning, "left_uncorrected", lambda *given: iter([given[-2]]))
    monkeypatch.setattr(watch, "prepare", lambda learner, seed, folder, on_progress: folder)

    def folders() -> list[Path]:
        given = tune.Tune(tmp_path / "search", ("error-bp",))
        watched = watch.model_of(watch.Watch(keep=tmp_path / "keep"), "error-dfa")
        return [*tune.judged("error-mlp-bp", {}, given), watched]

    before = folders()
    assert folders() == before
    assert [path.relative_to(tmp_path).parts[0] for path in before] == ["search", "keep"]
    change_libraries(monkeypatch)
    assert set(folders()).isdisjoint(before)


def test_a_learner_from_reward_is_tuned_by_what_it_misses_in_training(
    tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command.workers", ThreadPoolExecutor)
    monkeypatch.setattr("tuning.JUDGED_TRIALS", 10)
    settings = tmp_path / "tuned.json"
    words = ("--learners", "reward-snn-stdp", "--trials", 1, "--seeds", 1, "--training-share", 0.001)
    done = run_here("scripts/tune.py", "--out", tmp_path / "search", *words, "--settings", settings)
    assert done.returncode == 0, done.stderr
    found = json.loads(settings.read_text())["reward-snn-stdp"]
    assert 0.007 <= found["settings"]["rate"] <= 0.7
    assert found["history"][0]["missed_in_training"] > 0.5
    assert (tmp_path / "search" / "tuning.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scripts/train.py", "--out", "x", "--learner", "error-dfaa"), "Did you mean 'error-dfa'? See --list."),
        (
            ("scripts/train.py", "--out", "x", "--learner", "error-dfa,rat=1"),
            "unknown setting: expected one of [",
        ),
        (("scripts/train.py", "--out", "x", "--trials", "0"), "1 or more"),
        (("scripts/train.py", "--out", "x", "--learner", "reward-ppo", "--trials", "9"), "--timesteps"),
        (("scripts/train.py", "--out", "tests"), "continue a training, got tests"),
        (("scripts/train.py", "--out", "FILE/x"), "--out"),
        (("scripts/train.py", "--out", "x", "--env", "CartPole-v1"), "CupEnv"),
        (("scripts/success.py", "--out", "FILE"), "--out"),
        (("scripts/figure.py", "correction", "--out", "FILE"), "--out"),
        (("scripts/watch.py", "--protocol", "rotation31"), "rotation30"),
        (("scripts/watch.py", "--video", "x.avi"), ".mp4"),
        (("scripts/watch.py", "--first", "500"), "last <= 140"),
        (("scripts/watch.py", "--trial", "500"), "last <= 140"),
        (("scripts/watch.py", "--compare", "error-bp,error-dfaa"), "error-dfa"),
        (("scripts/watch.py", "--compare", "error-bp,error-bp"), "once"),
        (("scripts/watch.py", "--png", "x.jpg"), ".png"),
        (
            ("scripts/watch.py", "--replay", "tests", "--learner", "none", "--video", "x.mp4"),
            "expected a folder written by compare.py",
        ),
        (("scripts/compare.py", "--out", "x", "--protocols", "rotation31"), "rotation30"),
        (("scripts/tune.py", "--out", "x", "--learners", "error-snn-hebb"), "error-snn-stdp"),
        (("scripts/tune.py", "--out", "x", "--training-share", "2"), "up to 1"),
        (("scripts/tune.py", "--out", "x", "--trials", "0"), "1 or more"),
        (("scripts/tune.py", "--out", "x", "--settings", "README.md"), "--settings README.md: "),
        (("scripts/play.py", "--out", "README.md"), "--out: expected a folder"),
    ],
)
def test_mistakes_are_answered_without_a_traceback(
    words: tuple[str, ...], message: str, tmp_path: Path, run_here: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "file").touch()
    done = run_here(*(word.replace("FILE", str(tmp_path / "file")) for word in words))
    assert done.returncode != 0
    assert message in " ".join((done.stdout + done.stderr).split())


SCRIPTS = ("train", "compare", "tune", "play", "benchmark")
INTERRUPTED = {
    # While libraries are imported; and at work, which begins with the flags.
    "gymnasium": "import os\nos.kill(os.getpid(), 2)\n",
    "tyro": "import os\ndef cli(kind):\n    os.kill(os.getpid(), 2)\n",
}


@pytest.mark.parametrize("library", INTERRUPTED)
def test_an_interruption_is_answered_in_a_line(library: str, tmp_path: Path) -> None:
    (tmp_path / f"{library}.py").write_text(INTERRUPTED[library])
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(("Interrupted.", "Stopped."))


@pytest.mark.parametrize("name", [*SCRIPTS, "figure", "success", "watch"])
def test_what_answers_an_interruption_is_imported_before_other_libraries(name: str) -> None:
    body = ast.parse((ROOT / "scripts" / f"{name}.py").read_text()).body
    imported = [
        part.name if isinstance(node, ast.Import) else str(node.module)
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for part in node.names
    ]
    others = [module for module in imported if module.partition(".")[0] not in sys.stdlib_module_names]
    assert others[0] == "command"


def test_an_interruption_at_work_is_answered_in_a_line_by_every_script(
    run_here: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tyro.cli", lambda kind: os.kill(os.getpid(), signal.SIGINT))
    for name in SCRIPTS:
        done = run_here(f"scripts/{name}.py")
        assert done.returncode == 130
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(("Interrupted.", "Stopped."))


def test_a_film_that_is_stopped_leaves_nothing(
    tmp_path: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    words = ("--learner", "none", "--keep", tmp_path / "kept", "--last", 100, "--video", tmp_path / "film" / "x.mp4")
    running = subprocess.Popen(
        [sys.executable, *map(str, ("scripts/watch.py", *words))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: running.poll() is not None or bool(list((tmp_path / "film").glob(".*.mp4"))))
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate()
    assert running.returncode == 128 + signal.SIGTERM
    assert list((tmp_path / "film").iterdir()) == []
