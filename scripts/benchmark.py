"""Measure speed beside named peers in one run: `python scripts/benchmark.py world --json world.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import gymnasium as gym
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import reach  # noqa: F401  (registers the environments)

PEER = "Reacher-v5"


@dataclass
class Benchmark:
    """Measure speed beside named peers, in one run.

    world: steps a second beside Gymnasium's Reacher-v5 (MuJoCo), random actions, resets included.
    """

    what: Annotated[Literal["world"], tyro.conf.Positional]
    """What to measure."""
    json: Path | None = None
    """File for the rows: name, value, unit, peer, ratio."""
    seconds: float = 2.0
    """Length of one measurement."""
    rounds: int = 5
    """Measurements of each, taken in turn; their median counts."""


def steps_per_second(env: gym.Env[Any, Any], seconds: float) -> float:
    """Steps a second of an environment under random actions, with its resets."""
    actions = [env.action_space.sample() for _ in range(512)]
    env.reset()
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        for _ in range(100):
            _, _, terminated, truncated, _ = env.step(actions[count % 512])
            count += 1
            if terminated or truncated:
                env.reset()
    return count / (perf_counter() - start)


def frames_per_second(env: gym.Env[Any, Any], seconds: float) -> float:
    """Frames a second of an environment that is stepped for each."""
    env.reset()
    rest = np.array([-0.6, 0.7, -0.4, 0.8], dtype=np.float32)
    count, frame, start = 0, None, perf_counter()
    while perf_counter() - start < seconds:
        env.step(rest)
        frame = env.render()
        count += 1
    assert frame is not None
    return count / (perf_counter() - start)


def world(options: Benchmark) -> None:
    """Measure, print and keep."""
    measured: dict[str, tuple[str, Callable[[], float]]] = {}
    for env_id in (PEER, "reach/CupGrab-v0", "reach/CupReach-v0"):
        env = gym.make(env_id)
        env.action_space.seed(0)
        env.reset(seed=0)
        measured[env_id] = ("steps/s", lambda env=env: steps_per_second(env, options.seconds))
    shown = gym.make("reach/CupGrab-v0", render_mode="rgb_array")
    shown.reset(seed=0)
    measured["reach/CupGrab-v0, step and 600x600 frame"] = (
        "frames/s",
        lambda: frames_per_second(shown, options.seconds),
    )
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(options.rounds):
        for name, (_, measure) in measured.items():
            taken[name].append(measure())
    rows = []
    for name, (unit, _) in measured.items():
        compared = unit == "steps/s" and name != PEER
        ratios = np.array(taken[name]) / np.array(taken[PEER])
        rows.append(
            {
                "name": name,
                "value": round(float(np.median(taken[name])), 1),
                "unit": unit,
                "peer": PEER if compared else None,
                "ratio": round(float(np.median(ratios)), 2) if compared else None,
            }
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("name", "value", "unit", "peer", "ratio")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:,}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    Console().print("Compare learners next:\n  make compare")


if __name__ == "__main__":
    world(tyro.cli(Benchmark))
