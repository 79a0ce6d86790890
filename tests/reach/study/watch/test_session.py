"""A session keeps learners in step, lets errors travel, and yields pictures for a window or a film."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_learner import Fake

from reach.perturbations import Rotation
from reach.protocols import PROTOCOLS, schedule_of
from reach.render import Panels
from reach.snapshot import ErrorPath, Layer, LayerSignal, Snapshot
from reach.study.watch.live import LiveSession
from reach.study.watch.session import (
    TRAVEL_STEPS,
    WatchSession,
    block_spans,
    differences,
    error_limit,
    film_frames,
    human_curve,
    launch_errors,
    trial_indices,
)
from reach.study.watch.stepper import Overrides

TINY = PROTOCOLS["tiny"]


class Displayed(Fake):
    """A fake learner with a network to show."""

    def snapshot(self) -> Snapshot:
        path = None
        if self.learned_trials:
            path = ErrorPath("broadcast", np.ones(3), (LayerSignal("only", np.ones(4)),), self.learned_trials)
        return Snapshot(layers=(Layer("only", self.command.astype(np.float64)),), error_path=path)


def session_of(chosen: set[int], learners: int = 1, **options: Any) -> WatchSession:
    models = [(f"wandering-{k}", Displayed("wandering", 5)) for k in range(learners)]
    return WatchSession(models, TINY, 3, chosen, size=(640, 400), **options)


def test_learners_side_by_side_stay_in_step() -> None:
    session = session_of({4, 6}, learners=2)
    while session.step():
        assert len({(stepper.index, stepper.trial.seed) for stepper in session.steppers}) == 1
    assert all(stepper.is_over for stepper in session.steppers)


@pytest.mark.parametrize("learning", [True, False])
def test_an_error_travels_at_the_end_of_each_reach_that_is_learned_from(learning: bool) -> None:
    session = session_of({4, 6}, learning=learning)
    progress = [session.view(0).progress for _ in iter(session.step, False) if session.first.stage == "learned"]
    if learning:
        assert len(progress) == 2 * (TRAVEL_STEPS + 1)
        assert (progress[0], progress[TRAVEL_STEPS]) == (0.0, 1.0)
    else:
        assert set(progress) == {None}


def test_a_film_has_as_many_frames_as_its_speed_asks_for() -> None:
    panels = Panels(network=False, errors=False)
    half, real_time, four = (
        sum(1 for _ in film_frames(session_of({4}, panels=panels), speed)) for speed in (0.5, 1.0, 4.0)
    )
    assert half == pytest.approx(2 * real_time, abs=2)
    assert four == pytest.approx(real_time / 4, abs=2)
    for speed in (0.1, 33.0, math.nan):
        with pytest.raises(ValueError, match=r"0\.125 to 32"):
            next(film_frames(session_of({4}), speed))


def test_a_film_left_early_leaves_no_thread_behind() -> None:
    session = session_of({4})
    frames = film_frames(session)
    assert next(frames).shape == (400, 640, 3)
    frames.close()  # type: ignore[attr-defined]
    thread = session.first._thread
    assert thread is not None
    assert not thread.is_alive()


def test_the_error_history_is_of_reaches_without_probes() -> None:
    spans = [dataclasses.astuple(span) for span in block_spans(schedule_of(TINY, 3))]
    assert spans == [("baseline", 1, 4), ("perturbed", 5, 10), ("washout", 11, 14)]
    rows = [{"trial": 2, "probe": False, "launch_error_deg": 7.0}, {"trial": 3, "probe": True, "launch_error_deg": 9.0}]
    np.testing.assert_array_equal(launch_errors(rows, 4), [math.nan, 7.0, math.nan, math.nan])
    with pytest.raises(ValueError, match="first <= last <= 14"):
        trial_indices(TINY, 0, 3, 15)


def test_the_curve_of_people_is_shown_for_a_lasting_rotation_only() -> None:
    curve, name = human_curve(PROTOCOLS["rotation45"])
    assert (curve[0], name) == ((21.0, 21.0, pytest.approx(45.0 * 0.98)), "people (45° rotation)")
    assert human_curve(PROTOCOLS["rotation30"])[0][0][2] == pytest.approx(30.0 * 0.98)
    for other in ("prism", "curl", "jump", "switching"):
        assert human_curve(PROTOCOLS[other])[0] == ()
    assert error_limit(PROTOCOLS["rotation30"]) == 45.0


def test_overrides_that_cannot_be_combined_are_reported_and_change_nothing() -> None:
    session = session_of({4})
    trial = session.first.schedule[4]
    session.first.schedule[4] = dataclasses.replace(trial, perturbation=(Rotation(10.0, onset_s=0.3),))
    session.step()
    session.toggle("prism")
    assert "onset" in session.message
    assert session.first.overrides == Overrides()
    session.leave()


def test_a_replayed_trial_that_differs_is_reported() -> None:
    row = {"launch_error_deg": 3.0, "success": True, "reward": math.nan}
    assert differences(row, dict(row)) == []
    assert differences(row, row | {"launch_error_deg": 3.5}) == ["launch_error_deg 3.5 instead of 3.0"]


class Screen:
    """A window without a screen, and a clock that advances by itself with each frame."""

    def __init__(self, keys: dict[int, str] | None = None, frame_s: float = 0.02) -> None:
        self.is_open, self.is_button_down, self.pointer = True, False, (0.0, 0.0)
        self.now = 0.0
        self.frames: list[np.ndarray] = []
        self._keys, self._frame_s = keys or {}, frame_s

    def read_keys(self) -> list[str]:
        return [self._keys[len(self.frames)]] if len(self.frames) in self._keys else []

    def show(self, frame: np.ndarray) -> bool:
        self.now += self._frame_s
        self.frames.append(frame)
        return self.is_open

    def clock(self) -> float:
        return self.now


def live_on(screen: Screen, save_folder: Path, **options: Any) -> LiveSession:
    return LiveSession(session_of({4}), screen, save_folder, clock=screen.clock, **options)


@pytest.mark.parametrize(("frame_s", "speed"), [(1 / 60, 1.0), (1 / 20, 0.5), (1 / 12, 1.0)])
def test_slow_frames_never_slow_the_world(tmp_path: Path, frame_s: float, speed: float) -> None:
    screen = Screen(frame_s=frame_s)
    live = live_on(screen, tmp_path, speed=speed)
    assert live.run()
    assert screen.now * speed == pytest.approx(0.02 * live.steps, abs=2 * frame_s + 0.05)


def test_keys_pause_step_switch_and_leave(tmp_path: Path) -> None:
    screen = Screen({2: "p", 3: "f", 4: "l", 5: "space", 7: "p", 8: "h", 10: "right", 12: "q"})
    live = live_on(screen, tmp_path)
    assert not live.run()
    assert len(screen.frames) == 12
    assert live.steps == pytest.approx(5 + 1, abs=1)
    assert live.session.first.overrides == Overrides(prism=False, field=True)
    assert not live.session.first.learning
    assert np.any(screen.frames[8] != screen.frames[7]), "the help"


def test_up_and_down_double_and_halve_the_speed_within_bounds(tmp_path: Path) -> None:
    live = live_on(Screen(), tmp_path)
    live.press_key("up")
    assert live.speed == 2.0
    for key, limit in (("down", 0.125), ("up", 32.0)):
        for _ in range(12):
            live.press_key(key)
        assert live.speed == limit


def test_s_saves_the_picture_and_v_a_film_in_time_with_the_clock(tmp_path: Path) -> None:
    iio = pytest.importorskip("imageio.v3")
    screen = Screen({4: "s", 5: "v", 15: "v", 17: "q"})
    live_on(screen, tmp_path / "new").run()
    np.testing.assert_array_equal(iio.imread(tmp_path / "new" / "watch-001.png"), screen.frames[3])
    assert len(iio.imread(tmp_path / "new" / "watch-001.mp4")) == pytest.approx(10, abs=2)


def test_r_goes_to_the_end_of_the_trial_at_once(tmp_path: Path) -> None:
    live = live_on(Screen({4: "r"}), tmp_path)
    live.run()
    assert live.steps < 4 + TRAVEL_STEPS + 8


def test_the_cup_is_dragged_only_if_the_button_was_pressed_on_it(tmp_path: Path) -> None:
    screen = Screen()
    live = live_on(screen, tmp_path)
    live.session.step()
    left, top, width, height = live.session.layout.tables[0]
    scale = min(width, height) / 0.90

    def drag(place: Any) -> Any:
        screen.pointer = left + 0.5 * width + scale * place[0], top + 0.5 * height - scale * (place[1] - 0.33)
        live._drag()
        return live.session.first.scene().cup

    cup = live.session.first.scene().cup.copy()
    screen.is_button_down = True
    assert drag(cup + 0.1) == pytest.approx(cup)
    screen.is_button_down = False
    drag(cup)
    screen.is_button_down = True
    drag(cup)
    assert drag(cup + 0.04) == pytest.approx(cup + 0.04, abs=0.004)
    live.session.leave()
