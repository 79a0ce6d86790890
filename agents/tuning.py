"""What a learner's settings are worth: how fast it corrects, on perturbations and seeds that no comparison uses.

The perturbations of the laboratory's protocols are judged by in comparisons; tuning takes others: a rotation the other
way and smaller, and a prism the other way and smaller.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd

from agents.error_networks import HIDDEN, is_spiking, practises
from agents.learner import (
    BASELINE_ENV,
    baseline_trials,
    env_for,
    env_options,
    evaluate,
    load_learner,
    make_learner,
)
from agents.learner import train_trials as train
from reach.perturbations import HideHand, Prism, Rotation
from reach.protocols import BASELINE, PERTURBED, Block, Protocol
from reach.study.measures import per_seed
from reach.study.run import run_measured

UNSEEN_UNDER_WAY = HideHand(until_s=0.8)
TUNING_PROTOCOLS = (
    Protocol(
        name="tuning-rotation",
        blocks=(Block(BASELINE, 20), Block(PERTURBED, 40, (Rotation(-20.0),))),
        source="a rotation that no comparison uses",
    ),
    Protocol(
        name="tuning-prism",
        blocks=(
            Block(BASELINE, 20, (UNSEEN_UNDER_WAY,)),
            Block(PERTURBED, 40, (Prism(-0.04), UNSEEN_UNDER_WAY)),
        ),
        source="a prism that no comparison uses",
    ),
)
# Comparisons count their seeds from 0.
FIRST_TUNING_SEED = 10_000
# A setting that corrects fast but no longer grabs cups is not wanted: what is missing to this share is added.
WANTED_SUCCESS = 0.97
JUDGED_TRIALS = 100


@dataclass(frozen=True)
class SearchSpace:
    """A setting and the range, on a logarithmic scale, in which it is looked for."""

    setting: str
    low: float
    high: float


def search_space(learner: str) -> SearchSpace:
    """The step size that a learner corrects by.

    `practice_rate` where cells practise, `hidden_rate` where the read-out stays as it is, else `rate`.
    """
    if practises(learner):
        return SearchSpace("practice_rate", 0.0003, 0.05)
    if not learner.endswith(HIDDEN):
        return SearchSpace("rate", 0.05, 1.8)
    # Rate networks know what a step does to their posture, spiking ones do not: their share is counted in other steps.
    return SearchSpace("hidden_rate", 0.3, 30.0) if is_spiking(learner) else SearchSpace("hidden_rate", 0.1, 1.8)


def left_uncorrected(
    learner: str, settings: dict[str, Any], seeds: int, trials: int | None = None, kept: Path | None = None
) -> Iterator[float]:
    """What a learner leaves of a miss over the first 30 perturbed reaches (L30), the mean so far after each protocol.

    Args:
        learner: name of an error learner.
        settings: for `make_learner`.
        seeds: tuning seeds to average over.
        trials: of baseline training; None for as many as in a comparison.
        kept: folder of learners after baseline training, which is the same whatever any setting but `rate`: such a
            learner is trained once for each seed, and taken from there afterwards.

    Yields:
        After each seed and protocol, the mean so far; lower is better. The share of unperturbed cups that are not
        grabbed, where it exceeds 1 - WANTED_SUCCESS, is added.
    """
    found: list[float] = []
    for seed in range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds):
        with tempfile.TemporaryDirectory(prefix="tuning-") as passing:
            number = trials or baseline_trials(learner)
            trained, settled = Path(passing) / "trained", Path(passing) / "settled"
            if kept is not None and "rate" not in settings:
                trained = kept / f"{learner}-{number}-{seed}"
            if not trained.exists():
                model = make_learner(learner, gym.make(BASELINE_ENV, **env_options(learner)), seed=seed, **settings)
                train(model, number)
                model.save(trained)
            model = _loaded(trained, settings)
            model.settle_baseline()
            model.save(settled)
            grabbed = evaluate(_loaded(settled, settings), BASELINE_ENV, trials=JUDGED_TRIALS, seed=seed)
            missing = max(0.0, WANTED_SUCCESS - grabbed)
            for protocol in TUNING_PROTOCOLS:
                found.append(_left(_loaded(settled, settings), protocol, seed) + missing)
                yield sum(found) / len(found)


def _loaded(folder: Path, settings: dict[str, Any]) -> Any:
    model = load_learner(folder, env_for(folder))
    for name, value in settings.items():
        setattr(model, name, value)
    return model


def _left(model: Any, protocol: Protocol, seed: int) -> float:
    rows = run_measured(model, protocol, seed).rows
    trials = pd.DataFrame(rows).assign(learner="one", protocol=protocol.name, seed=seed)
    measures = per_seed(trials).set_index("metric")["value"]
    return float(measures["L30"])
