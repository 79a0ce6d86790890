"""Learners without a network, for tests of the study: cheap, with SB3's interface, and able to fail.

`wandering` draws a posture a trial. `raises` fails when it is prepared, `remembers` with the state of its process.
`dies-once` kills its own process the first time it is prepared, `dies` every time. Any other name always commands one
posture. The environment variable FAKE_TRIAL_S makes each trial of learning last that long; FAKE_MARKS is a folder for
the marks of learners that have died, beside their own folders where it is not set.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reach.perturbations import HideHand, Rotation
from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, WASHOUT, Block, Protocol

for name, (before, during, after) in {"tiny": (4, 6, 4), "brief": (1, 5, 1)}.items():
    blocks = (
        Block(BASELINE, before),
        Block(PERTURBED, during, (Rotation(30.0),), probe=(HideHand(),)),
        Block(WASHOUT, after),
    )
    PROTOCOLS.setdefault(name, Protocol(name=name, blocks=blocks, source="made for tests"))

CALLS: list[int] = []


def process_state() -> dict[str, Any]:
    """Return what tells one process from another, and a fresh one from a used one."""
    CALLS.append(1)
    return {
        "pid": os.getpid(),
        "times": len(CALLS),
        "threads": len(os.listdir("/proc/self/task")),
        "random": random.random(),
        "numpy": float(np.random.random()),  # noqa: NPY002  (the state of the global generator is returned)
    }


class Fake:
    """The part of SB3's model interface that a study calls."""

    def __init__(self, learner: str, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.wanders = learner == "wandering"
        self.command = np.array([0.51, -0.24, 0.29, 0.04], dtype=np.float32)
        self.env_options = {"command": "absolute"}
        self.learned_trials = 0
        self.env: Any = None

    def set_env(self, env: Any) -> None:
        self.env = env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return self.command, state

    def learn(self, total_timesteps: int, callback: Any = None, *, reset_num_timesteps: bool = True) -> Fake:
        go_on = True
        while go_on:
            self.env.reset()
            over = False
            while not over:
                _, _, terminated, truncated, _ = self.env.step(self.command)
                over = terminated or truncated
                go_on = bool(callback(locals(), globals()))
            self.learned_trials += 1
            if self.wanders:
                self.command[:2] = self.rng.uniform((0.39, -0.42), (0.69, -0.13))
            time.sleep(float(os.environ.get("FAKE_TRIAL_S", "0")))
        return self


def prepare(learner: str, seed: int, folder: Path, on_progress: Callable[[float], None] | None = None) -> Fake:
    """Make a fake learner and leave a mark in its folder."""
    mark = Path(os.environ.get("FAKE_MARKS", folder.parent)) / f"{folder.name}.tried"
    if learner == "remembers":
        raise RuntimeError("seen " + json.dumps(process_state()))
    if learner == "raises":
        raise RuntimeError("this learner cannot be made")
    if learner == "dies" or (learner == "dies-once" and not mark.exists()):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"learner": learner, "seed": seed}))
    if on_progress is not None:
        on_progress(1.0)
    print("a learner may print")
    return Fake(learner, seed)
