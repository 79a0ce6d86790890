"""Measure environments and pictures next to Gymnasium, EnvPool and the peak of a core: `benchmark.py world`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np
from benchmarks.timing import Measurement, Options, Row, measured, rate, run_peer
from rich.console import Console

import reach
from reach.sim.retina import draw_retina

SINGLE_PEER = "Reacher-v5"
SYNC_PEER = "SyncVectorEnv of 16 Reacher-v5"
POOL_PEER = "EnvPool Reacher-v5, 64 envs, 2 threads"
VECTOR = "reach/CupGrab-v1, vector of 1024"
PEAK = "matrix product, one core"
# Additions, multiplications, divisions and roots of one control step under posture control with noise, observation and
# reward, counted in the source: 16 stages of the equations of motion at about 200, 4 placements of the hand at about
# 150, 7 pairs of normal variates at about 110, and about 500 for the rest.
FLOPS_PER_CONTROL_STEP = 5_070


def actions_of(env: Any, number: int) -> Iterator[Any]:
    """Reset an environment; return random actions for it, repeated after `number`."""
    env.action_space.seed(0)
    env.reset(seed=0)
    return cycle([env.action_space.sample() for _ in range(number)])


def single(env_id: str, **options: Any) -> Callable[[], int]:
    """Return a function that takes a hundred steps of an environment under random actions, with resets."""
    env = gym.make(env_id, **options)
    actions = actions_of(env, 500)

    def act() -> int:
        for _ in range(100):
            _, _, terminated, truncated, _ = env.step(next(actions))
            if terminated or truncated:
                env.reset()
        return 100

    return act


def vector(env: Any) -> Callable[[], int]:
    """Return a function that takes ten steps of a vector environment under random actions, with resets."""
    actions = actions_of(env, 50)

    def act() -> int:
        for _ in range(10):
            env.step(next(actions))
        return 10 * int(env.num_envs)

    return act


def native(**options: Any) -> Callable[[], int]:
    """Return a function that steps the native vector environment of 1024."""
    return vector(gym.make_vec("reach/CupGrab-v1", 1024, vectorization_mode="vector_entry_point", **options))


def frames(size: int) -> Callable[[], int]:
    """Return a function that draws ten pictures of one moment of a rotated reach, without stepping."""
    env = gym.make("reach/CupGrab-v1", render_mode="rgb_array", width=size, height=size, perturbation=reach.Rotation())
    env.reset(seed=0)
    for _ in range(25):
        env.step(np.array([0.3, -0.15, 0.0, 0.0], dtype=np.float32))

    def act() -> int:
        for _ in range(10):
            env.render()
        return 10

    return act


def retinas() -> Callable[[], int]:
    """Return a function that draws a thousand retinas."""
    env: Any = gym.make("reach/CupGrab-v1").unwrapped
    env.reset(seed=0)
    row, image = env._simulation.world.row(0), np.empty((64, 64, 1), dtype=np.uint8)

    def act() -> int:
        for _ in range(1000):
            draw_retina(row, image)
        return 1000

    return act


def peak() -> Callable[[], int]:
    """Return a function that multiplies matrices on one thread of BLAS, as a measure of the peak of a core."""
    matrix = np.ones((256, 256))

    def act() -> int:
        matrix @ matrix
        return 2 * 256**3

    return act


def measure(options: Options) -> list[Row]:
    """Measure all in turn, `options.seconds` in each round."""
    sync = gym.make_vec(SINGLE_PEER, 16, vectorization_mode="sync")

    def timed(unit: str, act: Callable[[], int], *compared: str) -> Measurement:
        return Measurement(unit, lambda: rate(act, options.seconds), compared)

    acts = {
        SINGLE_PEER: timed("steps/s", single(SINGLE_PEER)),
        SYNC_PEER: timed("steps/s", vector(sync)),
        "reach/CupGrab-v1": timed("steps/s", single("reach/CupGrab-v1"), SINGLE_PEER),
        "reach/CupGrab-v1, truth=False": timed("steps/s", single("reach/CupGrab-v1", truth=False), SINGLE_PEER),
        "reach/CupReach-v1": timed("steps/s", single("reach/CupReach-v1"), SINGLE_PEER),
        VECTOR: timed("steps/s", native(), SYNC_PEER, POOL_PEER),
        f"{VECTOR}, truth=False": timed("steps/s", native(truth=False), SYNC_PEER, POOL_PEER),
        f"{VECTOR}, one thread": timed("steps/s", native(threads=1), SYNC_PEER),
        f"{VECTOR}, torque": timed("steps/s", native(control="torque"), VECTOR),
        f"{VECTOR}, muscle": timed("steps/s", native(control="muscle"), VECTOR),
        "picture of 600 x 600": timed("frames/s", frames(600)),
        "picture of 84 x 84": timed("frames/s", frames(84)),
        "retina of 64 x 64, grey": timed("frames/s", retinas()),
        PEAK: timed("flop/s", peak()),
    }
    if options.peers is not None:
        acts[POOL_PEER] = Measurement("steps/s", partial(run_peer, options.peers, "EnvPool", options.seconds))
    rows = measured(acts, options.rounds)
    values = {row["name"]: row["value"] for row in rows}
    share = values[f"{VECTOR}, one thread"] * FLOPS_PER_CONTROL_STEP / values[PEAK]
    shown = {"value": round(100 * share, 1), "unit": "%", "peer": PEAK, "ratio": round(share, 3)}
    rows.append({"name": "share of the peak of one core", **shown})
    ideal_ns = 1e9 * FLOPS_PER_CONTROL_STEP / values[PEAK]
    Console().print(
        f"A control step is about {FLOPS_PER_CONTROL_STEP:,} operations: {ideal_ns:.0f} ns at the peak of one core, "
        "which only multiplies and adds, both in one instruction; a control step also divides, compares and moves data."
    )
    return rows
