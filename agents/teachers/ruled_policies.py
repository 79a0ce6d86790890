"""Stable-Baselines3's policies with the rule as one more keyword: `policy_kwargs={"rule": "dfa"}`.

PPO, SAC and TD3 stay as they are; only the layers inside their networks take their errors by the rule. An actor hears
the error of its mean and, in SAC, of its spread; a critic the error of its value; layers that both share hear both.

SAC and TD3 improve their actor along dQ/da, a gradient by the critic's *input*. Feedback alignment says nothing of
that gradient, and a random one teaches nothing; so it is exact under every rule, while the critic's own weights learn
by the rule: a hybrid. PPO has no such step.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.rules.alignment import alignment_degrees
from agents.rules.feedback import feedback_rule
from agents.rules.wiring import RuledNetwork, assign_rule

# Sets the stream of the feedback apart from every other that is seeded with the same number.
FEEDBACK_STREAM = 0x0FEEDBAC
ACTOR, CRITIC = range(2)


def features_chain(extractor: nn.Module) -> list[nn.Module]:
    """The modules of a features extractor in the order in which they act; none where nothing in it learns.

    An extractor with layers of its own says so itself, by an attribute `chain`.

    Raises:
        ValueError: an extractor that learns and has no such attribute.
    """
    chain = getattr(extractor, "chain", None)
    if chain is not None:
        return list(chain)
    if isinstance(extractor, NatureCNN):
        return [extractor.cnn, extractor.linear]
    if any(True for _ in extractor.parameters()):
        raise ValueError(
            f"features extractor {type(extractor).__name__} has layers; NatureCNN, one without layers, or one whose "
            "attribute `chain` lists its modules in order is allowed"
        )
    return []


def _under_rule(
    root: nn.Module, rule: str, space: spaces.Space[Any], stream: int, **chains: list[nn.Module]
) -> list[RuledNetwork]:
    """Put chains under a rule; feedback follows from the seed of torch, of which nothing is taken."""
    seed = np.random.SeedSequence([torch.initial_seed() % 2**63, FEEDBACK_STREAM, stream]).generate_state(1)[0]
    is_image = isinstance(space, spaces.Box) and len(space.shape) == 3
    return assign_rule(
        root,
        rule,
        chains,
        generator=torch.Generator().manual_seed(int(seed)),
        example=torch.zeros(1, *(space.shape or ()), device="cpu") if is_image else None,
        updates_feedback=True,
    )


def alignment_by_layer(policy: nn.Module) -> dict[str, float]:
    """Angles, degrees, between the steps of the rule and the gradient at the latest minibatch, by name of layer."""
    found: dict[str, float] = {}
    for prefix, part in (
        ("", policy),
        ("actor.", getattr(policy, "actor", None)),
        ("critic.", getattr(policy, "critic", None)),
    ):
        angles = alignment_degrees(getattr(part, "rule_networks", ()))
        found |= {f"{prefix}{name}": angle for name, angle in angles.items()}
    return found


class _Ruled:
    """What the three policies share: the keyword `rule`."""

    def __init__(self, *args: Any, rule: str = "bp", **kwargs: Any) -> None:
        """As Stable-Baselines3's policy, with the name of a rule.

        Raises:
            ValueError: an unknown rule, or `use_sde` or a features extractor to which none applies.
        """
        if kwargs.get("use_sde"):
            raise ValueError("use_sde is True; False is allowed: its noise is no layer that a rule could cover")
        self.rule = feedback_rule(rule).name
        super().__init__(*args, **kwargs)
        for part in (self, getattr(self, "actor", None), getattr(self, "critic", None)):
            for network in getattr(part, "rule_networks", ()):
                network.follow(cast(Any, part).optimizer)

    def set_training_mode(self, mode: bool) -> None:
        """As Stable-Baselines3's, which goes through all layers before every action, where it is another mode."""
        policy: Any = self
        if policy.training != mode:
            super().set_training_mode(mode)  # type: ignore[misc]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        given: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        return {**given, "rule": self.rule}


class RuledActorCriticPolicy(_Ruled, ActorCriticPolicy):
    """The policy of PPO and A2C under a rule; heads "action" and "value"."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        before = [features_chain(one) for one in (self.pi_features_extractor, self.vf_features_extractor)]
        self.rule_networks = _under_rule(
            self,
            self.rule,
            self.observation_space,
            ACTOR,
            action=[*before[0], self.mlp_extractor.policy_net, self.action_net],
            value=[*before[1], self.mlp_extractor.value_net, self.value_net],
        )


class RuledCritic(ContinuousCritic):
    """The critic of SAC and TD3 under a rule; heads "q0", "q1". dQ/da is exact."""

    rule_networks: list[RuledNetwork]

    def forward(self, obs: Any, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Values (n, 1) of each critic."""
        with self._exactly(actions.requires_grad):
            values: tuple[torch.Tensor, ...] = super().forward(obs, actions)
        return values

    def q1_forward(self, obs: Any, actions: torch.Tensor) -> torch.Tensor:
        """Values (n, 1) of the first critic."""
        with self._exactly(actions.requires_grad):
            value: torch.Tensor = super().q1_forward(obs, actions)
        return value

    def _exactly(self, exact: bool) -> ExitStack:
        with ExitStack() as stack:
            for network in self.rule_networks:
                stack.enter_context(network.errors_travel_exactly(exact))
            return stack.pop_all()


def _made_critic(policy: Any, arguments: dict[str, Any]) -> RuledCritic:
    critic = RuledCritic(**arguments).to(policy.device)
    before = [] if policy.share_features_extractor else features_chain(critic.features_extractor)
    chains = {f"q{k}": [*before, network] for k, network in enumerate(critic.q_networks)}
    critic.rule_networks = _under_rule(critic, policy.rule, critic.observation_space, CRITIC, **chains)
    return critic


def _refuse_sharing(rule: str, extractor: nn.Module, shared: bool) -> None:
    if shared and rule != "bp" and features_chain(extractor):
        raise ValueError("share_features_extractor is True; False is allowed under a rule other than 'bp'")


class RuledSACPolicy(_Ruled, SACPolicy):
    """The policy of SAC under a rule; its actor has the heads "mean" and "log_std"."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SACActor:
        """The actor."""
        actor: Any = super().make_actor(features_extractor)
        before = features_chain(actor.features_extractor)
        _refuse_sharing(self.rule, actor.features_extractor, self.share_features_extractor)
        actor.rule_networks = _under_rule(
            actor,
            self.rule,
            self.observation_space,
            ACTOR,
            mean=[*before, actor.latent_pi, actor.mu],
            log_std=[*before, actor.latent_pi, actor.log_std],
        )
        return cast(SACActor, actor)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> RuledCritic:
        """The critics."""
        return _made_critic(self, self._update_features_extractor(self.critic_kwargs, features_extractor))


class RuledTD3Policy(_Ruled, TD3Policy):
    """The policy of TD3 and DDPG under a rule; its actor has the head "action"."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> TD3Actor:
        """The actor."""
        actor: Any = super().make_actor(features_extractor)
        before = features_chain(actor.features_extractor)
        _refuse_sharing(self.rule, actor.features_extractor, self.share_features_extractor)
        actor.rule_networks = _under_rule(actor, self.rule, self.observation_space, ACTOR, action=[*before, actor.mu])
        return cast(TD3Actor, actor)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> RuledCritic:
        """The critics."""
        return _made_critic(self, self._update_features_extractor(self.critic_kwargs, features_extractor))
