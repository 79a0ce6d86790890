"""Stable-Baselines3's policies with a learning rule in their networks: `policy_kwargs={"rule": "dfa"}`.

PPO, SAC and TD3 are unchanged, but the layers of their networks receive error signals computed by the rule. An actor's
error is the error of its mean and, in SAC, of its log SD. A critic's error is the error of its value. Shared layers
receive both.

SAC and TD3 improve their actor along dQ/da, the gradient with respect to the *input* of the critic. Feedback alignment
does not define this gradient, and a random one would not improve the actor. Therefore dQ/da is exact under every rule,
while the weights of the critic learn by the rule. PPO has no such step.

`ActorInside` reads the activities of an actor's layers and the modulators of its last update, for the display.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.tqc.policies import MultiInputPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.rules.assign import assign_rule
from agents.rules.layers import RuledNetwork
from agents.rules.registry import rule_from_reward
from reach.snapshot import ErrorPath, Layer, LayerSignal, Route, Snapshot

if TYPE_CHECKING:
    # Base of classes that are mixed into classes of Stable-Baselines3, from which further attributes come.
    MixedIn = Any
else:
    MixedIn = object

COMMANDS = "commands"


class ActorInside:
    """Record the activities of an actor's layers in its latest step.

    It uses forward hooks and the gradients stored by the last update, and does not change results.
    """

    def __init__(self, actors: Sequence[Sequence[nn.Module]], way: Route, input_name: str = "senses") -> None:
        """Register the hooks.

        Args:
            actors: linear and activation modules in forward order, of one actor or of several with the same layers.
                The first actor learns.
            way: route of the error to the layers.
            input_name: display name of the input of the first layer.
        """
        named = actor_layers(actors[0])
        self._layers = list(named.values())
        self._way = way
        self._names = [input_name, *named]
        self._activities: list[NDArray[np.float64]] = []
        for actor in actors:
            for place, module in enumerate(actor):
                first = place == 0
                module.register_forward_hook(
                    lambda module, inputs, output, first=first: self._record(module, inputs[0], output, first)
                )

    def _record(self, module: nn.Module, inputs: torch.Tensor, output: torch.Tensor, first: bool) -> None:
        if torch.is_grad_enabled():
            return  # a training batch
        if first:
            self._activities = [_row(inputs)]
        if isinstance(module, nn.Linear):
            self._activities.append(_row(output))
        else:
            self._activities[-1] = _row(output)

    def snapshot(self, updates: int) -> Snapshot:
        """Return the activities of the latest step and the modulators of update number `updates`."""
        layers = tuple(Layer(name, activity) for name, activity in zip(self._names, self._activities, strict=False))
        gradients = [layer.bias.grad for layer in self._layers]
        if gradients[-1] is None or updates == 0:
            return Snapshot(layers=layers)
        # A modulator is the negative gradient of the loss.
        signals = [
            LayerSignal(name, np.zeros(len(layer.weight)) if grad is None else -_row(grad[None]))
            for name, layer, grad in zip(self._names[1:], self._layers, gradients, strict=True)
        ]
        return Snapshot(
            layers=layers,
            error_path=ErrorPath(self._way, signals[-1].modulator, tuple(signals), updates, label="policy gradient"),
        )


def _row(values: torch.Tensor) -> NDArray[np.float64]:
    """Return the first row of a batch."""
    row: NDArray[np.float64] = values.detach()[0].numpy(force=True).astype(np.float64)
    return row


def actor_layers(actor: Sequence[nn.Module]) -> dict[str, nn.Linear]:
    """Return the linear layers of an actor by display name: "hidden 1", "hidden 2" ... and "commands"."""
    layers = [module for module in actor if isinstance(module, nn.Linear)]
    names = [*(f"hidden {k + 1}" for k in range(len(layers) - 1)), COMMANDS]
    return dict(zip(names, layers, strict=True))


# Separates the random stream of the feedback weights from other streams with the same seed.
FEEDBACK_STREAM = 0x0FEEDBAC
ACTOR, CRITIC = range(2)


def features_chain(extractor: nn.Module) -> list[nn.Module]:
    """Return the modules of a features extractor in forward order; empty if it has no parameters.

    A custom extractor with layers must list its modules in an attribute `chain`.

    Raises:
        ValueError: the extractor has parameters but no `chain`.
    """
    chain = getattr(extractor, "chain", None)
    if chain is not None:
        return list(chain)
    if isinstance(extractor, NatureCNN):
        return [extractor.cnn, extractor.linear]
    if any(True for _ in extractor.parameters()):
        raise ValueError(
            "features extractor: expected NatureCNN, one without layers, or one whose attribute `chain` lists its "
            f"modules in forward order, got {type(extractor).__name__}"
        )
    return []


def _apply_rule(root: nn.Module, policy: Any, stream: int, chains: dict[str, list[nn.Module]]) -> list[RuledNetwork]:
    """Apply the rule of a policy to chains of modules, by head.

    Feedback weights come from a generator of their own, seeded with torch's initial seed, so torch's generator does not
    advance.
    """
    seed = np.random.SeedSequence([torch.initial_seed() % 2**63, FEEDBACK_STREAM, stream]).generate_state(1)[0]
    space = policy.observation_space
    is_image = isinstance(space, spaces.Box) and len(space.shape) == 3
    return assign_rule(
        root,
        policy.rule,
        chains,
        generator=torch.Generator().manual_seed(int(seed)),
        example=torch.zeros(1, *space.shape, device="cpu") if is_image else None,
        updates_feedback=True,
    )


class _Ruled(MixedIn):  # type: ignore[misc]
    """Add the keyword `rule` to a policy."""

    def __init__(self, *args: Any, rule: str = "bp", **kwargs: Any) -> None:
        """Make the policy; all other arguments are those of Stable-Baselines3.

        Raises:
            ValueError: the rule is unknown, `use_sde` is True, or the layers of the features extractor are unknown.
        """
        if kwargs.get("use_sde"):
            raise ValueError("use_sde: expected False, got True: no rule applies to its noise")
        self.rule = rule_from_reward(rule, "layers").name
        super().__init__(*args, **kwargs)
        for part in (self, getattr(self, "actor", None), getattr(self, "critic", None)):
            for network in getattr(part, "rule_networks", ()):
                network.follow(cast(Any, part).optimizer)

    def set_training_mode(self, mode: bool) -> None:
        """Set the mode if it changes, for speed: Stable-Baselines3 sets it in every layer before every action."""
        if self.training != mode:
            super().set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        given: dict[str, Any] = super()._get_constructor_parameters()
        return {**given, "rule": self.rule}


class RuledActorCriticPolicy(_Ruled, ActorCriticPolicy):
    """The policy of PPO and A2C with a rule; its heads are "action" and "value"."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        actor, critic = map(features_chain, (self.pi_features_extractor, self.vf_features_extractor))
        chains = {
            "action": [*actor, self.mlp_extractor.policy_net, self.action_net],
            "value": [*critic, self.mlp_extractor.value_net, self.value_net],
        }
        self.rule_networks = _apply_rule(self, self, ACTOR, chains)


