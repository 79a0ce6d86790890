"""Compiled kernels are taken from disk for as long as all that they are made of stays the same, and no longer.

Nothing that is wrong with the disk is an error: kernels are compiled again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CALLED = """
from reach.jit import kernel
from pack.constants import ADDED

@kernel
def called(x):
    return 2.0 * x + ADDED
"""
CALLING = """
from reach.jit import kernel
from pack import called as c
called = c.called

@kernel
def calling(x):
    return called(x)
"""
CALL = "from pack.calling import calling; print(calling(3.0), len(calling.stats.cache_hits))"

STEP = """
import gymnasium as gym
import reach
env = gym.make("reach/CupGrab-v1")
env.reset(seed=0)
env.action_space.seed(0)
print(env.step(env.action_space.sample())[0].tobytes().hex())
"""


def write_package(folder: Path) -> Path:
    package = folder / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "constants.py").write_text("ADDED = 0.0\n")
    (package / "called.py").write_text(CALLED)
    (package / "calling.py").write_text(CALLING)
    return package


def run(code: str, folder: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    # Python's own cache tells files of the same size apart by whole seconds.
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    environment |= settings
    done = subprocess.run([sys.executable, *flags, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose kernels have been compiled."""
    folder = tmp_path_factory.mktemp("filled")
    package = write_package(folder)
    assert run(CALL, folder).stdout.split() == ["6.0", "0"]
    return package


def test_a_kernel_is_compiled_anew_when_what_it_calls_changes(filled: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(filled, tmp_path / "pack"))

    def called() -> list[str]:
        return run(CALL, tmp_path).stdout.split()

    assert called() == ["6.0", "1"]
    (package / "constants.py").write_text("ADDED = 1.0\n")
    assert called() == ["7.0", "0"]
    (package / "called.py").write_text(CALLED.replace("2.0 *", "5.0 *"))
    assert called() == ["16.0", "0"]


def flipped(data: bytes) -> bytes:
    """Return the data with one bit in the middle flipped."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_a_damaged_cache_is_rebuilt(filled: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(filled, tmp_path / "pack"))
    for suffix, damage in ((".nbi", lambda data: data[: len(data) // 2]), (".nbc", flipped)):
        files = list(package.rglob(f"*{suffix}"))
        assert len(files) == 2
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        again = run(CALL, tmp_path)
        assert again.stdout.split() == ["6.0", "0"]
        assert again.stderr == ""
    assert run(CALL, tmp_path).stdout.split() == ["6.0", "1"]


def test_kernels_are_compiled_without_a_cache_where_no_folder_can_be_written_and_that_is_said_once(
    tmp_path: Path,
) -> None:
    package = write_package(tmp_path)
    # Files in place of the folders cannot be written to by anybody, not even by the superuser.
    (package / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    done = run(CALL, tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    assert done.stdout.split() == ["6.0", "0"]
    assert done.stderr.count("compiled code is not cached") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


def test_a_folder_that_cannot_be_written_any_more_is_no_error(tmp_path: Path) -> None:
    package = write_package(tmp_path)
    replace = "import pack.calling, pathlib, shutil; p = pathlib.Path(pack.calling.__file__).parent / '__pycache__'; "
    done = run(replace + "shutil.rmtree(p); p.touch(); " + CALL, tmp_path)
    assert done.stdout.split() == ["6.0", "0"]
    assert done.stderr.count("compiled code is not cached") == 1
    assert (package / "__pycache__").is_file()


def test_without_the_compiler_and_without_docstrings_a_step_has_the_same_bits(tmp_path: Path) -> None:
    compiled = run(STEP, tmp_path).stdout
    assert compiled
    assert run(STEP, tmp_path, "-OO", "-W", "ignore::RuntimeWarning", NUMBA_DISABLE_JIT="1").stdout == compiled


RECORDS = """
import numpy as np
from reach.jit import kernel

@kernel
def count(records):
    record = records[0]
    record.count += 1
    record.past[0] = record.count

records = np.zeros(1, dtype=[("count", "i8"), ("past", "f8", 2)])
count(records)
count(records)
print(records["count"].tolist(), records["past"].tolist())
"""


def test_without_the_compiler_kernels_work_on_records(tmp_path: Path) -> None:
    assert run(RECORDS, tmp_path, NUMBA_DISABLE_JIT="1").stdout == "[2] [[2.0, 0.0]]\n"
