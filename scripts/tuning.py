"""What a learner's settings are worth: how fast it corrects, or learns from reward, on seeds that no comparison uses.

The perturbations of the laboratory's protocols are judged by in comparisons; tuning takes others: a rotation the other
way and smaller, and a prism the other way and smaller. A learner from reward is judged by how early in a training it
has the cup.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import pandas as pd

from agents.learner import env_for, evaluate, load_learner, make_learner
from agents.learner import train_trials as train
from agents.networks.registry import NETWORKS
from agents.registry import BASELINE_ENV, find
from reach.perturbations import HideHand, Prism, Rotation
from reach.protocols import BASELINE, PERTURBED, Block, Protocol
from reach.study.run import run_measured
from reach.study.run.measures import per_seed

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
# Of its usual training, what a learner from reward is given, and after how many equal parts of it it is judged.
TRAINING_SHARE = 0.4
STRETCHES = 4
STEP_OF_ADAM, SHARE = "step of Adam", "share of the error"


class Criterion(NamedTuple):
    """What settings are judged by: its name in the file, on a picture, and the steps that judge one seed."""

    name: str
    axis: str
    steps: int


BY_ERROR = Criterion("left_of_the_miss", "left of the miss over 30 reaches", len(TUNING_PROTOCOLS))
BY_REWARD = Criterion("missed_in_training", "share of cups missed in training", STRETCHES)


def criterion_of(learner: str) -> Criterion:
    """What the settings of this learner are judged by."""
    return BY_REWARD if find(learner).spec.teacher == "reward" else BY_ERROR


@dataclass(frozen=True)
class SearchSpace:
    """A setting and the range, on a logarithmic scale, in which it is looked for, in a unit said in words."""

    setting: str
    low: float
    high: float
    unit: str


def search_space(learner: str) -> SearchSpace:
    """The step size that a learner corrects by.

    `practice_rate` where cells practise, `hidden_rate` where the read-out stays as it is, `learning_rate` of an
    algorithm of Stable-Baselines3, else `rate`.
    """
    spec = find(learner).spec
    if spec.teacher == "reward":
        if find(learner).trials:
            return SearchSpace("rate", 0.007, 0.7, "step for a usual surprise")
        return SearchSpace("learning_rate", 1e-4, 1e-2, STEP_OF_ADAM)
    network = NETWORKS[spec.network]
    if network.practises:
        return SearchSpace("practice_rate", 0.0003, 0.05, STEP_OF_ADAM)
    if spec.plastic == "all":
        return SearchSpace("rate", 0.05, 1.8, SHARE)
    # Rate networks know what a step does to their posture, spiking ones do not: their share is counted in other steps.
    low, high = (0.3, 30.0) if network.cells == "spiking" else (0.1, 1.8)
    return SearchSpace("hidden_rate", low, high, SHARE)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a file holds, by learner; none where there is no file yet.

    Raises:
        FileNotFoundError: there is no folder for it.
        ValueError: it holds no JSON object.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder")
    found = json.loads(path.read_bytes()) if path.exists() else {}
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__}; a JSON object, settings by learner, is allowed")
    return found


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
            number = trials or find(learner).trials
            trained, settled = Path(passing) / "trained", Path(passing) / "settled"
            if kept is not None and "rate" not in settings:
                trained = kept / f"{learner}-{number}-{seed}"
            if not trained.exists():
                model = make_learner(
                    learner, gym.make(BASELINE_ENV, **find(learner).env_options), seed=seed, **settings
                )
                train(model, number)
                model.save(trained)
            model = _loaded(trained, settings)
            model.end_baseline()
            model.save(settled)
            grabbed = evaluate(_loaded(settled, settings), BASELINE_ENV, trials=JUDGED_TRIALS, seed=seed)
            missing = max(0.0, WANTED_SUCCESS - grabbed)
            for protocol in TUNING_PROTOCOLS:
                found.append(_left(_loaded(settled, settings), protocol, seed) + missing)
                yield sum(found) / len(found)


def missed_in_training(
    learner: str, settings: dict[str, Any], seeds: int, share: float = TRAINING_SHARE
) -> Iterator[float]:
    """The share of unperturbed cups that a learner from reward misses, averaged over a training.

    Args:
        learner: name of a learner from reward.
        settings: for `make_learner`.
        seeds: tuning seeds to average over.
        share: of its usual training, above 0.

    Yields:
        After each seed and each of the STRETCHES parts of the training, the mean so far; lower is better.
    """
    missed: list[float] = []
    env_id = find(learner).env_id
    for seed in range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds):
        model = make_learner(learner, gym.make(env_id, **find(learner).env_options), seed=seed, **settings)
        for _ in range(STRETCHES):
            if find(learner).trials:
                train(model, max(1, round(share * find(learner).trials / STRETCHES)))
            else:
                steps = max(1, round(share * find(learner).steps / STRETCHES))
                model.learn(steps, reset_num_timesteps=False)
            missed.append(1.0 - evaluate(model, env_id, trials=JUDGED_TRIALS, seed=seed))
            yield sum(missed) / len(missed)


def _loaded(folder: Path, settings: dict[str, Any]) -> Any:
    model = load_learner(folder, env_for(folder))
    for name, value in settings.items():
        setattr(model, name, value)
    return model


def _left(model: Any, protocol: Protocol, seed: int) -> float:
    rows = run_measured(model, protocol, seed).rows
    trials = pd.DataFrame(rows).assign(learner="one", protocol=protocol.name, seed=seed)
    measures = per_seed(trials).set_index("metric")["value"]
    left = float(measures["L30"])
    return 1.0 if math.isnan(left) else left  # a hand that never set out has corrected nothing
