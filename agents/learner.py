"""The registry of named learners, and how to make, load and prepare one.

A new learner is one function here that builds it; everything else asks for learners by name.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents.checkpoint import CheckpointError, Setting, check_settings, read_config, short
from agents.environments import kept_env_options
from agents.error.learner import RATES, SEED, ErrorLearner
from agents.error.networks import (
    ALIASES,
    ERROR_LEARNERS,
    HIDDEN,
    NONE,
    full_name,
    is_error_learner,
    make_feedforward,
    network_of,
)
from agents.loggers import LOG_SETTINGS
from agents.reward.algorithms import ALGORITHMS
from agents.reward.learner import ALIASES as REWARD_ALIASES
from agents.reward.learner import SEED as REWARD_SEED
from agents.reward.learner import UNKEPT_SETTINGS, RewardLearner
from agents.reward.learner import full_name as reward_name
from agents.reward.spiking_learner import KNOWN_SETTINGS, REWARD_SPIKING_LEARNERS, RewardSpikingLearner
from agents.trial_learner import TrialLearner
from agents.vec_env import copies_of
from reach import ENVIRONMENTS, OWN_PREFIX
from reach.arguments import is_whole

# Of a learner that has not been tuned.
LEARNING_RATE = 0.6
TUNED = Path(__file__).with_name("tuned.json")

BASELINE_ENV = "reach/CupGrab-v0"
BASELINE_TRIALS = 1000
# Of a learner whose read-out is to stay as it is: what its hidden cells are told has to align with what they do first.
ALIGNING_TRIALS = 2000
# Of a spiking learner from reward.
REWARDED_TRIALS = 5000
LONGEST_TRIAL_STEPS = 150
POSTURE = "posture"
# Where a study's learners come from, by what their joints are commanded by.
FACTORIES = {
    POSTURE: "agents.learner:prepare",
    "torque": "agents.learner:prepare_torque",
    "muscle": "agents.learner:prepare_muscle",
}
# Training draws its trials from small seeds.
JUDGED_SEED = 1_000_000


LEARNERS = (*ERROR_LEARNERS, *ALIASES, *ALGORITHMS, *REWARD_ALIASES, *REWARD_SPIKING_LEARNERS)


def is_learner(name: str) -> bool:
    """Whether `make_learner` knows a name: one of `LEARNERS`, or an error learner's that ends in `-hidden`."""
    return is_trial_learner(name) or name in (*ALGORITHMS, *REWARD_ALIASES)


def is_trial_learner(name: str) -> bool:
    """Whether the learner of this name learns from trial to trial, and its learning is counted in trials."""
    return is_error_learner(name) or name in REWARD_SPIKING_LEARNERS


def baseline_trials(name: str) -> int:
    """Trials of unperturbed training that a learner counted in trials is given without a word."""
    if name in REWARD_SPIKING_LEARNERS:
        return REWARDED_TRIALS
    return ALIGNING_TRIALS if name.endswith(HIDDEN) else BASELINE_TRIALS


def baseline_steps(name: str) -> int:
    """Control steps of unperturbed training that a learner counted in steps is given without a word."""
    return ALGORITHMS[reward_name(name)].STEPS