class RuledCritic(ContinuousCritic):
    """The critic of SAC and TD3 with a rule; its heads are "q0" and "q1". dQ/da is exact."""

    rule_networks: list[RuledNetwork]

    def forward(self, obs: Any, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the values (n, 1) of each critic."""
        with self._exact_input_gradient(actions.requires_grad):
            values: tuple[torch.Tensor, ...] = super().forward(obs, actions)
        return values

    def q1_forward(self, obs: Any, actions: torch.Tensor) -> torch.Tensor:
        """Return the values (n, 1) of the first critic."""
        with self._exact_input_gradient(actions.requires_grad):
            value: torch.Tensor = super().q1_forward(obs, actions)
        return value

    def _exact_input_gradient(self, exact: bool) -> ExitStack:
        stack = ExitStack()
        for network in self.rule_networks:
            stack.enter_context(network.exact_errors(exact))
        return stack


class _RuledOffPolicy(_Ruled):
    """Apply the rule to the actor and the critics of SAC or TD3.

    Attributes:
        HEADS: the modules of the actor in forward order, by head.
    """

    HEADS: ClassVar[dict[str, tuple[str, ...]]]

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """Make the actor with its rule."""
        actor = super().make_actor(features_extractor)
        first_layers = features_chain(actor.features_extractor)
        if self.share_features_extractor and self.rule != "bp" and first_layers:
            raise ValueError("share_features_extractor: expected False for rules other than 'bp', got True")
        chains = {
            head: [*first_layers, *(getattr(actor, name) for name in names)] for head, names in self.HEADS.items()
        }
        actor.rule_networks = _apply_rule(actor, self, ACTOR, chains)
        return actor

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> RuledCritic:
        """Make the critics with their rule."""
        critic = RuledCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor))
        critic = critic.to(self.device)
        first_layers = [] if self.share_features_extractor else features_chain(critic.features_extractor)
        chains = {f"q{k}": [*first_layers, network] for k, network in enumerate(critic.q_networks)}
        critic.rule_networks = _apply_rule(critic, self, CRITIC, chains)
        return critic


class RuledSACPolicy(_RuledOffPolicy, SACPolicy):
    """The policy of SAC with a rule; the heads of its actor are "mean" and "log_std"."""

    HEADS: ClassVar = {"mean": ("latent_pi", "mu"), "log_std": ("latent_pi", "log_std")}


class RuledTD3Policy(_RuledOffPolicy, TD3Policy):
    """The policy of TD3 and DDPG with a rule; the head of its actor is "action"."""

    HEADS: ClassVar = {"action": ("mu",)}


# Weight of the latest parameters in the moving average, per update.
LATEST_SHARE = 0.002


class AveragedTQCPolicy(MultiInputPolicy):
    """TQC's policy for dictionary observations; its deterministic actions use an average of the actor's weights.

    An actor that learns from its critic fluctuates around the optimum. The average of its weights is closer to the
    optimum (Polyak and Juditsky 1992).

    Attributes:
        averaged_actor: the actor with the averaged weights, stored with the policy.
    """

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.averaged_actor = self.make_actor()
        self.averaged_actor.requires_grad_(False)
        self.begin_average()

    def begin_average(self) -> None:
        """Reset the average to the present weights."""
        self.averaged_actor.load_state_dict(self.actor.state_dict())

    @torch.no_grad()
    def average(self, updates: int) -> None:
        """Update the average after `updates` updates of the actor."""
        share = 1.0 - (1.0 - LATEST_SHARE) ** updates
        for average, latest in zip(self.averaged_actor.parameters(), self.actor.parameters(), strict=True):
            average.lerp_(latest, share)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        actor = self.averaged_actor if deterministic else self.actor
        commands: torch.Tensor = actor(observation, deterministic)
        return commands


# Mean and spread of observations in reaches; columns as in the environment's observation table. They are constants, so
# that a checkpoint needs no running statistics.
CENTRE = (0.10, 0.45, 1.0, 0.13, 0.55, 0.4, 1.9, -0.4, 0, 0, 0, 0.08, 0, 0, 0, -0.45, 0.5, -0.4, 0.5)
SPREAD = (0.10, 0.10, 1.0, 0.07, 0.03, 0.3, 0.3, 0.3, 1, 1, 2, 0.02, 1, 1, 1, 0.2, 0.3, 0.3, 0.5)
# Mean and spread of a lamp, which is 0 or 1.
LAMP_CENTRE = 0.5
SEEN_CUP = slice(3, 5)
# Columns of the position in a goal; the other columns are the same in every goal.
PLACE = slice(0, 2)
# Scale of the distance to the goal: a few times the radius within which the goal is reached.
WAY_SPREAD_M = 0.05


class ScaledObservation(BaseFeaturesExtractor):
    """Standardise the observation by fixed constants."""

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        """Make the extractor for observations (19 + lamps,)."""
        size = observation_space.shape[0]
        super().__init__(observation_space, features_dim=size)
        lamps = (LAMP_CENTRE,) * (size - len(CENTRE))
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("centre", torch.tensor(CENTRE + lamps))
        self.register_buffer("spread", torch.tensor(SPREAD + lamps))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the standardised batch (n, 19 + lamps)."""
        return (observation - self.centre) / self.spread


class ScaledGoal(BaseFeaturesExtractor):
    """Standardise the observation, replace the seen cup by the goal, and append the vector from hand to goal.

    A goal chosen in hindsight is not at the cup. A policy that saw both would learn about trials in which goal and cup
    differ, but such trials never occur.
    """

    def __init__(self, observation_space: gym.spaces.Dict) -> None:
        """Make the extractor for the dictionary of `observation="goal"`."""
        scaled = ScaledObservation(cast(gym.spaces.Box, observation_space["observation"]))
        super().__init__(observation_space, features_dim=scaled.features_dim + 2)
        self.scaled = scaled

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the features (n, 21 + lamps) of a batch."""
        goal, hand = (observations[name][:, PLACE] for name in ("desired_goal", "achieved_goal"))
        observation = observations["observation"].clone()
        observation[:, SEEN_CUP] = goal
        return torch.cat([self.scaled(observation), (goal - hand) / WAY_SPREAD_M], dim=1)
