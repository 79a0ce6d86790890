"""Measure speed beside named peers in one run: `python scripts/benchmark.py world --json world.json`."""

from __future__ import annotations

import json
import subprocess
import sys
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
from tqdm import tqdm

import reach
from reach.retina import draw_retina

SINGLE_PEER = "Reacher-v5"
SYNC_PEER = "SyncVectorEnv of 16 Reacher-v5"
POOL_PEER = "EnvPool Reacher-v5, 64 envs, 2 threads"
POOL_SCRIPT = Path(__file__).with_name("envpool_peer.py")
VECTOR = "reach/CupGrab-v0, vector of 1024"
# Additions, multiplications, divisions and roots of one control step under posture control, noise, observation and
# reward included, counted in the source: 16 stages of the equations of motion at some 200, 4 placements of the hand at
# some 150, 7 pairs of normal variates at some 110, and some 500 for the rest.
FLOPS_PER_CONTROL_STEP = 5_070


@dataclass
class Benchmark:
    """Measure speed beside named peers, in one run.

    world: steps a second of single and vector environments, resets included, and frames a second.
    """

    what: Annotated[Literal["world"], tyro.conf.Positional]
    """What to measure."""
    json: Path | None = None
    """File for the rows: name, value, unit, peer, ratio."""
    seconds: float = 2.0
    """Length of one measurement."""
    rounds: int = 5
    """Measurements of each, taken in turn; their median counts."""
    peers: Path | None = None
    """Python of an environment that holds EnvPool (`make peers` makes .venv-peers); without it EnvPool is left out."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.seconds > 0:
            raise SystemExit(f"--rounds {self.rounds} --seconds {self.seconds}: 1 or more, and above 0, are allowed")
        if self.peers is not None and not self.peers.exists():
            raise SystemExit(
                f"--peers {self.peers}: there is no such Python; `make peers` makes .venv-peers/bin/python"
            )


def rate(act: Callable[[], int], seconds: float) -> float:
    """What `act` counts, a second."""
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        count += act()
    return count / (perf_counter() - start)


def single(env_id: str) -> Callable[[], int]:
    """A hundred steps of an environment under random actions, with its resets."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(500)]
    at = 0

    def act() -> int:
        nonlocal at
        for action in actions[at : at + 100]:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        at = (at + 100) % 500
        return 100

    return act


def vector(env: Any) -> Callable[[], int]:
    """Ten steps of a vector environment under random actions, with its resets."""
    env.action_space.seed(0)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(50)]
    at = 0

    def act() -> int:
        nonlocal at
        for action in actions[at : at + 10]:
            env.step(action)
        at = (at + 10) % 50
        return 10 * int(env.num_envs)

    return act


def native(**options: Any) -> Callable[[], int]:
    """The native vector environment of 1024."""
    return vector(gym.make_vec("reach/CupGrab-v0", 1024, vectorization_mode="vector_entry_point", **options))


def frames(size: int) -> Callable[[], int]:
    """Ten pictures of one moment of a rotated reach, without the step."""
    env = gym.make("reach/CupGrab-v0", render_mode="rgb_array", width=size, height=size, perturbation=reach.Rotation())
    env.reset(seed=0)
    for _ in range(25):
        env.step(np.array([-0.5, 0.6, -0.4, 0.8], dtype=np.float32))

    def act() -> int:
        for _ in range(10):
            env.render()
        return 10

    return act


def retinas() -> Callable[[], int]:
    """A thousand retinas."""
    env: Any = gym.make("reach/CupGrab-v0").unwrapped
    env.reset(seed=0)
    row, image = env._simulation.world.row(0), np.empty((64, 64, 1), dtype=np.uint8)

    def act() -> int:
        for _ in range(1000):
            draw_retina(row, image)
        return 1000

    return act


def peak() -> Callable[[], int]:
    """Floating-point operations of one core at its best: a product of matrices, on one thread of BLAS."""
    matrix = np.ones((256, 256))

    def act() -> int:
        matrix @ matrix
        return 2 * 256**3

    return act


def pool(python: Path, seconds: float) -> float:
    """Steps a second of EnvPool, measured by a Python that has it."""
    command = [str(python), str(POOL_SCRIPT), str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def world(options: Benchmark) -> None:
    """Measure, print and keep."""
    sync = gym.make_vec(SINGLE_PEER, 16, vectorization_mode="sync")
    acts: dict[str, tuple[str, Callable[[], int], tuple[str, ...]]] = {
        SINGLE_PEER: ("steps/s", single(SINGLE_PEER), ()),
        SYNC_PEER: ("steps/s", vector(sync), ()),
        "reach/CupGrab-v0": ("steps/s", single("reach/CupGrab-v0"), (SINGLE_PEER,)),
        "reach/CupReach-v0": ("steps/s", single("reach/CupReach-v0"), (SINGLE_PEER,)),
        VECTOR: ("steps/s", native(), (SYNC_PEER, POOL_PEER)),
        f"{VECTOR}, one thread": ("steps/s", native(threads=1), (SYNC_PEER,)),
        f"{VECTOR}, torque": ("steps/s", native(control="torque"), (VECTOR,)),
        f"{VECTOR}, muscle": ("steps/s", native(control="muscle"), (VECTOR,)),
        "picture of 600 x 600": ("frames/s", frames(600), ()),
        "picture of 84 x 84": ("frames/s", frames(84), ()),
        "retina of 64 x 64, grey": ("frames/s", retinas(), ()),
        "matrix product, one core": ("flop/s", peak(), ()),
    }
    taken: dict[str, list[float]] = {name: [] for name in acts}
    if options.peers is not None:
        taken[POOL_PEER] = []
    for _ in tqdm(range(options.rounds), desc="rounds", disable=not sys.stderr.isatty()):
        for name, (_, act, _) in acts.items():
            taken[name].append(rate(act, options.seconds))
        if options.peers is not None:
            taken[POOL_PEER].append(pool(options.peers, options.seconds))
    rows = []
    for name, values in taken.items():
        unit, _, compared = acts.get(name, ("steps/s", None, ()))
        for peer in [one for one in compared if one in taken] or [None]:
            ratio = None if peer is None else round(float(np.median(np.array(values) / np.array(taken[peer]))), 2)
            rows.append(
                {"name": name, "value": round(float(np.median(values)), 1), "unit": unit, "peer": peer, "ratio": ratio}
            )
    one_core = np.median(np.array(taken[f"{VECTOR}, one thread"])) * FLOPS_PER_CONTROL_STEP
    share = float(one_core / np.median(taken["matrix product, one core"]))
    rows.append(
        {
            "name": "share of the peak of one core",
            "value": round(100 * share, 1),
            "unit": "%",
            "peer": "matrix product, one core",
            "ratio": round(share, 3),
        }
    )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("name", "value", "unit", "peer", "ratio")
    for row in rows:
        table.add_row(*("" if v is None else f"{v:,}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    ideal_ns = 1e9 * FLOPS_PER_CONTROL_STEP / float(np.median(taken["matrix product, one core"]))
    Console().print(
        f"A control step is about {FLOPS_PER_CONTROL_STEP:,} operations: {ideal_ns:.0f} ns at the peak of one core, "
        "which only multiplies and adds, both in one instruction; a control step also divides, compares and moves data."
    )
    Console().print("Compare learners next:\n  make compare")


if __name__ == "__main__":
    world(tyro.cli(Benchmark))