def make_learner(name: str, env: Any, *, seed: int = 0, **settings: Any) -> Any:
    """Make an untrained learner.

    Args:
        name: one of `LEARNERS`; with `-hidden` at the end of an error learner's, its read-out stays as it is once
            `settle_baseline` has been called.
        env: a `CupEnv`, wrapped or not, or a VecEnv of them.
        seed: of weights, feedback matrices and trials.
        settings: `rate`, `hidden_rate` and `practice_rate` of an error learner, instead of the tuned ones; `rate`,
            `critic_rate` and `exploration_rad` of a spiking learner from reward; anything that Stable-Baselines3's PPO,
            SAC, TD3 or TQC takes for the others, `learning_rate` instead of the tuned one; and `verbose`,
            `tensorboard_log`.

    Returns:
        A model with Stable-Baselines3's interface.

    Raises:
        ValueError: an unknown name or setting, a seed or setting that is not valid, or an environment in which the
            learner cannot learn.
    """
    if not isinstance(name, str) or not is_learner(name):
        raise ValueError(f"learner is {name!r}; {list(LEARNERS)} are allowed")
    known = known_settings(name)
    seed = known.pop("seed").check("seed", seed)
    paths = {setting: os.fspath(value) for setting, value in settings.items() if isinstance(value, os.PathLike)}
    settings = check_settings(settings | paths, known)
    if is_error_learner(name):
        network = network_of(name)
        untuned = {"rate": LEARNING_RATE} | ({} if network is None else {"hidden_rate": network.hidden_rate})
        settings = untuned | tuned_settings(name) | settings
        feedforward = make_feedforward(name, np.random.default_rng(seed))
        config = {"learner": name, "seed": seed, "rate": settings["rate"]}
        return ErrorLearner(feedforward, env, seed=seed, config=config, **settings)
    if name in REWARD_SPIKING_LEARNERS:
        return RewardSpikingLearner(name, env, seed=seed, **{**tuned_settings(name), **settings})
    return ALGORITHMS[reward_name(name)](name, env, seed=seed, **{**tuned_settings(name), **settings})


def known_settings(name: str) -> dict[str, Setting]:
    """Return what `make_learner` takes for the learner of this name besides its environment."""
    algorithm = ALGORITHMS.get(reward_name(name))
    if algorithm is not None:
        return REWARD_SEED | algorithm.SETTINGS | UNKEPT_SETTINGS
    return SEED | (KNOWN_SETTINGS if name in REWARD_SPIKING_LEARNERS else RATES) | LOG_SETTINGS


def tuned_settings(name: str) -> dict[str, float]:
    """What `scripts/tune.py` has found for a learner, named in full or in short; empty without tuning."""
    found = json.loads(TUNED.read_text()) if TUNED.exists() else {}
    settings: dict[str, float] = found.get(reward_name(full_name(name)), {}).get("settings", {})
    return settings


def learner_of(path: str | Path) -> str:
    """The name of the learner that a checkpoint folder holds.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: the folder names no known learner.
    """
    name = read_config(Path(path)).get("learner")
    if not isinstance(name, str) or not is_learner(name):
        raise CheckpointError(f"checkpoint {path} names learner {short(name)}; one of {list(LEARNERS)} is expected")
    return name


def env_options(name: str) -> dict[str, Any]:
    """What `gym.make` must be told for an environment in which the learner of this name can act; {} for most."""
    algorithm = ALGORITHMS.get(reward_name(name))
    if algorithm is not None:
        return dict(algorithm.ENV_OPTIONS)
    network = network_of(name)
    return {} if network is None else dict(network.env_options)


def env_id_of(name: str) -> str:
    """The id of the environment for which the learner of this name is made."""
    if name in REWARD_SPIKING_LEARNERS:
        return RewardSpikingLearner.ENV
    algorithm = ALGORITHMS.get(reward_name(name))
    return BASELINE_ENV if algorithm is None else algorithm.ENV


def env_named_in(path: str | Path) -> str:
    """Return the id of the environment in which the learner of a checkpoint folder was trained, as the folder has it.

    For an environment that was made without an id, it is the one for which the learner is made. The id may name a
    module, which `gym.make` would import; `trained_in` returns only ids of this project.

    Raises:
        CheckpointError: it is no text.
    """
    stored = read_config(Path(path)).get("env")
    if stored is not None and not isinstance(stored, str):
        raise CheckpointError(f"checkpoint {path}: env is {short(stored)}; the id of an environment is expected")
    return stored or env_id_of(learner_of(path))


def trained_in(path: str | Path) -> str:
    """Return the id of the environment of this project in which the learner of a checkpoint folder was trained.

    Raises:
        CheckpointError: it is an environment of somebody else.
    """
    named = env_named_in(path)
    env_id = named.removeprefix(OWN_PREFIX)
    if env_id not in ENVIRONMENTS:
        raise CheckpointError(
            f"checkpoint {path} names environment {short(named)}, which is not loaded from a file; one of "
            f"{list(ENVIRONMENTS)} is expected"
        )
    return env_id


