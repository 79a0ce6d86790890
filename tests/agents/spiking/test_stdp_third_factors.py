"""Third factors: an error broadcast to all cells, a reward prediction error, and no teacher."""

from __future__ import annotations

import numpy as np
import pytest

from agents.error.learner import make_feedforward
from agents.error.spiking import CELLS_PER_MUSCLE, SpikingFeedForward
from agents.rules.spiking import GatedSTDP
from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import AntagonistReadout, LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import ExpectedEligibility, NormalisedRewardPredictionError, PairSTDP

ACTIVITY = np.array([1.0, 0.4, 0.0])


def test_output_cells_receive_their_own_error_and_hidden_cells_a_fixed_mixture() -> None:
    part = make_feedforward("error-snn-stdp", np.random.default_rng(0))
    assert isinstance(part, SpikingFeedForward)
    error = np.array([0.3, -0.1, 0.2])
    np.testing.assert_array_equal(part.feedback["hidden-output"], part.readout.sign)
    np.testing.assert_allclose(
        GatedSTDP().modulator(part.readout.sign, error)[::CELLS_PER_MUSCLE], [0.3, -0.3, -0.1, 0.1, 0.2, -0.2]
    )
    assert np.std(part.feedback["input-hidden"]) == pytest.approx(1.0 / np.sqrt(3.0), rel=0.05)


def test_a_reward_prediction_error_is_normalised_and_clipped() -> None:
    late = []
    for size in (0.2, 20.0):
        rule, rng = NormalisedRewardPredictionError(rate=0.02), np.random.default_rng(0)
        modulators = np.array([rule.update(size * rng.normal()) for _ in range(600)])
        assert np.all(np.abs(modulators) <= 1.0)
        late.append(modulators[300:])
        assert np.sqrt(rule.mean_square[0]) == pytest.approx(size, rel=0.3)
    np.testing.assert_allclose(late[0], late[1], atol=0.05)
    assert rule.update(-1e9) == -1.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e200])
def test_a_wrong_reward_prediction_error_is_refused_and_changes_nothing(wrong: float) -> None:
    rule = NormalisedRewardPredictionError(rate=0.02)
    before = rule.mean_square.copy()
    with pytest.raises(ValueError, match="prediction_error: expected"):
        rule.update(wrong)
    np.testing.assert_array_equal(rule.mean_square, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_broadcast_error_teaches_a_command(dtype: type) -> None:
    rng = np.random.default_rng(2)
    plasticity = PairSTDP(rate=4e-4, depression=0.3)
    circuit = SpikingCircuit(
        40,
        {
            "hidden": LIFCells(100, inhibitory=20, bias=0.85, first_voltage=(0.0, 1.0)),
            "output": LIFCells(40, bias=1.2, first_voltage=(0.0, 1.0)),
        },
        [
            Projection("input", "hidden", weight_sd=0.6, plasticity=plasticity),
            Projection("hidden", "output", plasticity=plasticity),
        ],
        rng,
        dtype=dtype,
    )
    readout = AntagonistReadout(joints=2, cells_per_muscle=10, per_hz=0.02)
    rule, feedback = (
        GatedSTDP(),
        {
            "input-hidden": rng.normal(0.0, 1.0 / np.sqrt(2.0), (100, 2)),
            "hidden-output": readout.sign,
        },
    )
    rates_hz, goal = rng.uniform(0.0, 60.0, 40), np.array([0.25, -0.15])

    def command() -> np.ndarray:
        state = circuit.begin()
        circuit.run(state, rates_hz, 400)
        command = readout.command(circuit.rate_hz(state, "output"))
        circuit.teach(state, {name: rule.modulator(matrix, goal - command) for name, matrix in feedback.items()})
        return command

    first = command()
    for _ in range(75):
        last = command()
    assert np.linalg.norm(goal - last) < 0.35 * np.linalg.norm(goal - first)


def test_only_what_differs_from_the_usual_eligibility_is_unexpected() -> None:
    expected, rng = ExpectedEligibility((3, 2), rate=0.05), np.random.default_rng(0)
    usual = ACTIVITY[:, None] * np.array([[4.0, 1.0]])
    for _ in range(600):
        expected.update(usual + ACTIVITY[:, None] * rng.normal(0.0, 0.3, 2), ACTIVITY)
    np.testing.assert_allclose(expected.unexpected(usual, ACTIVITY), 0.0, atol=0.3)
    more = usual + np.array([[0.5], [0.2], [0.0]])
    np.testing.assert_allclose(
        expected.unexpected(more, ACTIVITY) - expected.unexpected(usual, ACTIVITY), more - usual, atol=1e-12
    )
    # The synapses of a silent axon expect nothing.
    np.testing.assert_array_equal(expected.per_activity[2], 0.0)
    assert np.all(expected.per_activity[:2] > 0.0)
