"""Third factors: an error broadcast to all, a reward less what was expected, and no teacher at all."""

from __future__ import annotations

import numpy as np
import pytest

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.readouts import AntagonistReadout
from agents.spiking.stdp import PairSTDP
from agents.spiking.third_factors import BoundedSurprise, BroadcastError, Hebb, RewardPredictionError


def test_output_cells_hear_their_own_error_and_hidden_cells_a_fixed_mixture() -> None:
    sign = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    rule = BroadcastError({"hidden-output": sign}, {"input-hidden": 2000}, np.random.default_rng(0))
    error = np.array([0.3, -0.1])
    found = rule.modulators(error)
    np.testing.assert_allclose(found["hidden-output"], [0.3, -0.3, -0.1, 0.1])
    np.testing.assert_array_equal(found["input-hidden"], rule.feedback["input-hidden"] @ error)
    assert np.std(rule.feedback["input-hidden"]) == pytest.approx(1.0 / np.sqrt(2.0), rel=0.05)
    with pytest.raises(ValueError, match=r"\(2,\) is allowed"):
        rule.modulators(np.zeros(3))


def test_a_surprise_fades_for_the_stimulus_that_is_known_alone() -> None:
    rule = RewardPredictionError({"input-hidden": 3}, stimuli=2, rate=0.2)
    first = rule.modulators(1.0, stimulus=0)["input-hidden"]
    np.testing.assert_array_equal(first, 1.0)
    for _ in range(60):
        last = rule.modulators(1.0, stimulus=0)["input-hidden"]
    assert np.all(np.abs(last) < 1e-4)
    assert np.all(rule.modulators(1.0, stimulus=1)["input-hidden"] == 1.0)


def test_a_surprise_is_heard_in_units_of_what_is_usual_and_within_bounds() -> None:
    found = []
    for size in (0.2, 20.0):
        rule, rng = BoundedSurprise({"a": 2}), np.random.default_rng(0)
        heard = np.array([rule.modulators(size * rng.normal())["a"] for _ in range(600)])
        assert np.all(np.abs(heard) <= 1.0)
        assert np.all(heard[:, 0] == heard[:, 1])
        found.append(heard[300:])
        assert np.sqrt(rule.mean_square[0]) == pytest.approx(size, rel=0.3)
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
    assert np.all(rule.modulators(-1e9)["a"] == -1.0)
    with pytest.raises(ValueError, match=r"rate is 2.0"):
        BoundedSurprise({"a": 2}, rate=2.0)


def test_a_network_without_a_teacher_hears_one() -> None:
    np.testing.assert_array_equal(Hebb({"a": 3}).modulators()["a"], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_broadcast_error_teaches_a_command(dtype: type) -> None:
    rng = np.random.default_rng(2)
    plasticity = PairSTDP(rate=2e-4, depression=0.3)
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
    rule = BroadcastError({"hidden-output": readout.sign}, {"input-hidden": 100}, rng)
    rates_hz, goal = rng.uniform(0.0, 60.0, 40), np.array([0.25, -0.15])

    def command() -> np.ndarray:
        state = circuit.begin()
        circuit.run(state, rates_hz, 400)
        given = readout.command(circuit.rate_hz(state, "output"))
        circuit.teach(state, rule.modulators(goal - given))
        return given

    first = command()
    for _ in range(150):
        last = command()
    assert np.linalg.norm(goal - last) < 0.35 * np.linalg.norm(goal - first)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e200])
def test_a_signal_that_is_no_finite_number_is_refused_and_changes_no_expectation(wrong: float) -> None:
    expected, bounded = RewardPredictionError({"a": 2}), BoundedSurprise({"a": 2})
    before = expected.expected.copy(), bounded.mean_square.copy()
    with pytest.raises(ValueError, match="reward is "):
        expected.modulators(wrong)
    with pytest.raises(ValueError, match="surprise is "):
        bounded.modulators(wrong)
    np.testing.assert_array_equal(expected.expected, before[0])
    np.testing.assert_array_equal(bounded.mean_square, before[1])
    if not np.isfinite(wrong):
        broadcast = BroadcastError({"a": np.ones((2, 1))}, {}, np.random.default_rng(0))
        with pytest.raises(ValueError, match="error is "):
            broadcast.modulators(np.array([wrong]))