def make_env(env_id: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    """An environment by its id.

    Raises:
        ValueError: it does not take the options, as a `CupEnv` does.
    """
    try:
        return gym.make(env_id, **options)
    except TypeError as error:
        raise ValueError(
            f"env is {env_id!r} with {options}; a CupEnv, which takes these, is allowed: {error}"
        ) from None


def env_for(path: str | Path, env_id: str | None = None) -> gym.Env[Any, Any]:
    """Make an environment like the one in which the learner of a checkpoint folder was trained.

    Args:
        path: the folder.
        env_id: given by the user, of another environment with the same control and observations. It may name a module
            to import; the id that the folder holds may not.

    Raises:
        CheckpointError: the folder names another environment than this project's, or options that are not valid.
        ValueError: the environment does not take the options.
    """
    options = kept_env_options({"env_options": {}, **read_config(Path(path))}, path)
    return make_env(env_id or trained_in(path), options)


def load_learner(path: str | Path, env: Any, **settings: Any) -> Any:
    """Load a learner from a checkpoint folder; no code of the checkpoint is run.

    Args:
        path: the folder.
        env: as for `make_learner`.
        settings: `verbose`, `tensorboard_log`; and `resume` for one that is to go on with the trials that would have
            followed when it was kept.

    Raises:
        CheckpointError: the folder holds no checkpoint, a damaged one, or one that does not fit `env`.
    """
    name = reward_name(learner_of(path))
    if name in ALGORITHMS:
        return ALGORITHMS[name].load(path, env=env, **settings)
    kind = RewardSpikingLearner if name in REWARD_SPIKING_LEARNERS else ErrorLearner
    return kind.load(path, env, **settings)


def prepare(
    learner: str,
    seed: int,
    folder: Path,
    on_progress: Callable[[float], None] | None = None,
    *,
    control: str = POSTURE,
) -> Any:
    """A learner that has learned to grab unperturbed cups, or to reach for them, trained once and kept in `folder`.

    Args:
        learner: a name of `LEARNERS`.
        seed: of the learner and its training trials.
        folder: of the checkpoint; a whole one there is loaded instead of training anew.
        on_progress: told the share of the training that is done, 0..1.
        control: what its joints are commanded by: "posture", "torque" or "muscle".
    """
    if (folder / "config.json").exists():
        return load_learner(folder, env_for(folder))
    env = gym.make(env_id_of(learner), **env_options(learner), control=control)
    model = make_learner(learner, env, seed=seed)
    if not isinstance(model, TrialLearner):
        steps = baseline_steps(learner)
        model.learn(steps, callback=_Progress(steps, on_progress, by="steps"))
    elif learner != NONE:
        train_trials(model, baseline_trials(learner), on_progress=on_progress)
        model.settle_baseline()
    model.save(folder)
    return model


def prepare_torque(learner: str, seed: int, folder: Path, on_progress: Callable[[float], None] | None = None) -> Any:
    """As `prepare`, with joints commanded by torques."""
    return prepare(learner, seed, folder, on_progress, control="torque")


def prepare_muscle(learner: str, seed: int, folder: Path, on_progress: Callable[[float], None] | None = None) -> Any:
    """As `prepare`, with joints commanded by muscles."""
    return prepare(learner, seed, folder, on_progress, control="muscle")


def train_trials(
    model: Any,
    trials: int,
    *,
    on_progress: Callable[[float], None] | None = None,
    callbacks: Sequence[BaseCallback] = (),
    progress_bar: bool = False,
) -> None:
    """Let a model learn for a number of trials, or until a callback ends it.

    Raises:
        ValueError: a number of trials that is not whole, or below 1.
    """
    _require_trials(trials)
    env = model.get_env()
    most = trials * LONGEST_TRIAL_STEPS * (env.num_envs if env is not None else 1)
    counting = _Progress(trials, on_progress, by="trials")
    model.learn(most, callback=[counting, *callbacks], reset_num_timesteps=False, progress_bar=progress_bar)


def evaluate(model: Any, env_id: str, *, trials: int = 500, seed: int = 0) -> float:
    """Share of successes of a model in fresh trials, whose seeds no training uses.

    The environment has the control and the observations of the model's own.

    Raises:
        ValueError: a number of trials that is not whole, or below 1.
    """
    _require_trials(trials)
    env = gym.make(env_id, **getattr(model, "env_options", {}))
    first = JUDGED_SEED + 100_000 * seed
    if isinstance(model, RewardLearner):
        return _evaluate_at_once(model, copies_of(env, first, trials))
    won = 0
    for k in range(trials):
        observation, _ = env.reset(seed=first + k)
        state, start, over = None, np.ones(1, dtype=bool), False
        while not over:
            action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
            observation, _, terminated, truncated, info = env.step(action)
            start, over = np.zeros(1, dtype=bool), bool(terminated or truncated)
        won += info["is_success"]
    return won / trials


def _evaluate_at_once(model: Any, envs: VecEnv) -> float:
    """Share of successes in the first trial of each environment, all of them side by side."""
    observations, state = envs.reset(), None
    over, won = np.ones(envs.num_envs, dtype=bool), np.zeros(envs.num_envs, dtype=bool)
    running = over.copy()
    while running.any():
        actions, state = model.predict(observations, state=state, episode_start=over, deterministic=True)
        observations, _, over, infos = envs.step(actions)
        for index in np.flatnonzero(over & running):
            won[index] = infos[index]["is_success"]
        running &= ~over
    return float(won.mean())


def _require_trials(trials: Any) -> None:
    if not is_whole(trials) or trials < 1:
        raise ValueError(f"trials is {trials!r}; a whole number of 1 or more is allowed")


class _Progress(BaseCallback):
    """Tells how much of the wanted learning is over, counted in "trials" or in "steps", and ends it then."""

    def __init__(self, wanted: int, tell: Callable[[float], None] | None, by: str) -> None:
        super().__init__()
        self._wanted = wanted
        self._tell = tell
        self._by = by
        self._over = 0

    def _on_step(self) -> bool:
        dones = self.locals["dones"]
        over = int(np.count_nonzero(dones)) if self._by == "trials" else len(dones)
        self._over += over
        if over and self._tell is not None:
            self._tell(min(1.0, self._over / self._wanted))
        return self._over < self._wanted


class Keep(BaseCallback):
    """Save the learner every so often, and once more when the process is asked to stop; then end learning.

    It saves where a resumed run is exact: a learner that learns from trial to trial between trials, one from reward
    between rollouts.

    Attributes:
        stopped: the signal by which the process was asked to stop, once learning has ended because of it.
    """

    def __init__(self, folder: Path, every_s: float = 20.0) -> None:
        """Save the learner in `folder`, every `every_s` seconds."""
        super().__init__()
        self._folder = folder
        self._every_s = every_s
        self._last = monotonic()
        self._asked: int | None = None
        self.stopped: int | None = None

    @contextmanager
    def asked_by_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as being asked to stop, while inside."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = number

    def _on_rollout_start(self) -> None:
        model: Any = self.model
        if not isinstance(model, TrialLearner):
            self.keep_when_due(model)

    def _on_step(self) -> bool:
        model: Any = self.model
        if isinstance(model, TrialLearner) and bool(np.any(self.locals["dones"])):
            self.keep_when_due(model)
        return self.stopped is None

    def keep_when_due(self, model: Any) -> None:
        """Save `model`, which can be resumed exactly now, if it is time to or if the process was asked to stop."""
        if self.stopped is None and (self._asked is not None or monotonic() - self._last > self._every_s):
            model.save(self._folder)
            self._last = monotonic()
            self.stopped = self._asked
