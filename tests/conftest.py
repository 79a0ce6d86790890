"""Fixtures that many tests share."""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import settings

import reach  # noqa: F401  (registers the environments)

ROOT = Path(__file__).parents[1]
# Of torch, which most tests never import: more threads make these small networks slower, and other numbers.
os.environ["OMP_NUM_THREADS"] = "1"
# The first example of a test compiles kernels, and a busy machine is slow: time says nothing about a law.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


# The longest files first, so that no worker ends alone. The first two compile different kernels.
FIRST = (
    "reach/test_laws.py",
    "agents/spiking/test_circuit.py",
    "scripts/test_compare.py",
    "scripts/test_scripts.py",
    "agents/test_learner.py",
    "agents/test_resuming.py",
    "scripts/test_tuning.py",
    "docs/test_docs.py",
    "reach/study/engine/test_scheduler.py",
    "reach/study/engine/test_kills.py",
    "reach/study/report/test_page_in_browser.py",
    "reach/test_jit.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Give each file to one worker, so that its fixtures are made once."""
    if config.getoption("dist", "no") == "load":
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture
def grab() -> Iterator[gym.Env[Any, Any]]:
    """A grabbing environment."""
    env = gym.make("reach/CupGrab-v1")
    yield env
    env.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """A function that waits until a condition holds, or fails after two minutes."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 120.0
        while not condition():
            assert time.monotonic() < end, "expected a condition to hold within two minutes"
            time.sleep(0.005)

    return wait


@pytest.fixture
def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., CompletedProcess[str]]]:
    """Run a script in this process, which has imported everything; gives what a process of its own would."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))

    def run_script(path: str, *words: object) -> CompletedProcess[str]:
        arguments = [path, *map(str, words)]
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setattr(importlib.import_module("command"), "SCRIPT", Path(path))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(path, run_name="__main__")
        code = ended.value.code
        printed = capsys.readouterr()
        message = f"{code}\n" if isinstance(code, str) else ""
        status = code if isinstance(code, int) else int(code is not None)
        return CompletedProcess(arguments, status, printed.out, printed.err + message)

    yield run_script
    for number, handler in handlers.items():
        signal.signal(number, handler)
