"""What `benchmark.py watch` measures: pictures a second with all panels, and whether the world keeps real time."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gymnasium as gym
import torch
from benchmarks.timing import Measurement, Row, measured, rate

from agents.learner import make_learner
from agents.registry import BASELINE_ENV, find
from reach.protocols import PROTOCOLS
from reach.render.canvas import Frame
from reach.sim.layout import CONTROL_STEP_S
from reach.study.watch.live import LiveSession
from reach.study.watch.session import WatchSession, trial_indices

PROTOCOL = PROTOCOLS["rotation30"]
SIZES = {"1280 x 720": (1280, 720), "2560 x 1440": (2560, 1440)}
WATCHED = (("error-bp",), ("error-stdp",), ("error-bp", "error-dfa", "error-stdp"))
# What the screen shows, a second.
WANTED = 60


class Blind:
    """A window that nobody sees, as fast as the screen would be."""

    is_open, is_button_down, pointer = True, False, (0.0, 0.0)

    def __init__(self, until_s: float) -> None:
        self._until = perf_counter() + until_s
        self._next = perf_counter()

    def read_keys(self) -> list[str]:
        """Nobody strikes one."""
        return []

    def show(self, frame: Frame) -> bool:
        """Wait for the screen; False when the time is over."""
        self._next = max(self._next + 1.0 / WANTED, perf_counter())
        while perf_counter() < self._next:
            pass
        return perf_counter() < self._until


def watch(seconds: float, rounds: int) -> list[Row]:
    """Rows of pictures a second, each of another control step, and of seconds of the world in a second of real time.

    Everything runs on one core.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    acts: dict[str, Measurement] = {}
    for names in WATCHED:
        models = [(name, learner(name)) for name in names]
        for said, size in SIZES.items():
            who = " ".join(names)
            acts[f"pictures, {who}, {said}"] = Measurement("1/s", pictures(models, size, seconds))
            acts[f"world in real time, {who}, {said}"] = Measurement("s/s", real_time(models, size, seconds))
    return measured(acts, rounds)


def learner(name: str) -> Any:
    """A learner that has learned for a few trials."""
    model = make_learner(name, gym.make(BASELINE_ENV, **find(name).env_options), seed=0)
    model.learn(1500)
    return model


def begun(models: list[tuple[str, Any]], size: tuple[int, int]) -> WatchSession:
    """A watching in its first reach, all kernels compiled."""
    watching = WatchSession(models, PROTOCOL, 0, trial_indices(PROTOCOL, 0, 1, 140), size=size)
    for _ in range(10):
        watching.step()
        watching.frame()
    return watching


def pictures(models: list[tuple[str, Any]], size: tuple[int, int], seconds: float) -> Callable[[], float]:
    """Pictures a second, a control step of every learner before each."""

    def take() -> float:
        watching = begun(models, size)

        def act() -> int:
            watching.step()
            watching.frame()
            return 1

        found = rate(act, seconds)
        watching.leave()
        return found

    return take


def real_time(models: list[tuple[str, Any]], size: tuple[int, int], seconds: float) -> Callable[[], float]:
    """Seconds of the world in a second, in a window at speed 1."""

    def take() -> float:
        live = LiveSession(begun(models, size), Blind(seconds), save_folder=None)  # type: ignore[arg-type]
        start = perf_counter()
        live.run()
        return live.steps * CONTROL_STEP_S / (perf_counter() - start)

    return take
