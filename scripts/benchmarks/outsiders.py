"""Train Stable-Baselines3 without our help: `python scripts/benchmarks/outsiders.py --out runs/outsiders`.

Prints a Markdown table of the share of successful trials against the number of control steps, on the tasks of this
project and on Reacher-v5 (MuJoCo) and FetchReach-v4 (gymnasium-robotics) where they are installed. Each run is stored
when it ends; the same command continues.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
import tyro
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from tqdm import tqdm

from agents.reward.off_policy import NOISE_SD, SHORT_HORIZON
from agents.vec_env import CupVecEnv
from reach import ENVIRONMENTS

REACHER, FETCH = "Reacher-v5", "FetchReach-v4"
# Reacher has no success of its own: the fingertip ends this near the target, m.
REACHER_SUCCESS_M = 0.02
TRIALS = 200
EVALUATION_SEED = 10_000
# Algorithm -> class, number of environments, further arguments. PPO by Stable-Baselines3's defaults would collect 2,048
# steps of one environment; eight environments collect as many.
ALGORITHMS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "PPO": (PPO, 8, {"n_steps": 256}),
    "PPO as in CleanRL": (PPO, 1, {"learning_rate": lambda left: 3e-4 * left}),
    "SAC": (SAC, 1, {}),
    "TD3": (TD3, 1, {}),
    "SAC as in rl_zoo3": (SAC, 1, {**SHORT_HORIZON, "ent_coef": "auto_0.01"}),
    "TD3 as in rl_zoo3": (TD3, 1, {**SHORT_HORIZON, "noise_std": NOISE_SD}),
}
NORMALISED = ("PPO as in CleanRL",)
ALL_ENVIRONMENTS = (*ENVIRONMENTS, REACHER, FETCH)


@dataclass(frozen=True)
class Options:
    """Train Stable-Baselines3's algorithms with their own defaults, here and on other reaching tasks."""

    out: Path
    """Folder for results; a folder with results is continued."""
    seeds: int = 5
    """Seeds of each algorithm."""
    on_policy_steps: int = 256_000
    """Control steps of PPO."""
    off_policy_steps: int = 100_000
    """Control steps of SAC and TD3."""
    points: int = 5
    """How often success is judged during training."""
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    """Names of algorithms, of those in the default."""
    environments: tuple[str, ...] = ALL_ENVIRONMENTS
    """Ids of environments, of those in the default; those whose library is missing are left out. Arguments of this
    project's environments follow an id, as in reach/CupReach-v1,control=torque."""
    jobs: int = 1
    """Trainings at the same time."""

    def __post_init__(self) -> None:
        for flag in ("seeds", "on_policy_steps", "off_policy_steps", "points", "jobs"):
            if (value := getattr(self, flag)) < 1:
                raise SystemExit(f"--{flag.replace('_', '-')}: expected 1 or more, got {value}")
        ids = {name.partition(",")[0] for name in self.environments}
        for flag, given, known in (
            ("algorithms", set(self.algorithms), tuple(ALGORITHMS)), ("environments", ids, ALL_ENVIRONMENTS)
        ):  # fmt: skip
            if unknown := sorted(given - set(known)):
                raise SystemExit(f"--{flag}: expected names of {list(known)}, got {unknown}")
        for name in self.environments:
            env_id, *arguments = name.split(",")
            if (arguments and env_id not in ENVIRONMENTS) or not all("=" in argument for argument in arguments):
                raise SystemExit(f"--environments {name}: expected an id of {list(ENVIRONMENTS)},argument=value,...")
            try:
                if arguments:
                    vector_of(name, 1, 0).close()
            except (TypeError, ValueError) as error:
                raise SystemExit(f"--environments {name}: {error}") from error


def vector_of(env_id: str, number: int, seed: int) -> VecEnv:
    """Return `number` seeded environments."""
    env_id, *arguments = env_id.split(",")
    if env_id in ENVIRONMENTS:
        made: VecEnv = CupVecEnv(env_id, number, **dict(argument.split("=", 1) for argument in arguments))
        made.seed(seed)
        return made
    wrapper = None
    if env_id == FETCH:
        import_module("gymnasium_robotics")  # registers its environments
        wrapper = gym.wrappers.FlattenObservation
    return make_vec_env(env_id, number, seed=seed, wrapper_class=wrapper)


