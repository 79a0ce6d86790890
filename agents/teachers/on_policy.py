"""PPO, and PPO with memory, taught by reward."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO

from agents.checkpoint import FLAG, Setting
from agents.teachers.actor_inside import chain_of
from agents.teachers.falling_rate import FallingRate
from agents.teachers.recurrent_policy import SequencePolicy
from agents.teachers.reward import GRIP_LOG_SD, RESTING_COMMAND, RewardLearner
from agents.teachers.ruled_policies import RuledActorCriticPolicy

# Exploration of the joints at the start.
JOINT_LOG_SD = -2.0
LSTM_CELLS = 64
SETTINGS = {
    "learning_rate": Setting(0.0),
    # A rollout is allocated with the learner: about 1 kB a step and environment of one with memory.
    "n_steps": Setting(2, 2**16, whole=True),
    "batch_size": Setting(2, 2**20, whole=True),
    "n_epochs": Setting(1, 2**20, whole=True),
    "gamma": Setting(0.0, 1.0),
    "gae_lambda": Setting(0.0, 1.0),
    "clip_range": Setting(0.0),
    "clip_range_vf": Setting(0.0, also=(None,)),
    "normalize_advantage": FLAG,
    "ent_coef": Setting(0.0),
    "vf_coef": Setting(0.0),
    "max_grad_norm": Setting(0.0),
    "target_kl": Setting(0.0, also=(None,)),
    "stats_window_size": Setting(1, 2**20, whole=True),
}
CELLS_AFTER_LSTM = (64,)


class _OnPolicy(FallingRate, RewardLearner):
    """What PPO with and without memory share."""

    PARALLEL_ENVS = 16
    SETTINGS = SETTINGS
    DEFAULTS = {  # noqa: RUF012
        "n_steps": 64, "batch_size": 256, "n_epochs": 6, "learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.95,
    }  # fmt: skip

    def _start_at_rest(self) -> None:
        model: Any = self
        model.policy.action_net.bias.copy_(torch.tensor(RESTING_COMMAND))
        model.policy.log_std[:3] = JOINT_LOG_SD
        model.policy.log_std[3] = GRIP_LOG_SD

    def _actors(self) -> list[list[Any]]:
        model: Any = self
        return [chain_of(model.policy.mlp_extractor.policy_net, model.policy.action_net)]

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Learn and act in another environment; it may hold another number of copies than the one before."""
        model: Any = self
        wrapped = model._wrap_env(env, model.verbose)
        if wrapped.num_envs != model.n_envs:
            model.n_envs = wrapped.num_envs
            model.rollout_buffer = type(model.rollout_buffer)(
                model.n_steps,
                model.observation_space,
                model.action_space,
                device=model.device,
                gamma=model.gamma,
                gae_lambda=model.gae_lambda,
                n_envs=model.n_envs,
                **self._remembered(),
            )
        made: Any = super()
        made.set_env(wrapped, force_reset)

    def _remembered(self) -> dict[str, Any]:
        """What a rollout buffer is told of the network's memory."""
        return {}


class RewardPPO(_OnPolicy, PPO):  # type: ignore[misc]
    """PPO (Schulman et al. 2017) as Stable-Baselines3 has it, set for the cup."""

    KIND = "mlp"
    STEPS = 1_000_000
    POLICY = RuledActorCriticPolicy
    # With a little reward for exploring, most seeds have the cup sooner.
    DEFAULTS = {**_OnPolicy.DEFAULTS, "ent_coef": 0.003}  # noqa: RUF012


class RewardLSTM(_OnPolicy, RecurrentPPO):  # type: ignore[misc]
    """PPO whose actor and critic have a layer of LSTM cells each: sb3-contrib's RecurrentPPO, set for the cup.

    It learns by back-propagation through time alone: the rules of `agents.rules.feedback` are for layers without
    recurrence, and the LSTM is one kernel of torch's, within which no error can be exchanged. What share of its memory
    it keeps is read by `agents.teachers.recurrent_policy.forget_gate`.
    """

    KIND = "lstm"
    STEPS = 300_000
    RULES = ("bp",)
    POLICY = SequencePolicy
    HEARD = "cells"

    def _of_policy(self, rule: str) -> dict[str, Any]:
        return {"net_arch": list(CELLS_AFTER_LSTM), "lstm_hidden_size": LSTM_CELLS}

    def _remembered(self) -> dict[str, Any]:
        return {"hidden_state_shape": (self.n_steps, 1, self.n_envs, LSTM_CELLS)}

    def _end_stretch(self) -> None:
        nothing = torch.zeros(1, self.n_envs, LSTM_CELLS, device=self.device)
        self._remember([nothing] * 4)

    def _remember(self, states: list[torch.Tensor]) -> None:
        """Set the hidden and memory states of the actor's cells and of the critic's."""
        model: Any = self
        model._last_lstm_states = RNNStates((states[0], states[1]), (states[2], states[3]))

    def _under_way(self) -> dict[str, Any]:
        model: Any = self
        states = [state for pair in model._last_lstm_states for state in pair]
        return {**super()._under_way(), "memory": torch.stack(states).numpy(force=True)}

    def _continue(self, kept: dict[str, Any]) -> None:
        super()._continue(kept)
        self._remember(list(torch.from_numpy(kept["memory"]).to(self.device)))
