"""An offline data set by the scripted expert, written and read back by Minari, and behaviour cloning from it.

The data set lies in the folder of Minari, `~/.minari/datasets` unless MINARI_DATASETS_PATH names another one.

    python examples/minari_example.py --dataset cup-grab/expert-v0 --episodes 100
"""

from __future__ import annotations

import gymnasium as gym
import minari
import numpy as np
import torch
import tyro
from minari import DataCollector
from torch import nn
from torch.nn.utils import parameters_to_vector

from agents.reaching.expert import Expert

BATCH_SIZE = 256


def record(env: str, dataset: str, episodes: int, seed: int) -> None:
    """Write `episodes` trials of the expert, with `info`."""
    made = gym.make(env)
    world, expert = DataCollector(made, record_infos=True), Expert(made)
    for episode in range(episodes):
        _, info = world.reset(seed=seed + episode)
        expert.begin(info["truth"])
        over = False
        while not over:
            action = expert.act(info["truth"]).astype(np.float32)
            _, _, terminated, truncated, info = world.step(action)
            over = terminated or truncated
    world.create_dataset(
        dataset,
        eval_env=made.spec,
        algorithm_name="scripted expert, which knows the true state",
        description=f"{episodes} trials, seeds {seed} to {seed + episodes - 1}",
        author="cup-reach",
        author_email="unknown",
        code_permalink="unknown",
    )
    world.close()


def main(
    env: str = "reach:reach/CupGrab-v1",
    dataset: str = "cup/expert-v0",
    episodes: int = 20,
    updates: int = 500,
    seed: int = 0,
) -> None:
    """Write the data set, clone the expert, and print a summary.

    Args:
        env: id of an environment; "module:id" imports the module first.
        dataset: id of the new data set.
        episodes: trials of the expert; trial k has seed `seed + k`.
        updates: steps of gradient descent, each on 256 control steps.
        seed: of the first trial and of the network.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    record(env, dataset, episodes, seed)

    written = minari.load_dataset(dataset)
    trials = list(written.iterate_episodes())
    successes = sum(bool(trial.infos["is_success"][-1]) for trial in trials)
    print(f"{dataset}: {len(trials)} trials, {successes} successes, {written.total_steps} steps of {env}")
    # The last observation of a trial is followed by no action.
    observations = torch.as_tensor(np.concatenate([trial.observations[:-1] for trial in trials]))
    actions = torch.as_tensor(np.concatenate([trial.actions for trial in trials]))

    policy = nn.Sequential(
        nn.Linear(observations.shape[1], 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 4), nn.Tanh()
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    weights_before = parameters_to_vector(policy.parameters()).detach()
    for _ in range(updates):
        chosen = torch.randint(len(actions), (BATCH_SIZE,))
        loss = nn.functional.mse_loss(policy(observations[chosen]), actions[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = float((parameters_to_vector(policy.parameters()).detach() - weights_before).norm())
    print(f"behaviour cloning: {len(actions)} steps of {env}, weights moved by {moved:.3f}, error {loss.item():.4f}")


if __name__ == "__main__":
    tyro.cli(main)
