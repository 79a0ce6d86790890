"""Judge the settings of a learner: how fast it corrects, or learns from reward, on seeds that no comparison uses.

Comparisons use the perturbations of the presets. Tuning uses another kind: a shear of what is seen to the side that
lamps tell, for which hidden layers must learn. A learner by seen error is judged by the launch error that is left in
the end, since that of the first reaches is smallest with the largest step. Cells with memory across reaches see no
lamps: they are judged by how fast they follow a shear to one side. A learner from reward is judged by how many cups it
misses during a training.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import pandas as pd

from agents.learner import env_for, evaluate, load_learner, make_learner, train_trials
from agents.networks.registry import NETWORKS
from agents.registry import BASELINE_ENV, find
from reach.perturbations import VisualMap, register
from reach.protocols import BASELINE, PERTURBED, Abrupt, Block, Parity, Protocol
from reach.study.measures import per_seed
from reach.study.run import run_measured


@register
@dataclass(frozen=True)
class Shear(VisualMap):
    """The seen hand moves sideways as it moves forward.

    Attributes:
        slope: to the right, m per m forward.
        onset_s: time in the trial, s; None = before it.
    """

    slope: float = 0.4
    onset_s: float | None = None
    kind: str = field(default="shear", init=False)
    sizes: ClassVar[tuple[str, ...]] = ("slope",)

    def matrix(self) -> Any:
        """Return the shear about the start."""
        return [[1.0, self.slope], [0.0, 1.0]]


LAMPS, REACHES = 4, 1000


def tuning_protocol(lamps: int = LAMPS, reaches: int = REACHES) -> Protocol:
    """Return what learners by seen error are tuned on.

    Args:
        lamps: on the table, 2 or more, two of which tell the side; 0 for a shear to the right without lamps.
        reaches: number of perturbed reaches.
    """
    return Protocol(
        name="tuning",
        blocks=(Block(BASELINE, 60), Block(PERTURBED, reaches, (Shear(0.5),), Parity(2) if lamps else Abrupt())),
        source="a shear to the side that two lamps tell, which no comparison uses",
        context=lamps,
    )


# The seeds of comparisons begin at 0.
FIRST_TUNING_SEED = 10_000
# A setting must not correct fast at the expense of grabbing: what is missing to this success rate is a penalty.
WANTED_SUCCESS = 0.97
JUDGED_TRIALS = 100
# The share of its usual training that a learner from reward gets, and in how many parts; it is judged after each.
TRAINING_SHARE = 0.4
STRETCHES = 4
STEP_OF_ADAM, SHARE = "step of Adam", "share of the error"


class Criterion(NamedTuple):
    """What settings are judged by.

    Attributes:
        name: in the file of settings.
        axis: label in the picture.
        steps: number of values for one seed.
    """

    name: str
    axis: str
    steps: int


BY_ERROR = Criterion("left_of_the_miss", "left of the miss", 1)
BY_SPEED = Criterion("L30", "L30 of a shear", 1)
BY_REWARD = Criterion("missed_in_training", "share of cups missed in training", STRETCHES)


def criterion_of(learner: str) -> Criterion:
    """Return what the settings of this learner are judged by."""
    spec = find(learner).spec
    if spec.teacher == "reward":
        return BY_REWARD
    return BY_SPEED if NETWORKS[spec.network].practises == "memory" else BY_ERROR


@dataclass(frozen=True)
class SearchSpace:
    """A setting and its range on a logarithmic scale.

    Attributes:
        setting: name of the option of the learner.
        low, high: the range.
        unit: in words, for the picture.
    """

    setting: str
    low: float
    high: float
    unit: str


def search_space(learner: str) -> SearchSpace:
    """Return the step size by which a learner corrects.

    It is `practice_rate` if cells practise, `hidden_rate` if only hidden layers learn, `learning_rate` for an algorithm
    of Stable-Baselines3, else `rate`.
    """
    spec = find(learner).spec
    if spec.teacher == "reward":
        if find(learner).trials:
            return SearchSpace("rate", 0.007, 0.7, "step for a usual reward prediction error")
        return SearchSpace("learning_rate", 3e-4, 3e-2, STEP_OF_ADAM)
    network = NETWORKS[spec.network]
    if network.practises == "memory":
        return SearchSpace("practice_rate", 0.0003, 0.05, STEP_OF_ADAM)
    if spec.plastic == "all":
        return SearchSpace("rate", 0.3, 2.0, SHARE)
    # A share of the modulators of hidden layers. Its effect on the posture depends on the read-out.
    return SearchSpace("hidden_rate", 0.1, 30.0, SHARE)


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a file by learner; none if there is no file yet.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: it holds no JSON object.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"expected a file in an existing folder, got none at {path.parent}")
    settings = json.loads(path.read_bytes()) if path.exists() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"expected a JSON object with settings by learner, got {type(settings).__name__}")
    return settings


def left_uncorrected(
    learner: str,
    settings: dict[str, Any],
    seeds: int,
    trials: int | None = None,
    folder: Path | None = None,
    protocol: Protocol | None = None,
) -> Iterator[float]:
    """Yield the `late_error` of an error learner, the mean so far after each seed; lower is better.

    Learners that `criterion_of` judges by speed get a shear of 30 reaches without lamps, and the value is its L30.
    Where the success rate without perturbation is below WANTED_SUCCESS, the difference is added as a penalty.

    Args:
        learner: name of an error learner.
        settings: for `make_learner`.
        seeds: number of tuning seeds.
        trials: of baseline training; None for as many as in a comparison.
        folder: for learners after baseline training. This depends on no setting but `rate`, so for other settings
            a learner is trained once for each seed and then loaded from there.
        protocol: from `tuning_protocol`; None for its defaults.
    """
    metric = "late_error"
    protocol = protocol or tuning_protocol()
    if criterion_of(learner) is BY_SPEED:
        metric, protocol = "L30", tuning_protocol(lamps=0, reaches=30)
    lamps = protocol.context
    left: list[float] = []
    for seed in range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds):
        with tempfile.TemporaryDirectory(prefix="tuning-") as passing:
            number = trials or find(learner).trials
            trained, ready = Path(passing) / "trained", Path(passing) / "ready"
            if folder is not None and "rate" not in settings:
                trained = folder / f"{learner}-{lamps}-{number}-{seed}"
            if not trained.exists():
                env = gym.make(BASELINE_ENV, context=lamps, **find(learner).env_options)
                model = make_learner(learner, env, seed=seed, **settings)
                train_trials(model, number)
                model.save(trained)
            model = _loaded(trained, settings)
            model.end_baseline()
            model.save(ready)
            success = evaluate(_loaded(ready, settings), BASELINE_ENV, trials=JUDGED_TRIALS, seed=seed)
            penalty = max(0.0, WANTED_SUCCESS - success)
            left.append(_left(_loaded(ready, settings), protocol, seed, metric) + penalty)
            yield sum(left) / len(left)


def missed_in_training(
    learner: str, settings: dict[str, Any], seeds: int, share: float = TRAINING_SHARE
) -> Iterator[float]:
    """Yield the share of unperturbed cups that a learner from reward misses, the mean so far; lower is better.

    There is a value after each seed and each of the STRETCHES parts of the training.

    Args:
        learner: name of a learner from reward.
        settings: for `make_learner`.
        seeds: number of tuning seeds.
        share: of its usual training, above 0.
    """
    missed: list[float] = []
    env_id = find(learner).env_id
    for seed in range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds):
        model = make_learner(learner, gym.make(env_id, **find(learner).env_options), seed=seed, **settings)
        for _ in range(STRETCHES):
            if find(learner).trials:
                train_trials(model, max(1, round(share * find(learner).trials / STRETCHES)))
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


def _left(model: Any, protocol: Protocol, seed: int, metric: str) -> float:
    rows = run_measured(model, protocol, seed).rows
    trials = pd.DataFrame(rows).assign(learner="tuned", protocol=protocol.name, seed=seed)
    left = float(per_seed(trials).set_index("metric")["value"][metric])
    return 1.0 if math.isnan(left) else left  # a hand that never moved has corrected nothing
