"""sb3-contrib's recurrent policy: its sequences computed at once, and what it keeps in memory read out.

Its LSTM is one kernel of torch's, which shows no gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.nn import functional


class SequencePolicy(RecurrentActorCriticPolicy):
    """The policy of `RecurrentPPO`, two to three times as fast to train.

    Its rollout buffer cuts sequences where trials begin, and its own policy then goes through each of them step by
    step; a sequence within which no trial begins needs no more than to forget what was before it.
    """

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: nn.LSTM,
    ) -> Any:
        """What the cells give, (steps of all sequences, cells), and their hidden and memory states after them."""
        sequences = lstm_states[0].shape[1]
        starts = episode_starts.reshape(sequences, -1)
        if bool(torch.any(starts[:, 1:])):
            return RecurrentActorCriticPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        kept = (1.0 - starts[:, 0]).reshape(1, sequences, 1)
        steps = features.reshape(sequences, -1, lstm.input_size).swapaxes(0, 1)
        outputs, after = lstm(steps, (kept * lstm_states[0], kept * lstm_states[1]))
        return torch.flatten(outputs.transpose(0, 1), start_dim=0, end_dim=1), after


def forget_gate(
    policy: RecurrentActorCriticPolicy,
    observation: NDArray[Any],
    state: tuple[NDArray[Any], ...] | None = None,
    episode_start: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The share of its memory that each cell of the actor keeps, in the step that `predict` would make.

    Args:
        policy: of `RecurrentPPO`, with one layer of LSTM cells.
        observation: of one environment, or of n.
        state: what `predict` gave in the step before; None where nothing is remembered.
        episode_start: (n,) where a trial has just begun.

    Returns:
        (cells,) or (n, cells), 0..1: 1 keeps the memory, 0 loses it.

    Raises:
        ValueError: more than one layer of cells.
    """
    lstm: Any = policy.lstm_actor
    if lstm.num_layers != 1:
        raise ValueError(f"the actor has {lstm.num_layers} layers of LSTM cells; 1 is allowed")
    with torch.no_grad():
        rows, several = policy.obs_to_tensor(observation)
        # Of the actor alone, whether it shares its extractor with the critic or not.
        features = BasePolicy.extract_features(policy, rows, policy.pi_features_extractor)
        hidden = torch.zeros(len(features), lstm.hidden_size, dtype=features.dtype, device=features.device)
        if state is not None:
            hidden += torch.as_tensor(state[0][0]).to(hidden)
        if episode_start is not None:
            hidden *= torch.as_tensor(~np.asarray(episode_start, dtype=bool)).to(hidden)[:, None]
        drive = functional.linear(features, lstm.weight_ih_l0, lstm.bias_ih_l0)
        drive += functional.linear(hidden, lstm.weight_hh_l0, lstm.bias_hh_l0)
        # Torch keeps the gates one after the other: input, forget, candidate, output.
        gate: NDArray[np.float32] = torch.sigmoid(drive.chunk(4, dim=1)[1]).numpy(force=True)
    return gate if several else gate[0]
