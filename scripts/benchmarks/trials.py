"""Measure a trial of learners by seen error next to an episode of Reacher-v5: `benchmark.py trials`."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import gymnasium as gym
import numpy as np
from benchmarks.timing import Measurement, Options, Row, measured
from rich.console import Console

from agents.learner import make_learner, train_trials
from agents.registry import find
from reach import CONTROL_STEP_S
from reach.protocols import PROTOCOLS
from reach.study.run import run_protocol

LEARNERS = ("none", "error-bp", "error-dfa", "error-lstm-bp", "error-stdp", "error-snn-bp")
PROTOCOL = "rotation30"
TRAINING_TRIALS = 200
PEER = "Reacher-v5, an episode of 58 steps"
PEER_STEPS, PEER_EPISODES = 58, 50


def trial(learner: str, steps: dict[str, float]) -> Callable[[], float]:
    """Return a measurement, ms of processor time, of a trial of a learner in PROTOCOL, extra trials included.

    Args:
        learner: its name.
        steps: control steps of a mean trial by learner, filled in.
    """
    protocol, known = PROTOCOLS[PROTOCOL], find(learner)
    model = make_learner(learner, gym.make(protocol.env_id, **known.env_options), seed=0)
    train_trials(model, TRAINING_TRIALS)
    model.end_baseline()
    run_protocol(model, protocol, 0)

    def take() -> float:
        start = process_time()
        rows = run_protocol(model, protocol, 1).rows
        taken = process_time() - start
        steps[learner] = float(np.mean([row["duration_s"] for row in rows])) / CONTROL_STEP_S
        return 1000.0 * taken / len(rows)

    return take


def episode() -> Callable[[], float]:
    """Return a measurement, ms of processor time, of an episode of Reacher-v5 under random actions."""
    env = gym.make("Reacher-v5", max_episode_steps=PEER_STEPS)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(PEER_STEPS)]

    def take() -> float:
        start = process_time()
        for _ in range(PEER_EPISODES):
            env.reset()
            for action in actions:
                env.step(action)
        return 1000.0 * (process_time() - start) / PEER_EPISODES

    return take


def measure(options: Options) -> list[Row]:
    """Measure all in turn."""
    steps: dict[str, float] = {}
    acts = {PEER: Measurement("ms", episode())}
    for learner in LEARNERS:
        # The surrogate gradient on the same cells costs more than STDP.
        others = (PEER, "a trial of error-stdp") if learner == "error-snn-bp" else (PEER,)
        acts[f"a trial of {learner}"] = Measurement("ms", trial(learner, steps), others)
    rows = measured(acts, options.rounds)
    shown = ", ".join(f"{learner} {number:.0f}" for learner, number in steps.items())
    Console().print(f"Control steps of a mean trial of {PROTOCOL}: {shown}. Ratios are how much faster than the peer.")
    return rows
