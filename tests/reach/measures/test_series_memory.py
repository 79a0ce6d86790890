"""What stays of a correction: measures on series whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.measures import series

Array = NDArray[np.float64]


def decay(tau: float, reaches: int = 60, start: float = 1.0) -> Array:
    """Errors (n,) of a learner that corrects with a time constant of so many reaches."""
    return start * np.exp(-np.arange(reaches) / tau)


def alternating(rate: float, every: int, flips: int) -> tuple[Array, Array]:
    """Size and error of each reach for a learner that takes in a share of each error while the sign flips."""
    scale = np.array([-1.0 if n // every % 2 else 1.0 for n in range(every * flips)])
    state, error = 0.0, []
    for size in scale:
        error.append(size - state)
        state += rate * error[-1]
    return scale, np.array(error)


@given(tau=st.floats(1.0, 20.0), times=st.floats(1.2, 4.0))
def test_who_relearns_faster_has_saved_what_it_misses_less(tau: float, times: float) -> None:
    first, again = decay(tau), decay(tau / times)
    assert series.savings(first, again) == pytest.approx(1.0 - np.mean(again[:10]) / np.mean(first[:10]))
    assert series.savings(first, again) > 0.0
    assert series.savings(first, first) == 0.0
    assert series.savings(first, np.zeros(60)) == 1.0
    assert series.savings(first, -again) == series.savings(first, again)


def test_where_nothing_was_missed_nothing_can_be_saved_or_undone() -> None:
    assert math.isnan(series.savings(np.zeros(10), np.ones(10)))
    assert math.isnan(series.interference(np.zeros(10), np.ones(10)))


def test_interference_is_what_more_is_missed_after_the_opposite() -> None:
    assert series.interference(decay(5.0), decay(5.0)) == 0.0
    assert series.interference(decay(5.0), decay(5.0, start=2.0)) == pytest.approx(1.0)
    assert series.interference(decay(5.0), np.zeros(60)) == -1.0


@given(share=st.floats(-1.0, 1.0))
def test_what_is_kept_is_the_first_reach_as_a_share_of_what_was_learned(share: float) -> None:
    learned = 1.0 - decay(5.0)
    assert series.kept(learned, np.array([share, 1.0])) == pytest.approx(share, abs=1e-4)
    assert math.isnan(series.kept(np.zeros(60), np.array([share])))


def test_a_reach_that_never_set_out_is_a_whole_miss_but_no_adaptation() -> None:
    lame = decay(5.0)
    lame[3] = np.nan
    assert series.early_error(lame) == pytest.approx(np.mean(np.where(np.isnan(lame), 1.0, lame)[:10]))
    unseen = np.full(40, 0.5)
    unseen[-2] = np.nan
    assert series.retention(np.full(60, 1.0), unseen) == pytest.approx(0.5)


@given(kept=st.floats(0.9, 1.0), learned=st.floats(0.2, 1.2))
def test_retention_is_the_share_that_is_left_without_sight(kept: float, learned: float) -> None:
    unseen = learned * kept ** np.arange(1, 41)
    expected = np.mean(kept ** np.arange(31, 41))
    assert series.retention(np.full(60, learned), unseen) == pytest.approx(expected)


def test_who_learned_nothing_has_nothing_to_keep() -> None:
    assert math.isnan(series.retention(np.full(60, 0.05), np.full(40, 0.05)))
    assert math.isnan(series.generalisation(np.full(8, 0.05), np.tile([0.0, 30.0], 4))[30])


def test_only_what_comes_back_is_a_rebound() -> None:
    reaches = np.arange(40)
    assert series.rebound(np.where(reaches < 3, 0.0, 0.3)) == pytest.approx(0.3)
    # B that fades, and A that was never undone and fades.
    assert series.rebound(-0.9 * np.exp(-reaches / 30.0)) == 0.0
    assert series.rebound(0.6 * np.exp(-reaches / 30.0)) == 0.0
    assert series.rebound(np.full(40, 0.4)) == pytest.approx(0.0)
    # From B's side to A's: only what lies on A's side is A.
    assert series.rebound(np.where(reaches < 5, -0.2, 0.25)) == pytest.approx(0.25)


@pytest.mark.parametrize("every", [1, 2, 4, 8, 16])
def test_reaches_between_flips_are_counted_from_the_sizes(every: int) -> None:
    scale, _ = alternating(0.5, every, 4)
    assert series.reaches_between_flips(scale) == every
    assert series.reaches_between_flips(-scale) == every


@pytest.mark.parametrize("scale", [[], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0, -1.0, 1.0], [0.25, 0.5, 1.0], [1.0, 0.0]])
def test_sizes_that_do_not_go_to_either_side_in_turn_are_no_flips(scale: list[float]) -> None:
    assert series.reaches_between_flips(np.array(scale)) is None


@pytest.mark.parametrize(("rate", "fastest"), [(0.0, math.inf), (0.05, 32.0), (0.1, 16.0), (0.3, 8.0), (0.5, 4.0)])
def test_a_faster_learner_follows_faster_flips(rate: float, fastest: float) -> None:
    left = {}
    for every in (32, 16, 8, 4, 2, 1):
        _, error = alternating(rate, every, 80)
        left[every], mean = series.switching_error(error, every)
        # In the steady state, a being what so many reaches leave of an error.
        a = (1.0 - rate) ** every
        assert left[every] == pytest.approx(2.0 * a / (1.0 + a) / (1.0 - rate), rel=0.05)
        assert mean == pytest.approx(np.mean(np.abs(error[every:])))
    assert series.fastest_switch(left) == fastest


def test_who_takes_in_each_error_whole_follows_flips_every_second_reach_and_none_every_reach() -> None:
    left = {every: series.switching_error(alternating(1.0, every, 16)[1], every)[0] for every in (4, 2, 1)}
    assert left == {4: 0.0, 2: 0.0, 1: 2.0}
    assert series.fastest_switch(left) == 2.0


def test_flips_that_are_followed_by_chance_below_ones_that_are_not_do_not_count() -> None:
    assert series.fastest_switch({32: 0.1, 16: 0.2, 8: 0.9, 4: 0.3}) == 16.0
    assert series.fastest_switch({32: math.nan, 16: 0.1}) == math.inf


def test_generalisation_is_the_share_of_what_was_learned_in_the_direction_trained() -> None:
    angle = np.repeat([0.0, 14.9999, 30.0001, 45.0], 5)
    adaptation = np.repeat([0.8, 0.4, 0.2, -0.08], 5)
    assert series.generalisation(adaptation, angle) == pytest.approx({15: 0.5, 30: 0.25, 45: -0.1})