def success_of(env_id: str, act: Callable[[Any], Any]) -> float:
    """Return the share of successes in `TRIALS` trials."""
    envs = vector_of(env_id, 1 if env_id in (REACHER, FETCH) else TRIALS, EVALUATION_SEED)
    observations = envs.reset()
    results: list[bool] = []
    judged = np.zeros(envs.num_envs, dtype=bool)
    while len(results) < TRIALS:
        observations, _, dones, infos = envs.step(act(observations))
        for index in np.flatnonzero(dones & ~judged).tolist():
            if env_id == REACHER:
                away = infos[index]["terminal_observation"][-2:]
                results.append(float(np.linalg.norm(away)) < REACHER_SUCCESS_M)
            else:
                results.append(bool(infos[index]["is_success"]))
            # One trial of each environment: short ones would count more often.
            judged[index] = envs.num_envs > 1
    envs.close()
    return float(np.mean(results))


def total_steps(options: Options, algorithm: str) -> int:
    """Return the control steps that an algorithm is trained for."""
    return options.on_policy_steps if ALGORITHMS[algorithm][0] is PPO else options.off_policy_steps


def train(options: Options, env_id: str, algorithm: str, seed: int) -> pd.DataFrame:
    """Train once; return success at each point as rows of environment, algorithm, seed, steps, success."""
    torch.set_num_threads(1)
    kind, number, arguments = ALGORITHMS[algorithm]
    envs: VecEnv = vector_of(env_id, number, seed)
    if algorithm in NORMALISED:
        envs = VecNormalize(envs)
    settings = dict(arguments)
    if (spread := settings.pop("noise_std", None)) is not None:
        shape = envs.action_space.shape or ()
        settings["action_noise"] = NormalActionNoise(np.zeros(shape), np.full(shape, spread))
    model = kind("MlpPolicy", envs, seed=seed, device="cpu", **settings)

    def act(observations: Any) -> Any:
        if isinstance(envs, VecNormalize):
            observations = envs.normalize_obs(observations)
        return model.predict(observations, deterministic=True)[0]

    total = total_steps(options, algorithm)
    rows = []
    for point in range(1, options.points + 1):
        target = total * point // options.points
        model.learn(target - model.num_timesteps, reset_num_timesteps=point == 1)
        rows.append((env_id, algorithm, seed, model.num_timesteps, success_of(env_id, act)))
    return pd.DataFrame(rows, columns=["environment", "algorithm", "seed", "steps", "success"])


def table(results: pd.DataFrame) -> str:
    """Return a Markdown table: mean success over seeds, and the range of the seeds, at each number of steps."""
    lines = ["| environment | algorithm | success after control steps: mean (range) |", "|---|---|---|"]
    for env_id, of_env in results.groupby("environment", sort=False):
        for algorithm, runs in of_env.groupby("algorithm", sort=False):
            points = []
            for steps, shares in runs.groupby("steps")["success"]:
                points.append(f"{steps:,}: {shares.mean():.0%} ({shares.min():.0%} to {shares.max():.0%})")
            lines.append(f"| {env_id} | {algorithm}, seeds: {runs['seed'].nunique()} | {'; '.join(points)} |")
    return "\n".join(lines)


def main(options: Options) -> None:
    """Train what is missing, and print the table."""
    missing = {REACHER: "mujoco", FETCH: "gymnasium_robotics"}
    known = [env_id for env_id in options.environments if find_spec(missing.get(env_id, "reach"))]
    if not known:
        raise SystemExit(f"--environments: expected the libraries {list(missing.values())} to be installed, got none")
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = {}
    for seed in range(options.seeds):
        for algorithm in options.algorithms:
            for env_id in known:
                what = f"{env_id.replace('/', '-')} {algorithm} {total_steps(options, algorithm)} {options.points}"
                jobs[options.out / f"{what} {seed}.csv"] = env_id, algorithm, seed
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {pool.submit(train, options, *job): file for file, job in jobs.items() if not file.exists()}
        for future in tqdm(as_completed(running), total=len(running), desc="trainings"):
            future.result().to_csv(running[future], index=False)
    print(table(pd.concat([pd.read_csv(file) for file in jobs])))


if __name__ == "__main__":
    main(tyro.cli(Options))
