"""PPO and recurrent PPO with a learning rule in their networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.nn import functional

from agents.reward.learner import FallingRate, RewardLearner
from agents.reward.policies import RuledActorCriticPolicy
from agents.rules.assign import chain_of
from agents.settings import FLAG, Setting


class SequencePolicy(RecurrentActorCriticPolicy):
    """The policy of `RecurrentPPO` with two to three times faster training.

    sb3-contrib calls the LSTM for every step of a sequence. Here one call computes a sequence in which no trial begins
    after the first step; the initial state is cleared if a trial begins at the first step.
    """

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: nn.LSTM,
    ) -> Any:
        """Return the outputs (steps of all sequences, cells) and the final hidden and cell states."""
        sequences = lstm_states[0].shape[1]
        starts = episode_starts.reshape(sequences, -1)
        if bool(torch.any(starts[:, 1:])):
            return RecurrentActorCriticPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        continues = (1.0 - starts[:, 0]).reshape(1, sequences, 1)
        steps = features.reshape(sequences, -1, lstm.input_size).swapaxes(0, 1)
        outputs, after = lstm(steps, (continues * lstm_states[0], continues * lstm_states[1]))
        return torch.flatten(outputs.transpose(0, 1), start_dim=0, end_dim=1), after


def forget_gate(
    policy: RecurrentActorCriticPolicy,
    observation: NDArray[Any],
    state: tuple[NDArray[Any], ...] | None = None,
    episode_start: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return the forget gate of each LSTM cell of the actor in the step that `predict` would make.

    The gate is computed from the weights, because torch's LSTM does not return its gates.

    Args:
        policy: policy of `RecurrentPPO` with one layer of LSTM cells.
        observation: observation of one environment, or a batch of n.
        state: state that `predict` returned in the previous step; None for a cleared memory.
        episode_start: (n,), whether a trial has just begun.

    Returns:
        (cells,) or (n, cells), from 0 (forget) to 1 (keep).

    Raises:
        ValueError: more than one layer of LSTM cells.
    """
    lstm: Any = policy.lstm_actor
    if lstm.num_layers != 1:
        raise ValueError(f"policy: expected 1 layer of LSTM cells, got {lstm.num_layers}")
    with torch.no_grad():
        rows, several = policy.obs_to_tensor(observation)
        # `pi_features_extractor` is the actor's, shared with the critic or not.
        features = BasePolicy.extract_features(policy, rows, policy.pi_features_extractor)
        hidden = torch.zeros(len(features), lstm.hidden_size, dtype=features.dtype, device=features.device)
        if state is not None:
            hidden += torch.as_tensor(state[0][0]).to(hidden)
        if episode_start is not None:
            hidden *= torch.as_tensor(~np.asarray(episode_start, dtype=bool)).to(hidden)[:, None]
        drive = functional.linear(features, lstm.weight_ih_l0, lstm.bias_ih_l0)
        drive += functional.linear(hidden, lstm.weight_hh_l0, lstm.bias_hh_l0)
        # Torch stacks the gates in this order: input, forget, candidate, output.
        gate: NDArray[np.float32] = torch.sigmoid(drive.chunk(4, dim=1)[1]).numpy(force=True)
    return gate if several else gate[0]


LSTM_CELLS = 64
SETTINGS = {
    "learning_rate": Setting(0.0),
    # Bounded, since the rollout buffer is allocated with the learner: about 1 kB per step and environment for an LSTM.
    "n_steps": Setting(2, 2**16, is_integer=True),
    "batch_size": Setting(2, 2**20, is_integer=True),
    "n_epochs": Setting(1, 2**20, is_integer=True),
    "gamma": Setting(0.0, 1.0),
    "gae_lambda": Setting(0.0, 1.0),
    "clip_range": Setting(0.0),
    "clip_range_vf": Setting(0.0, allowed=(None,)),
    "normalize_advantage": FLAG,
    "ent_coef": Setting(0.0),
    "vf_coef": Setting(0.0),
    "max_grad_norm": Setting(0.0),
    "target_kl": Setting(0.0, allowed=(None,)),
    "stats_window_size": Setting(1, 2**20, is_integer=True),
}
CELLS_AFTER_LSTM = (64,)


class _OnPolicy(FallingRate, RewardLearner):
    """Base class of PPO and recurrent PPO."""

    PARALLEL_ENVS = 16
    SETTINGS = SETTINGS
    DEFAULTS = {  # noqa: RUF012
        "n_steps": 64, "batch_size": 256, "n_epochs": 6, "learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.95,
    }  # fmt: skip

    def _actors(self) -> list[list[Any]]:
        return [chain_of([self.policy.mlp_extractor.policy_net, self.policy.action_net])]

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Set another environment or VecEnv, possibly with another number of environments."""
        wrapped = self._wrap_env(env, self.verbose)
        if wrapped.num_envs != self.n_envs:
            self.n_envs = wrapped.num_envs
            vars(self.rollout_buffer).update(n_envs=self.n_envs, **self._memory_of_buffer())
            self.rollout_buffer.reset()
        super().set_env(wrapped, force_reset)

    def _memory_of_buffer(self) -> dict[str, Any]:
        """Return the arguments of the rollout buffer that describe the network's recurrent state."""
        return {}


class RewardPPO(_OnPolicy, PPO):  # type: ignore[misc]
    """Stable-Baselines3's PPO (Schulman et al. 2017) with settings for this task."""

    POLICY = RuledActorCriticPolicy
    PARALLEL_ENVS = 128
    DEFAULTS = {"n_steps": 32, "batch_size": 1024, "n_epochs": 10, "learning_rate": 1e-3}  # noqa: RUF012


class RewardLSTM(_OnPolicy, RecurrentPPO):  # type: ignore[misc]
    """sb3-contrib's RecurrentPPO, whose actor and critic have a layer of LSTM cells each, with settings for this task.

    The only rule is back-propagation through time: the feedback rules cover layers without recurrence, and torch's LSTM
    is one operation, inside which the error signal cannot be replaced. `forget_gate` computes its forget gates.
    """

    POLICY = SequencePolicy
    INPUT_NAME = "cells"

    def _policy_arguments(self, rule: str) -> dict[str, Any]:
        return {"net_arch": list(CELLS_AFTER_LSTM), "lstm_hidden_size": LSTM_CELLS}

    def _memory_of_buffer(self) -> dict[str, Any]:
        return {"hidden_state_shape": (self.n_steps, 1, self.n_envs, LSTM_CELLS)}

    def _discard_unfinished_trials(self) -> None:
        cleared = torch.zeros(1, self.n_envs, LSTM_CELLS, device=self.device)
        self._set_memory([cleared] * 4)

    def _set_memory(self, states: list[torch.Tensor]) -> None:
        """Set the hidden and cell states of the actor and of the critic."""
        self._last_lstm_states = RNNStates((states[0], states[1]), (states[2], states[3]))

    def _under_way(self) -> dict[str, Any]:
        states = [state for pair in self._last_lstm_states for state in pair]
        return {**super()._under_way(), "memory": torch.stack(states).numpy(force=True)}

    def _continue(self, saved: dict[str, Any]) -> None:
        super()._continue(saved)
        self._set_memory(list(torch.from_numpy(saved["memory"]).to(self.device)))
