"""PPO with memory: what it keeps can be read out, and ends with the trial."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from agents.learner import make_learner
from agents.networks.lstm import LSTMCells
from agents.reward.on_policy import LSTM_CELLS, RewardLSTM, SequencePolicy, forget_gate

GRAB = "reach/CupGrab-v1"


@pytest.fixture(scope="module")
def model() -> Any:
    made = make_learner("reward-lstm-bp", gym.make(GRAB), seed=3)
    made.learn(16 * 64)
    return made


def observations(steps: int) -> np.ndarray:
    env = gym.make(GRAB)
    observation, _ = env.reset(seed=1)
    found = [observation]
    rng = np.random.default_rng(2)
    for _ in range(steps - 1):
        found.append(env.step(rng.uniform(-0.1, 0.1, 4).astype(np.float32))[0])
    return np.array(found)


def own_cells(model: RewardLSTM) -> LSTMCells:
    """The actor's cells, computed apart from torch."""
    lstm = model.policy.lstm_actor
    cells = LSTMCells(lstm.input_size, lstm.hidden_size, np.random.default_rng(0))
    cells.weight_ih[...] = lstm.weight_ih_l0.detach().numpy()
    cells.weight_hh[...] = lstm.weight_hh_l0.detach().numpy()
    cells.bias[:] = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().numpy()
    return cells


def test_the_forget_gate_is_that_of_the_cells_in_every_step_of_a_reach(model: Any) -> None:
    cells = own_cells(model)
    own = cells.begin()
    state = None
    for k, observation in enumerate(observations(12)):
        start = np.array([k == 0])
        gate = forget_gate(model.policy, observation, state, start)
        _, state = model.predict(observation, state, start, deterministic=True)
        with torch.no_grad():
            features = model.policy.pi_features_extractor(torch.as_tensor(observation)[None])[0]
        cells.advance(own, features.double().numpy())
        assert gate.shape == (LSTM_CELLS,)
        np.testing.assert_allclose(gate, own.forget_gate, rtol=0.0, atol=1e-5)
        np.testing.assert_allclose(state[1][0, 0], own.memory, rtol=0.0, atol=1e-5)


def test_forget_gates_of_several_environments_are_read_at_once_and_begin_anew_with_a_trial(model: Any) -> None:
    rows = observations(6)
    _, state = model.predict(rows, None, np.ones(6, dtype=bool))
    start = np.array([False, True, False, False, True, False])
    gates = forget_gate(model.policy, rows, state, start)
    assert gates.shape == (6, LSTM_CELLS)
    fresh = forget_gate(model.policy, rows)
    for k in range(6):
        assert np.allclose(gates[k], fresh[k], atol=1e-6) == start[k]


def test_the_command_depends_on_what_was_seen_before_in_the_trial_and_on_nothing_before_it(model: Any) -> None:
    first, now = observations(2)
    _, state = model.predict(first, None, np.ones(1, dtype=bool), deterministic=True)
    going_on, _ = model.predict(now, state, np.zeros(1, dtype=bool), deterministic=True)
    anew, _ = model.predict(now, state, np.ones(1, dtype=bool), deterministic=True)
    alone, _ = model.predict(now, deterministic=True)
    assert not np.array_equal(going_on, anew)
    np.testing.assert_allclose(anew, alone, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("within", [False, True])
def test_sequences_give_what_sb3_contrib_gives_wherever_trials_begin(within: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    lstm = torch.nn.LSTM(5, 7)
    sequences, steps = 4, 9
    features = torch.randn(sequences * steps, 5, generator=generator)
    states = torch.randn(2, 1, sequences, 7, generator=generator).unbind()
    starts = torch.zeros(sequences, steps)
    starts[1:3, 0] = 1.0
    starts[3, 4] = float(within)
    own, (hidden, memory) = SequencePolicy._process_sequence(features, states, starts.flatten(), lstm)
    theirs, after = RecurrentActorCriticPolicy._process_sequence(features, states, starts.flatten(), lstm)
    torch.testing.assert_close(own, theirs, rtol=0.0, atol=1e-6)
    torch.testing.assert_close((hidden, memory), after, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("rule", ["fa", "dfa", "ifa", "shallow"])
def test_rules_for_layers_without_recurrence_are_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=f"reward-lstm expected one of the rules .'bp'., got '{rule}'"):
        make_learner(f"reward-lstm-{rule}", gym.make(GRAB))
