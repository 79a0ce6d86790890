"""Stable-Baselines3's algorithms under a rule: `bp` is theirs to the last bit, and feedback is part of the model."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env

import reach  # noqa: F401  (registers the environments)
from agents.learner import make_learner
from agents.networks.registry import NETWORKS
from agents.registry import find
from agents.reward.policies import RuledActorCriticPolicy, RuledSACPolicy, RuledTD3Policy
from agents.rules.assign import alignment_degrees
from agents.rules.layers import RuledLayer
from agents.rules.registry import rule_for, rules_from_reward

GRAB = "reach/CupGrab-v1"
LAYER_RULES = rules_from_reward(NETWORKS["mlp"])
KINDS: dict[Any, tuple[Any, dict[str, Any], int]] = {
    PPO: (RuledActorCriticPolicy, {"n_steps": 64, "batch_size": 32, "n_epochs": 2}, 192),
    SAC: (RuledSACPolicy, {"learning_starts": 60, "batch_size": 32, "buffer_size": 500}, 150),
    TD3: (RuledTD3Policy, {"learning_starts": 60, "batch_size": 32, "buffer_size": 500}, 150),
    DDPG: (RuledTD3Policy, {"learning_starts": 60, "batch_size": 32, "buffer_size": 500}, 100),
}
HIDDEN = {"net_arch": [24, 16]}


@cache
def taught(kind: Any, policy: Any, **policy_kwargs: Any) -> Any:
    """Return a model after some learning, to be looked at only."""
    _, settings, steps = KINDS[kind]
    env = make_vec_env(GRAB, n_envs=1, seed=4)
    return kind(policy, env, seed=4, policy_kwargs={**HIDDEN, **policy_kwargs}, **settings).learn(steps)


@pytest.mark.parametrize("kind", KINDS)
def test_back_propagation_is_theirs_to_the_last_bit(kind: Any) -> None:
    own, theirs = taught(kind, KINDS[kind][0], rule="bp"), taught(kind, "MlpPolicy")
    for (name, value), other in zip(own.policy.state_dict().items(), theirs.policy.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("rule", [rule for rule in LAYER_RULES if rule != "bp"])
@pytest.mark.parametrize("kind", [PPO, SAC, TD3])
def test_each_rule_starts_from_the_same_weights_and_learns_otherwise(kind: Any, rule: str) -> None:
    policy, settings, _ = KINDS[kind]
    fresh = {
        one: kind(policy, gym.make(GRAB), seed=4, policy_kwargs={**HIDDEN, "rule": one}, **settings)
        for one in ("bp", rule)
    }
    exact, ruled = (fresh[one].policy.state_dict() for one in ("bp", rule))
    assert all(torch.equal(value, ruled[name]) for name, value in exact.items())
    declared = rule_for(rule, "layers")
    assert any("feedback" in name for name in ruled) == (declared.feedback != "none")
    learned = {one: taught(kind, policy, rule=one).policy.state_dict() for one in ("bp", rule)}
    for name, value in learned[rule].items():
        assert torch.isfinite(value).all()
        if "feedback" in name and "target" not in name:
            assert torch.equal(value, ruled[name]) == ("feedback" not in declared.modifies), name
    assert any(not torch.equal(value, learned[rule][name]) for name, value in learned["bp"].items())


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_targets_share_the_critic_s_feedback(kind: Any) -> None:
    policy = taught(kind, KINDS[kind][0], rule="dfa").policy
    for name, value in policy.critic.state_dict().items():
        if "feedback" in name:
            assert torch.equal(value, policy.critic_target.state_dict()[name])


def test_shallow_hidden_layers_stay_as_they_were_drawn() -> None:
    before = PPO(RuledActorCriticPolicy, gym.make(GRAB), seed=4, policy_kwargs={**HIDDEN, "rule": "shallow"})
    first = before.policy.state_dict()
    for name, value in taught(PPO, RuledActorCriticPolicy, rule="shallow").policy.state_dict().items():
        hidden = name.startswith("mlp_extractor")
        assert torch.equal(value, first[name]) == hidden, name


@pytest.mark.parametrize("kind", [PPO, SAC, TD3])
def test_alignment_is_told_by_layer(kind: Any) -> None:
    for rule, largest in (("bp", 0.1), ("dfa", 180.0)):
        policy = taught(kind, KINDS[kind][0], rule=rule).policy
        parts = [policy] if kind is PPO else [policy.actor, policy.critic]
        angles = alignment_degrees(network for part in parts for network in part.rule_networks)
        assert len(angles) >= 4
        assert all(0.0 <= angle <= largest for angle in angles.values()), angles
        assert rule == "bp" or max(angles.values()) > 10.0


@pytest.mark.parametrize("name", ["reward-mlp-dfa", "reward-sac-mlp-dfa", "reward-td3-mlp-dfa", "reward-mlp-shallow"])
def test_movement_and_angles_of_the_actor_are_told(name: str) -> None:
    small = {"n_steps": 8, "batch_size": 64} if name.startswith("reward-mlp") else {"learning_starts": 8}
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), **small)
    assert model.alignment() == {}
    before = {layer: weight.copy() for layer, weight in model.weights().items()}
    model.learn(64)
    learns = "shallow" not in name
    angles = model.alignment()
    assert list(angles) == (["hidden 1", "hidden 2"] if learns else [])
    assert all(10.0 < degrees < 170.0 for degrees in angles.values())
    changed = {layer: not np.array_equal(weight, before[layer]) for layer, weight in model.weights().items()}
    assert changed == {"hidden 1": learns, "hidden 2": learns, "commands": True}


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_the_actor_s_gradient_by_the_critic_s_input_is_exact(kind: Any) -> None:
    model = taught(kind, KINDS[kind][0], rule="dfa")
    policy, settings, _ = KINDS[kind]
    exact = kind(policy, gym.make(GRAB), policy_kwargs={**HIDDEN, "rule": "bp"}, **settings)
    own, other = model.policy.critic, exact.policy.critic
    other.load_state_dict({k: v for k, v in own.state_dict().items() if "feedback" not in k})
    observation = torch.randn(8, 19)
    found = []
    for critic in (own, other):
        action = torch.zeros(8, 4, requires_grad=True)
        (slope,) = torch.autograd.grad(critic.q1_forward(observation, action).sum(), action)
        found.append(slope.numpy())
    np.testing.assert_array_equal(*found)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'dfa'.*got 'magic'"):
        PPO(RuledActorCriticPolicy, gym.make(GRAB), policy_kwargs={"rule": "magic"})
    with pytest.raises(ValueError, match="use_sde: expected False"):
        PPO(RuledActorCriticPolicy, gym.make(GRAB), use_sde=True)


def differences(policy: Any) -> dict[str, torch.Tensor]:
    return {
        name: layer.feedback_matrix() - layer.weight.detach()
        for name, layer in policy.named_modules()
        if isinstance(layer, RuledLayer) and "feedback" in dict(layer.named_buffers()) and "target" not in name
    }


@pytest.mark.parametrize("kind", [PPO, SAC, TD3])
def test_feedback_that_follows_the_weights_does_so_inside_their_algorithms(kind: Any) -> None:
    policy, settings, _ = KINDS[kind]
    fresh = kind(policy, gym.make(GRAB), seed=4, policy_kwargs={**HIDDEN, "rule": "kp"}, **settings).policy
    learned = taught(kind, policy, rule="kp").policy
    before, after = differences(fresh), differences(learned)
    assert len(before) >= 4
    for name, difference in before.items():
        weights = (one.get_submodule(name).weight for one in (fresh, learned))
        assert not torch.equal(*weights), name
        # The difference decays by one factor with every step.
        share = float((after[name] * difference).sum() / difference.square().sum())
        assert 0.5 < share < 1.0
        torch.testing.assert_close(after[name], share * difference, rtol=1e-3, atol=1e-4)
