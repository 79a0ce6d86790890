"""Windows open and close one at a time, and show frames at an even rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.render import Scene, Window, draw
from reach.render.window import MAX_CATCH_UP_FRAMES, FramePacer

FRAME = np.zeros((40, 60, 3), dtype=np.uint8)
FAST = 1000


@pytest.fixture
def pair() -> Iterator[tuple[Window, Window]]:
    first, second = Window(60, 40, FAST, title="first"), Window(60, 40, FAST, title="second")
    yield first, second
    first.close()
    second.close()


def ask_to_close(window: Window) -> None:
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=window._window))


def test_two_windows_work_at_once(pair: tuple[Window, Window]) -> None:
    for _ in range(3):
        assert [window.show(FRAME) for window in pair] == [True, True]


@pytest.mark.parametrize("closed", [0, 1])
def test_closing_one_window_leaves_the_other(pair: tuple[Window, Window], closed: int) -> None:
    pair[closed].close()
    assert pair[1 - closed].show(FRAME)
    assert not pair[closed].show(FRAME)


@pytest.mark.parametrize("listener", [0, 1])
def test_a_person_closes_one_window_whoever_hears_of_it_first(pair: tuple[Window, Window], listener: int) -> None:
    ask_to_close(pair[0])
    pair[listener].show(FRAME)
    for _ in range(3):
        assert not pair[0].show(FRAME)
        assert pair[1].show(FRAME)


def test_quit_closes_all_windows_and_leaves_pygame_running(pair: tuple[Window, Window]) -> None:
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert [window.show(FRAME) for window in pair] == [False, False]
    assert pygame.display.get_init()
    later = Window(60, 40, FAST)
    assert later.show(FRAME)
    later.close()


def test_closing_twice_does_nothing(pair: tuple[Window, Window]) -> None:
    pair[0].close()
    pair[0].close()
    assert not pair[0].is_open
    assert pair[1].is_open


def test_a_window_waits_once_a_frame(pair: tuple[Window, Window], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[FramePacer] = []
    monkeypatch.setattr(FramePacer, "wait", lambda pacer: waits.append(pacer))
    for _ in range(3):
        pair[0].show(FRAME)
    assert len(waits) == 3
    assert len(set(waits)) == 1


def test_a_window_shows_what_was_drawn(scene_with: Callable[..., Scene]) -> None:
    frame = draw(scene_with(), 120, 90)
    window = Window(120, 90, FAST)
    window.show(frame)
    assert window._window is not None
    shown = pygame.image.tobytes(window._window.get_surface(), "RGB")
    np.testing.assert_array_equal(np.frombuffer(shown, dtype=np.uint8).reshape(frame.shape), frame)
    window.close()


def test_a_frame_of_another_size_is_named(pair: tuple[Window, Window]) -> None:
    with pytest.raises(ValueError, match=r"frame: expected shape \(40, 60, 3\) .* got \(60, 40, 3\)"):
        pair[0].show(np.zeros((60, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("argument", ["width", "height", "fps"])
def test_an_impossible_argument_is_named(argument: str) -> None:
    given = {"width": 60, "height": 40, "fps": 50, argument: 0}
    with pytest.raises(ValueError, match=f"Window {argument}: .* got 0"):
        Window(given["width"], given["height"], given["fps"])


def test_a_window_without_a_screen_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Window(60, 40, FAST).close()
    driver = pygame.display.get_driver()
    if driver not in ("dummy", "offscreen"):
        pytest.skip(f"there is a screen: {driver}")
    assert f"'{driver}'" in caplog.text
    assert "not visible" in caplog.text


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
    pace = FramePacer(rate, lambda: time.now_s, time.sleep)
    pace.wait()
    first = time.now_s
    for share in shares:
        time.now_s += share / rate
        pace.wait()
    assert time.now_s - first == pytest.approx(len(shares) / rate, abs=0.1 / rate)


@given(st.floats(0.0, 3.0))
def test_a_frame_that_took_long_is_made_up_for_within_bounds(late_s: float) -> None:
    time = Time()
    pace = FramePacer(50.0, lambda: time.now_s, time.sleep)
    pace.wait()
    first = time.now_s
    time.now_s += late_s
    for _ in range(20):
        pace.wait()
    missing_s = max(0.0, late_s - (1.0 + MAX_CATCH_UP_FRAMES) / 50.0)
    assert time.now_s - first == pytest.approx(20 / 50.0 + missing_s, abs=0.021)
