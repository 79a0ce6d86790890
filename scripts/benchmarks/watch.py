"""Measure pictures per second with all panels, and whether the world keeps real time: `benchmark.py watch`."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gymnasium as gym
import torch
from benchmarks.timing import Measurement, Options, Row, measured, rate

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
SCREEN_HZ = 60


class Blind:
    """A window without a display that shows pictures at the rate of a screen until a time limit."""

    is_open, is_button_down, pointer = True, False, (0.0, 0.0)

    def __init__(self, until_s: float) -> None:
        self._until = perf_counter() + until_s
        self._next = perf_counter()

    def read_keys(self) -> list[str]:
        """Return no keys."""
        return []

    def show(self, frame: Frame) -> bool:
        """Wait for the next refresh of the screen; False when the time is over."""
        self._next = max(self._next + 1.0 / SCREEN_HZ, perf_counter())
        while perf_counter() < self._next:
            pass
        return perf_counter() < self._until


def measure(options: Options) -> list[Row]:
    """Return rows of pictures per second, each of another control step, and of simulated seconds per second.

    Everything runs on one core.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    acts: dict[str, Measurement] = {}
    seconds = options.seconds
    for names in WATCHED:
        models = [(name, learner(name)) for name in names]
        for size_name, size in SIZES.items():
            who = " ".join(names)
            acts[f"pictures, {who}, {size_name}"] = Measurement("1/s", pictures(models, size, seconds))
            acts[f"world in real time, {who}, {size_name}"] = Measurement("s/s", real_time(models, size, seconds))
    return measured(acts, options.rounds)


def learner(name: str) -> Any:
    """Return a learner that has learned for a few trials."""
    model = make_learner(name, gym.make(BASELINE_ENV, **find(name).env_options), seed=0)
    model.learn(1500)
    return model


def begun(models: list[tuple[str, Any]], size: tuple[int, int]) -> WatchSession:
    """Return a session in its first reach, with all kernels compiled."""
    watching = WatchSession(models, PROTOCOL, 0, trial_indices(PROTOCOL, 0, 1, 140), size=size)
    for _ in range(10):
        watching.step()
        watching.frame()
    return watching


def pictures(models: list[tuple[str, Any]], size: tuple[int, int], seconds: float) -> Callable[[], float]:
    """Return a measurement of pictures per second, with a control step of every learner before each."""

    def take() -> float:
        watching = begun(models, size)

        def act() -> int:
            watching.step()
            watching.frame()
            return 1

        per_second = rate(act, seconds)
        watching.leave()
        return per_second

    return take


def real_time(models: list[tuple[str, Any]], size: tuple[int, int], seconds: float) -> Callable[[], float]:
    """Return a measurement of simulated seconds per second in a window at speed 1."""

    def take() -> float:
        live = LiveSession(begun(models, size), Blind(seconds), save_folder=None)  # type: ignore[arg-type]
        start = perf_counter()
        live.run()
        return live.steps * CONTROL_STEP_S / (perf_counter() - start)

    return take
