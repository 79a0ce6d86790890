"""Reading the memory of sb3-contrib's recurrent policies, whose LSTM is one kernel of torch's that shows no gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy
from torch.nn import functional


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
