"""Two states of memory: what the model foretells, and parameters that come back from its own reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.measures.series import rebound
from reach.study.measures import TwoStates, fit_two_states, simulate

# Smith, Ghazizadeh and Shadmehr 2006.
PUBLISHED = TwoStates(fast_retention=0.59, fast_rate=0.21, slow_retention=0.992, slow_rate=0.02)


def pairs(states: TwoStates) -> list[tuple[float, float]]:
    """The retention and the rate of each state."""
    return [(states.fast_retention, states.fast_rate), (states.slow_retention, states.slow_rate)]


# Baseline, A, B, error clamp.
BLOCKS = (20, 100, 20, 40)
PERTURBATION = np.repeat([0.0, 1.0, -1.0, 0.0], BLOCKS)
SEEN: NDArray[np.bool_] = np.repeat([True, True, True, False], BLOCKS)


def test_one_error_is_taken_in_and_forgotten_as_the_equations_say() -> None:
    fitted = simulate([(0.5, 0.4), (0.9, 0.1)], np.array([1.0, 0.0, 0.0]), np.array([True, False, False]))
    assert fitted == pytest.approx([0.0, 0.5, 0.5 * 0.4 + 0.9 * 0.1])


def test_what_was_learned_long_ago_comes_back_in_the_clamp() -> None:
    adaptation = simulate(pairs(PUBLISHED), PERTURBATION, SEEN)
    clamp = adaptation[-40:]
    assert rebound(clamp) > 0.1
    single = simulate([(0.98, 0.15)], PERTURBATION, SEEN)
    assert rebound(single[-40:]) == 0.0


@settings(max_examples=6)
@given(
    fast_retention=st.floats(0.3, 0.8),
    fast_rate=st.floats(0.12, 0.35),
    slow_retention=st.floats(0.98, 0.998),
    slow_rate=st.floats(0.015, 0.06),
)
def test_a_simulation_gets_its_parameters_back(
    fast_retention: float, fast_rate: float, slow_retention: float, slow_rate: float
) -> None:
    states = TwoStates(fast_retention, fast_rate, slow_retention, slow_rate)
    fitted = fit_two_states(simulate(pairs(states), PERTURBATION, SEEN), PERTURBATION, SEEN)
    assert vars(fitted) == pytest.approx(vars(states), abs=1e-3)


def test_noise_blurs_the_parameters_but_does_not_shift_them() -> None:
    rng = np.random.default_rng(0)
    adaptation = simulate(pairs(PUBLISHED), PERTURBATION, SEEN)
    fits = [fit_two_states(adaptation + rng.normal(scale=0.02, size=180), PERTURBATION, SEEN) for _ in range(8)]
    mean = {name: float(np.mean([getattr(fit, name) for fit in fits])) for name in vars(PUBLISHED)}
    assert mean == pytest.approx(vars(PUBLISHED), rel=0.15)


def test_reaches_without_a_value_are_left_out() -> None:
    adaptation = simulate(pairs(PUBLISHED), PERTURBATION, SEEN)
    adaptation[[3, 40, 130, 170]] = np.nan
    assert vars(fit_two_states(adaptation, PERTURBATION, SEEN)) == pytest.approx(vars(PUBLISHED), abs=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_one_state_is_not_taken_for_two(noise: float) -> None:
    adaptation = simulate([(0.98, 0.15)], PERTURBATION, SEEN)
    fitted = fit_two_states(adaptation + np.random.default_rng(1).normal(scale=noise, size=180), PERTURBATION, SEEN)
    assert math.isnan(fitted.fast_retention)
    assert math.isnan(fitted.fast_rate)
    assert (fitted.slow_retention, fitted.slow_rate) == pytest.approx((0.98, 0.15), abs=0.2 * noise + 1e-6)


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="8 or more finite values, got 7"):
        fit_two_states(np.zeros(7), np.ones(7), np.ones(7, dtype=np.bool_))
