"""What a synapse does not expect of its eligibility is what is left for a reward to act on."""

from __future__ import annotations

import numpy as np
import pytest

from agents.spiking.third_factors import ExpectedEligibility

ACTIVITY = np.array([1.0, 0.4, 0.0])


def test_what_always_happens_is_expected_and_only_what_differs_is_left() -> None:
    expected, rng = ExpectedEligibility((3, 2), rate=0.05), np.random.default_rng(0)
    usual = ACTIVITY[:, None] * np.array([[4.0, 1.0]])
    for _ in range(600):
        expected.follow(usual + ACTIVITY[:, None] * rng.normal(0.0, 0.3, 2), ACTIVITY)
    np.testing.assert_allclose(expected.beyond(usual, ACTIVITY), 0.0, atol=0.3)
    more = usual + np.array([[0.5], [0.2], [0.0]])
    np.testing.assert_allclose(
        expected.beyond(more, ACTIVITY) - expected.beyond(usual, ACTIVITY), more - usual, atol=1e-12
    )


def test_synapses_of_a_silent_axon_learn_nothing_of_it() -> None:
    expected = ExpectedEligibility((3, 2), rate=0.5)
    expected.follow(ACTIVITY[:, None] * np.ones((1, 2)), ACTIVITY)
    np.testing.assert_array_equal(expected.per_activity[2], 0.0)
    assert np.all(expected.per_activity[:2] > 0.0)


@pytest.mark.parametrize("rate", [0.0, 1.5, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"rate is .*above 0 up to 1"):
        ExpectedEligibility((1, 1), rate)
