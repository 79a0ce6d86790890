"""Frames come at the rate asked for, whatever each of them takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.render.pace import MADE_UP_FRAMES, Pace


class Time:
    """A clock that goes on by sleeping and by work; sleeping takes a little longer than asked for."""

    def __init__(self, overslept_s: float = 0.0) -> None:
        self.now_s, self.overslept_s = 100.0, overslept_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now_s += seconds + self.overslept_s


@given(st.lists(st.floats(0.0, 0.9), min_size=5, max_size=60), st.floats(20.0, 144.0))
def test_frames_that_are_drawn_in_time_come_at_the_rate(shares: list[float], rate: float) -> None:
    time = Time(overslept_s=0.05 / rate)
    pace = Pace(rate, lambda: time.now_s, time.sleep)
    pace.wait()
    first = time.now_s
    for share in shares:
        time.now_s += share / rate
        pace.wait()
    assert time.now_s - first == pytest.approx(len(shares) / rate, abs=0.1 / rate)


@given(st.floats(0.0, 3.0))
def test_a_frame_that_took_long_is_made_up_for_within_bounds(late_s: float) -> None:
    time = Time()
    pace = Pace(50.0, lambda: time.now_s, time.sleep)
    pace.wait()
    first = time.now_s
    time.now_s += late_s
    for _ in range(20):
        pace.wait()
    missing_s = max(0.0, late_s - (1.0 + MADE_UP_FRAMES) / 50.0)
    assert time.now_s - first == pytest.approx(20 / 50.0 + missing_s, abs=0.021)
