"""Each example runs in the environment that `make integration` builds for its library, and warns of nothing."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import pytest

ROOT = Path(__file__).parents[2]
# Example that trains: the environment under .venv-integration in which it runs.
TRAINING = {
    "cleanrl_like": "shared",
    "minari_example": "shared",
    "rllib_example": "rllib",
    "sb3_contrib_example": "shared",
    "skrl_example": "shared",
    "stable_baselines3_example": "shared",
    "tianshou_example": "shared",
    "torchrl_example": "shared",
}
FILMING = {"record_video_example": "shared"}
IDS = ("reach:reach/CupReach-v1", "reach:reach/CupGrab-v1")
LONGEST_RUN_S = 600.0
TRAINED = re.compile(r"(?P<steps>\d+) steps of (?P<id>[^\s,]+).* weights moved by (?P<moved>\d+\.\d+)")
FILMED = re.compile(r"(?P<steps>\d+) steps of \S+ filmed at (?P<rate>\d+) pictures a second")
# As Python's warnings and Gymnasium's logger write them; a library's own log lines look otherwise.
WARNING = re.compile(r"\S+:\d+: \w*Warning: .*|\bWARN: .*")


def run_example(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints, run as its user runs it, with `folder` as home and working directory."""
    python = ROOT / ".venv-integration" / {**TRAINING, **FILMING}[name] / "bin" / "python"
    assert python.exists(), f"{python} is missing; `make integration` builds it"
    # Ray puts sockets there, whose paths have to be short, and a token into the home folder unless told not to.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as ray_folder:
        settings = {
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PATH": os.environ["PATH"],
            "RAY_AUTH_MODE": "disabled",
            "RAY_TMPDIR": ray_folder,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        result = subprocess.run(
            [python, ROOT / "examples" / f"{name}.py", *arguments],
            cwd=folder, env=settings, capture_output=True, text=True, timeout=LONGEST_RUN_S, check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert WARNING.findall(result.stdout + result.stderr) == []
    return result.stdout


@pytest.mark.integration
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("name", TRAINING)
def test_example_trains_and_warns_of_nothing(name: str, env_id: str, tmp_path: Path) -> None:
    printed = run_example(name, tmp_path, "--env", env_id)
    trained = TRAINED.search(printed)
    assert trained is not None, printed
    assert trained["id"] == env_id
    assert int(trained["steps"]) >= 500
    assert float(trained["moved"]) > 0.0


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_loop_trains_on_gymnasiums_own_vectors(mode: str, tmp_path: Path) -> None:
    trained = TRAINED.search(run_example("cleanrl_like", tmp_path, "--vectorization-mode", mode, "--timesteps", "1024"))
    assert trained is not None
    assert float(trained["moved"]) > 0.0


@pytest.mark.integration
@pytest.mark.parametrize("env_id", IDS)
def test_film_shows_every_moment_of_a_trial_at_its_pace(env_id: str, tmp_path: Path) -> None:
    filmed = FILMED.findall(run_example("record_video_example", tmp_path, "--env", env_id))
    films = sorted((tmp_path / "videos").glob("*.mp4"))
    assert len(films) == len(filmed) == 2
    for film, (steps, rate) in zip(films, filmed, strict=True):
        about = next(imageio_ffmpeg.read_frames(str(film)))
        assert about["fps"] == float(rate) == 50.0
        # As many pictures as steps, and the one at the start.
        assert imageio_ffmpeg.count_frames_and_secs(str(film))[0] == int(steps) + 1


def test_every_example_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*TRAINING, *FILMING}
