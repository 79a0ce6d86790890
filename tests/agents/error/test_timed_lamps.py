"""Network `timed`: spike times tell the lamps, numbers of spikes do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.error.feedforward import FeedForward
from agents.error.learner import CREDIT_STEP, make_feedforward
from agents.networks.sensory_cells import PlaceCells
from agents.reaching.controller import CONTROL_STEP_MS

LAMPS, PLACES, CUP = 4, PlaceCells().size, np.array([0.12, 0.55])
REACHES, LEFT_OUT = 100, 40
RIDGE = 1.0


def after_a_reach(part: FeedForward, seen: NDArray[np.float64]) -> Any:
    """Return what is eligible at the step whose posture the error is of."""
    state = part.begin()
    for _ in range(CREDIT_STEP + 1):
        part.posture(state, seen)
    return part.eligibility(state).spikes


def correct(features: NDArray[np.float64], told: NDArray[np.float64]) -> float:
    """Return how often a decoder tells 1 from -1 in reaches that it was not fitted to.

    It is a ridge regression on the features (reaches, n) and on the products of each two.
    """
    deviation = features - features[:-LEFT_OUT].mean(axis=0)
    first, second = np.triu_indices(features.shape[1])
    values = np.hstack([deviation, deviation[:, first] * deviation[:, second]])
    values /= np.maximum(values[:-LEFT_OUT].std(axis=0), 1e-9)
    fitted, left_out = values[:-LEFT_OUT], values[-LEFT_OUT:]
    kernel = fitted @ fitted.T + RIDGE * len(fitted[0]) * np.eye(len(fitted))
    decoded = left_out @ fitted.T @ np.linalg.solve(kernel, told[:-LEFT_OUT])
    return float(np.mean((decoded > 0.0) == (told[-LEFT_OUT:] > 0.0)))


def lamp_cell_trains(network: str, lamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spikes (reaches, steps, lamp cells) in reaches with these lamps (reaches, LAMPS)."""
    # The spikes of the sources are what is eligible under rule `bp`.
    part = make_feedforward(f"error-{network}-bp", np.random.default_rng(0), LAMPS)
    return np.array([after_a_reach(part, np.append(CUP, on))[:, PLACES:] for on in lamps], dtype=np.float64)


def test_spike_times_tell_each_deciding_lamp_and_their_parity_and_spike_counts_tell_neither() -> None:
    lamps = np.random.default_rng(1).integers(0, 2, (REACHES, LAMPS)).astype(np.float64)
    timed, by_rates = lamp_cell_trains("timed", lamps), lamp_cell_trains("snn", lamps)
    first, second = 2.0 * lamps[:, :2].T - 1.0
    for told in (first, second, first * second):
        assert correct(timed.argmax(axis=1), told) > 0.9
        assert abs(correct(timed.sum(axis=1), told) - 0.5) < 0.1
        assert correct(by_rates.sum(axis=1), told) > 0.9, "a decoder of counts that reads no counts"
    in_control_steps = timed.reshape(REACHES, CREDIT_STEP + 1, CONTROL_STEP_MS, -1).sum(axis=2)
    assert np.all(in_control_steps == in_control_steps[0, :, :1])
    assert np.any(in_control_steps)


@pytest.mark.parametrize(("rule", "is_by_times"), [("stdp", True), ("eprop", True), ("rate", False), ("pre", False)])
def test_only_eligibility_by_spike_times_tells_the_lamp_cells_apart(rule: str, is_by_times: bool) -> None:
    part = make_feedforward(f"error-timed-{rule}", np.random.default_rng(0), 2)
    eligibility = after_a_reach(part, np.append(CUP, [1.0, 1.0]))["input-hidden"][PLACES:]
    # Of both lamps, time and again.
    on, off = eligibility.reshape(-1, 2, 2, eligibility.shape[1]).swapaxes(0, 1)
    assert np.all(on == on[0, 0])
    assert np.all(off == off[0, 0])
    assert np.any(on[0, 0] != off[0, 0]) == is_by_times


def test_without_lamps_it_is_the_network_that_is_told_of_them_by_rates() -> None:
    parts = [make_feedforward(f"error-{name}-stdp", np.random.default_rng(0)) for name in ("timed", "snn")]
    for array, expected in zip(*(part.arrays().values() for part in parts), strict=True):
        np.testing.assert_array_equal(array, expected)
    timed, other = (part.posture(part.begin(), CUP) for part in parts)
    np.testing.assert_array_equal(timed, other)
