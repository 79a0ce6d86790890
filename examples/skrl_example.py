"""Proximal policy optimisation of skrl over a Gymnasium vector environment.

skrl learns from every step of the vector environment. The environments therefore reset within the step that ends an
episode: otherwise a step whose action is ignored would follow every episode.

    python examples/skrl_example.py --timesteps 1024
"""

from __future__ import annotations

import gymnasium as gym
import torch
import tyro
from gymnasium.vector import AutoresetMode
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model
from torch.nn.utils import parameters_to_vector

LAYERS = [{"name": "hidden", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "tanh"}]
ROLLOUT_STEPS = 64


def main(timesteps: int = 1_024, env: str = "reach:reach/CupGrab-v1", num_envs: int = 4, seed: int = 0) -> None:
    """Train, and print a summary.

    Args:
        timesteps: of all environments together.
        env: id of an environment; "module:id" imports the module first.
        num_envs: environments side by side.
        seed: of the environments and of the networks.
    """
    torch.set_num_threads(1)
    set_seed(seed)
    reset_at_once = {"autoreset_mode": AutoresetMode.SAME_STEP}
    envs = wrap_env(gym.make_vec(env, num_envs=num_envs, vectorization_mode="sync", vector_kwargs=reset_at_once))
    spaces = {"observation_space": envs.observation_space, "action_space": envs.action_space}
    policy = gaussian_model(**spaces, network=LAYERS, output="ACTIONS", initial_log_std=-0.5)
    value = deterministic_model(**spaces, network=LAYERS, output="ONE")
    for model in (policy, value):
        model.init_state_dict()
    settings = PPO_CFG(rollouts=ROLLOUT_STEPS, learning_epochs=4, mini_batches=4, learning_rate=3e-4)
    # Nothing is written beside the working directory.
    settings.experiment.write_interval = 0
    settings.experiment.checkpoint_interval = 0
    agent = PPO(
        models={"policy": policy, "value": value},
        memory=RandomMemory(memory_size=ROLLOUT_STEPS, num_envs=num_envs),
        cfg=settings,
        **spaces,
    )
    weights_before = parameters_to_vector(policy.parameters()).detach()
    steps = timesteps // num_envs
    trainer_settings = {"timesteps": steps, "headless": True, "disable_progressbar": None}
    SequentialTrainer(env=envs, agents=agent, cfg=trainer_settings).train()
    moved = float((parameters_to_vector(policy.parameters()).detach() - weights_before).norm())
    print(f"PPO: {steps * num_envs} steps of {env} in {num_envs} environments, weights moved by {moved:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
