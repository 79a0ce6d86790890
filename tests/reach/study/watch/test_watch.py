"""Watching: a learner goes through its protocol as in a study, and whoever watches has a hand in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_learner import Fake

from reach.perturbations import CupJump, CurlField, Prism, Rotation
from reach.protocols import PROTOCOLS, Block, Protocol, schedule_of
from reach.render.panels import Panels
from reach.snapshot import Arrival, Inside, Layer, Travel
from reach.study.run import run_protocol
from reach.study.watch.live import Live
from reach.study.watch.replay import differences
from reach.study.watch.session import (
    TRAVEL_STEPS,
    Watching,
    errors_of,
    frames_of,
    indices_of,
    limit_of,
    people_under,
    spans_of,
)
from reach.study.watch.stepper import Stepped, Wish

TINY = PROTOCOLS["tiny"]
SMALL = (640, 400)


class Open(Fake):
    """A fake learner that can be looked into."""

    def inside(self) -> Inside:
        travel = None
        if self.learned_trials:
            travel = Travel("broadcast", np.ones(3), (Arrival("only", np.ones(4)),), self.learned_trials)
        return Inside(layers=(Layer("only", self.command.astype(np.float64)),), travel=travel)


def watching(chosen: set[int], learners: int = 1, **settings: Any) -> Watching:
    models = [(f"wandering-{k}", Open("wandering", 5)) for k in range(learners)]
    return Watching(models, TINY, 3, chosen, size=SMALL, **settings)


@pytest.fixture
def course() -> Iterator[Stepped]:
    found = Stepped(Open("wandering", 5), TINY, 3, {4, 6})
    yield found
    found.leave()


def on(course: Stepped, stage: str) -> None:
    """Go on to a stage."""
    while course.stage != stage or course.stage == "before":
        assert course.advance()


def test_what_is_watched_is_what_a_study_records() -> None:
    alone = run_protocol(Fake("wandering", 5), TINY, 3).rows
    seen = Stepped(Open("wandering", 5), TINY, 3, {2, 7, len(alone) - 1})
    while seen.advance():
        pass
    np.testing.assert_equal(seen.rows, alone)


def test_only_chosen_trials_are_seen_each_to_its_end(course: Stepped) -> None:
    seen: list[tuple[int, str]] = []
    while course.advance():
        if not seen or seen[-1] != (course.index, course.stage):
            seen.append((course.index, course.stage))
    assert seen == [(k, stage) for k in (4, 6) for stage in ("step", "over", "learned")]


def test_the_end_of_a_reach_is_seen_before_the_learner_has_learned_and_after(course: Stepped) -> None:
    on(course, "over")
    before = course.model.learned_trials  # type: ignore[attr-defined]
    end = course.scene().grasp_point.copy()
    course.advance()
    assert course.model.learned_trials == before + 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(course.scene().grasp_point, end)


def test_a_skipped_trial_is_lived_all_the_same(course: Stepped) -> None:
    plain = run_protocol(Fake("wandering", 5), TINY, 3).rows
    on(course, "step")
    course.skip()
    course.advance()
    assert (course.stage, course.index) == ("over", 4)
    while course.advance():
        pass
    np.testing.assert_equal(course.rows, plain[: len(course.rows)])


def test_an_error_of_the_learner_is_raised_where_it_is_watched(course: Stepped, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("this learner cannot learn")

    monkeypatch.setattr(course.model, "learn", fail)
    with pytest.raises(RuntimeError, match="cannot learn"):
        course.advance()
    assert not course.advance()


@pytest.mark.parametrize(
    ("wish", "acting", "granted"),
    [
        (Wish(), (Rotation(30.0),), (Rotation(30.0),)),
        (Wish(prism=True), (Rotation(30.0),), (Rotation(30.0), Prism(0.06))),
        (Wish(prism=True), (Prism(0.02),), (Prism(0.02),)),
        (Wish(prism=False), (Prism(0.02), Rotation(30.0)), (Rotation(30.0),)),
        (Wish(field=True), (), (CurlField(13.0),)),
        (Wish(field=False), (CurlField(-5.0),), ()),
    ],
)
def test_a_wish_adds_or_takes_away_and_leaves_the_rest(wish: Wish, acting: Any, granted: Any) -> None:
    assert wish.granted(acting) == granted


def test_a_prism_shifts_what_is_seen_from_the_moment_it_is_put_on(course: Stepped) -> None:
    on(course, "step")
    before = course.scene().seen_cup.copy()
    course.set_wish(Wish(prism=True))
    course.advance()
    assert course.scene().seen_cup - before == pytest.approx([0.06, 0.0])
    course.set_wish(Wish(prism=False))
    course.advance()
    assert course.scene().seen_cup == pytest.approx(before)


def test_a_wish_holds_in_the_next_trial_and_ends_with_it(course: Stepped) -> None:
    on(course, "step")
    course.set_wish(Wish(field=True))
    on(course, "learned")
    on(course, "step")
    assert course.scene().field_n_s_per_m is not None
    course.set_wish(Wish())
    course.advance()
    assert course.scene().field_n_s_per_m is None


def test_the_cup_goes_where_it_is_put_but_not_into_the_hand_or_off_the_table(course: Stepped) -> None:
    on(course, "step")
    scene = course.scene()
    free = (float(scene.cup[0]) + 0.03, float(scene.cup[1]) + 0.02)
    assert course.move_cup(free)
    course.advance()
    assert course.scene().cup == pytest.approx(free)
    assert not course.move_cup(tuple(course.scene().joints[2].tolist()))
    assert not course.move_cup((5.0, 5.0))
    assert course.scene().cup == pytest.approx(free)


def test_learning_stops_from_the_next_trial_on(course: Stepped) -> None:
    on(course, "step")
    course.set_learning(False)
    on(course, "learned")
    learned = course.model.learned_trials  # type: ignore[attr-defined]
    while course.advance():
        pass
    assert course.model.learned_trials == learned  # type: ignore[attr-defined]
    assert learned == 5


def test_the_twin_is_the_trial_without_its_perturbation(course: Stepped) -> None:
    on(course, "step")
    twin = course.twin_scenes()
    true = [course.scene()]
    for _ in range(8):
        course.advance()
        true.append(course.scene())
    assert course.trial.perturbation == (Rotation(30.0),)
    # The fake moves blindly: what is done is the same, what is seen is not.
    np.testing.assert_array_equal(twin[9].grasp_point, true[8].grasp_point)
    assert math.dist(twin[9].seen_hand, twin[9].grasp_point) == 0.0
    assert math.dist(true[8].seen_hand, true[8].grasp_point) > 0.003


def test_learners_side_by_side_stay_in_step() -> None:
    seen = watching({4, 6}, learners=2)
    while seen.step():
        assert len({(one.index, one.trial.seed) for one in seen.courses}) == 1
    assert all(one.is_over for one in seen.courses)


def test_a_new_error_travels_at_the_end_of_each_reach() -> None:
    seen = watching({4, 6})
    progress = []
    while seen.step():
        if seen.first.stage == "learned":
            found = seen._moment(0).progress
            assert found is not None
            progress.append(found)
    assert len(progress) == 2 * (TRAVEL_STEPS + 1)
    assert progress[0] == 0.0
    assert progress[TRAVEL_STEPS] == 1.0


def test_without_learning_no_error_travels() -> None:
    seen = watching({4}, learning=False)
    while seen.step():
        assert seen._moment(0).progress is None


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_a_film_has_as_many_frames_as_its_speed_asks_for(speed: float) -> None:
    real_time = sum(1 for _ in frames_of(watching({4}, panels=Panels(inside=False, story=False))))
    frames = sum(1 for _ in frames_of(watching({4}, panels=Panels(inside=False, story=False)), speed))
    assert frames == pytest.approx(real_time / speed, abs=2)


@pytest.mark.parametrize("speed", [0.1, 33.0, math.nan])
def test_another_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match=r"0\.125 to 32"):
        next(frames_of(watching({4}), speed))


def test_a_film_left_early_leaves_no_thread_behind() -> None:
    seen = watching({4})
    frames = frames_of(seen)
    assert next(frames).shape == (400, 640, 3)
    frames.close()  # type: ignore[attr-defined]
    assert all(one._thread is None or not one._thread.is_alive() for one in seen.courses)


def test_the_story_is_of_reaches_and_leaves_probes_out() -> None:
    schedule = schedule_of(TINY, 3)
    assert [(one.name, one.first, one.last) for one in spans_of(schedule)] == [
        ("baseline", 1, 4), ("perturbed", 5, 10), ("washout", 11, 14)
    ]  # fmt: skip
    rows = [{"trial": 2, "probe": False, "launch_error_deg": 7.0}, {"trial": 3, "probe": True, "launch_error_deg": 9.0}]
    found = errors_of(rows, 4)
    assert found[1] == 7.0
    assert np.isnan(found[[0, 2, 3]]).all()


def test_people_are_shown_under_a_lasting_rotation_alone() -> None:
    course, name = people_under(PROTOCOLS["rotation45"])
    assert (course[0], name) == ((21.0, 21.0, pytest.approx(45.0 * 0.98)), "people (45° rotation)")
    assert people_under(PROTOCOLS["rotation30"])[0][0][2] == pytest.approx(30.0 * 0.98)
    for other in ("prism", "curl", "jump", "switching"):
        assert people_under(PROTOCOLS[other])[0] == ()
    assert limit_of(PROTOCOLS["rotation30"]) == 45.0


class Screen:
    """A window that shows to nobody, and a clock that goes on by itself."""

    def __init__(self, strokes: dict[int, str] | None = None, frame_s: float = 0.02) -> None:
        self.is_open, self.is_held, self.pointer = True, False, (0.0, 0.0)
        self.shown, self.now = 0, 0.0
        self._strokes, self._frame_s = strokes or {}, frame_s
        self.frames: list[np.ndarray] = []

    def take_keys(self) -> list[str]:
        return [self._strokes[self.shown]] if self.shown in self._strokes else []

    def show(self, frame: np.ndarray) -> bool:
        self.shown += 1
        self.now += self._frame_s
        self.frames.append(frame)
        return self.is_open

    def clock(self) -> float:
        return self.now


def live(screen: Screen, saves: Path, **settings: Any) -> Live:
    return Live(watching({4}), screen, saves, clock=screen.clock, **settings)


@pytest.mark.parametrize("frame_s", [1 / 60, 1 / 20, 1 / 12])
@pytest.mark.parametrize("speed", [0.5, 1.0])
def test_slow_pictures_never_slow_the_world(tmp_path: Path, frame_s: float, speed: float) -> None:
    screen = Screen(frame_s=frame_s)
    one = live(screen, tmp_path, speed=speed)
    assert one.run()
    assert screen.now * speed == pytest.approx(0.02 * one.steps, abs=2 * frame_s + 0.05)


def test_a_pause_stands_still_and_a_step_is_one(tmp_path: Path) -> None:
    screen = Screen({5: "space", 20: "right", 30: "q"})
    one = live(screen, tmp_path)
    assert not one.run()
    assert screen.shown == 30
    assert one.steps == pytest.approx(5 + 1, abs=1)


def test_up_and_down_double_and_halve_the_speed_within_bounds(tmp_path: Path) -> None:
    one = live(Screen(), tmp_path)
    one.strike("up")
    assert one.speed == 2.0
    for _ in range(12):
        one.strike("down")
    assert one.speed == 0.125
    for _ in range(12):
        one.strike("up")
    assert one.speed == 32.0


def test_keys_put_prism_field_and_learning_on_and_off(tmp_path: Path) -> None:
    screen = Screen({6: "p", 7: "f", 8: "l", 9: "p", 12: "q"})
    one = live(screen, tmp_path)
    one.run()
    assert one.watching.first.wish == Wish(prism=False, field=True)
    assert not one.watching.first.learning


def test_perturbations_that_cannot_act_together_are_said_and_change_nothing(tmp_path: Path) -> None:
    seen = watching({4})
    seen.first.schedule[4] = type(seen.first.schedule[4])(
        **{**vars(seen.first.schedule[4]), "perturbation": (Rotation(10.0, onset_s=0.3),)}
    )
    seen.step()
    seen.set_wish(prism=True)
    assert "onset" in seen.notice
    assert seen.first.wish == Wish()
    seen.leave()


def test_h_shows_what_the_keys_do(tmp_path: Path) -> None:
    screen = Screen({3: "h", 5: "q", 2: "space"})
    live(screen, tmp_path).run()
    assert np.any(screen.frames[4] != screen.frames[2])


def test_s_saves_the_picture_and_v_a_film_in_time_with_the_clock(tmp_path: Path) -> None:
    iio = pytest.importorskip("imageio.v3")
    screen = Screen({4: "s", 5: "v", 25: "v", 27: "q"})
    live(screen, tmp_path / "new").run()
    np.testing.assert_array_equal(iio.imread(tmp_path / "new" / "watch-001.png"), screen.frames[3])
    assert len(iio.imread(tmp_path / "new" / "watch-001.mp4")) == pytest.approx(20, abs=2)


def test_r_goes_to_the_end_of_the_trial_at_once(tmp_path: Path) -> None:
    screen = Screen({4: "r"})
    one = live(screen, tmp_path)
    one.run()
    assert one.steps < 4 + TRAVEL_STEPS + 8


def test_the_cup_is_dragged_by_whoever_holds_it(tmp_path: Path) -> None:
    screen = Screen()
    one = live(screen, tmp_path)
    one.watching.step()
    cup = one.watching.first.scene().cup.copy()
    left, top, width, height = one.watching.layout.tables[0]
    scale = min(width, height) / 0.90

    def pixel(place: Any) -> tuple[float, float]:
        x, y = 0.5 * width + scale * place[0], 0.5 * height - scale * (place[1] - 0.33)
        return left + x, top + y

    screen.is_held, screen.pointer = True, pixel(cup + 0.1)
    one._drag()
    assert one.watching.first.scene().cup == pytest.approx(cup)  # taken beside the cup
    screen.is_held = False
    one._drag()
    screen.is_held, screen.pointer = True, pixel(cup)
    one._drag()
    screen.pointer = pixel(cup + 0.04)
    one._drag()
    assert one.watching.first.scene().cup == pytest.approx(cup + 0.04, abs=0.004)
    one.watching.leave()


def test_reaches_that_a_protocol_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 14"):
        indices_of(TINY, 0, 3, 15)


def test_a_perturbation_that_sets_in_later_is_taken_from_the_twin_alone() -> None:
    protocol = Protocol("late", (Block("perturbed", 1, (Prism(0.05), CupJump(0.05, onset_s=0.4))),), source="tests")
    course = Stepped(Open("still", 0), protocol, 0, {0})
    course.advance()
    twin = course.twin_scenes()
    course.leave()
    assert twin[-1].seen_cup - twin[-1].cup == pytest.approx([0.05, 0.0])
    assert twin[-1].cup == pytest.approx(twin[0].cup, abs=0.03)


def test_a_replayed_trial_that_differs_is_told_apart() -> None:
    row = {"launch_error_deg": 3.0, "success": True, "reward": math.nan}
    assert differences(row, dict(row)) == []
    assert differences(row, row | {"launch_error_deg": 3.5}) == ["launch_error_deg 3.5 instead of 3.0"]
