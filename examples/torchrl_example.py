"""Proximal policy optimisation assembled from TorchRL's parts: environment, collector, advantage and loss.

python examples/torchrl_example.py --timesteps 1024
"""

from __future__ import annotations

import torch
import tyro
from tensordict.nn import TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torch.nn.utils import clip_grad_norm_, parameters_to_vector
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, RewardSum, TransformedEnv
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

ROLLOUT_STEPS = 256
BATCH_SIZE = 64
EPOCHS = 4


def main(timesteps: int = 1_024, env: str = "reach:reach/CupGrab-v1", seed: int = 0) -> None:
    """Train, and print a summary.

    Args:
        timesteps: a multiple of 256 is used in full.
        env: id of an environment; "module:id" imports the module first.
        seed: of the environment and of the networks.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    world = TransformedEnv(GymEnv(env), RewardSum())
    world.set_seed(seed)
    observations, actions = world.observation_spec["observation"].shape[-1], world.action_spec.shape[-1]

    body = nn.Sequential(
        MLP(in_features=observations, out_features=2 * actions, num_cells=[64, 64], activation_class=nn.Tanh),
        NormalParamExtractor(),
    )
    actor = ProbabilisticActor(
        TensorDictModule(body, in_keys=["observation"], out_keys=["loc", "scale"]),
        in_keys=["loc", "scale"],
        spec=world.action_spec,
        distribution_class=TanhNormal,
        distribution_kwargs={"low": world.action_spec.space.low, "high": world.action_spec.space.high},
        return_log_prob=True,
    )
    critic = ValueOperator(
        MLP(in_features=observations, out_features=1, num_cells=[64, 64], activation_class=nn.Tanh),
        in_keys=["observation"],
    )
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.0, normalize_advantage=True)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4)
    weights_before = parameters_to_vector(actor.parameters()).detach()

    collector = Collector(
        world,
        actor,
        frames_per_batch=ROLLOUT_STEPS,
        total_frames=timesteps,
        auto_register_policy_transforms=True,
    )
    steps = 0
    returns: list[float] = []
    for rollout in collector:
        steps += rollout.numel()
        returns.extend(rollout["next", "episode_reward"][rollout["next", "done"]].tolist())
        with torch.no_grad():
            advantage(rollout)
        for _ in range(EPOCHS):
            for chosen in torch.randperm(ROLLOUT_STEPS).split(BATCH_SIZE):
                terms = loss(rollout[chosen])
                optimizer.zero_grad()
                (terms["loss_objective"] + terms["loss_critic"]).backward()
                clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
    collector.shutdown()

    moved = float((parameters_to_vector(actor.parameters()).detach() - weights_before).norm())
    print(f"PPO: {steps} steps of {env}, weights moved by {moved:.3f}")
    print(f"{len(returns)} episodes, mean return {sum(returns) / max(1, len(returns)):.2f}")


if __name__ == "__main__":
    tyro.cli(main)
