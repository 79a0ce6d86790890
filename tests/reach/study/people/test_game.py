"""A person's reaches are measured like those of a learner."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import reach  # noqa: F401  (registers the environments)
from reach.perturbations import HideHand, Rotation
from reach.protocols import BASELINE, PERTURBED, PROTOCOLS, WASHOUT, Block, Protocol
from reach.sim.layout import START_HAND_M
from reach.study.engine.formats import trials_frame
from reach.study.measures import adaptation_index, per_seed
from reach.study.people import game
from reach.study.people.game import (
    PERSON,
    ArmFollower,
    PersonLeft,
    PersonView,
    StraightReacher,
    append_persons,
    draw_chart,
    draw_view,
    finished_trials,
    play,
    read_person,
    rows_with_person,
    summary_lines,
)

BEFORE, DURING, MISS = 12, 36, 30.0
# Less than all, so that noise does not take single errors to the other side.
CORRECTED = 0.8
TURNED = Protocol(
    name="short",
    blocks=(Block(BASELINE, BEFORE), Block(PERTURBED, DURING, (Rotation(MISS),)), Block(WASHOUT, 4)),
    source="a test",
)


@pytest.fixture(autouse=True, scope="module")
def _play_without_correction_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(game, "errors_without_correction", functools.cache(game.errors_without_correction))
        yield


def trials_of(person: StraightReacher) -> pd.DataFrame:
    rows = play(TURNED, 0, person, person.observe, returning=False)
    return pd.DataFrame(finished_trials(TURNED, 0, rows))


@pytest.fixture(scope="module")
def adapting() -> pd.DataFrame:
    """Trials of a person who corrects 0.8 (1 - exp(-(n - 1) / 6)) of the error."""

    def aside(view: PersonView) -> float:
        n = view.trial - BEFORE
        return -CORRECTED * MISS * (1.0 - math.exp(-(min(n, DURING) - 1) / 6.0)) if n >= 1 else 0.0

    return trials_of(StraightReacher(aside))


def test_a_person_who_corrects_nothing_has_an_l30_of_one() -> None:
    measured = per_seed(trials_of(StraightReacher())).set_index("metric")["value"]
    assert measured["L30"] == pytest.approx(1.0, abs=0.05)
    assert measured["N63"] == math.inf
    assert abs(measured["after_effect"]) < 0.1


def test_a_person_who_corrects_exponentially_gets_the_time_constant_back(adapting: pd.DataFrame) -> None:
    measured = per_seed(adapting).set_index("metric")["value"]
    assert measured["tau"] == pytest.approx(6.0, rel=0.1)
    assert measured["A"] == pytest.approx(CORRECTED, abs=0.1)
    assert measured["after_effect"] == pytest.approx(-CORRECTED, abs=0.15)


@pytest.mark.parametrize("name", ["rotation30", "curl", "jump", "switching", "generalisation"])
def test_a_summary_names_what_was_measured_in_any_protocol(name: str) -> None:
    preset = PROTOCOLS[name]
    # A pattern of probes may be longer than a block of two trials.
    short = replace(preset, blocks=tuple(replace(block, trials=min(block.trials, 4)) for block in preset.blocks[-3:]))
    person = StraightReacher()
    trials = pd.DataFrame(finished_trials(short, 0, play(short, 0, person, person.observe, returning=False)))
    lines = summary_lines(trials)
    assert "Your hand started" in lines[-1]
    assert not any("nan" in line or "inf" in line for line in lines)
    measured = per_seed(trials).set_index("metric")["value"]
    assert any("after-effect" in line or "same side" in line for line in lines) == ("after_effect" in measured)
    assert draw_chart(trials, trials.assign(learner="error-bp"), short, (400, 300)).shape == (300, 400, 3)


def test_persons_are_appended_in_the_protocols_of_the_learners(adapting: pd.DataFrame, tmp_path: Path) -> None:
    adapting.to_parquet(tmp_path / "trials.parquet")
    learners = adapting.assign(learner="error-bp")
    both = append_persons(learners, [tmp_path, tmp_path])
    assert both.groupby("learner")["seed"].unique().map(list).to_dict() == {"error-bp": [0], "person": [0, 1]}
    assert len(append_persons(learners.assign(protocol="other"), [tmp_path])) == len(learners)


def test_a_folder_without_trials_of_a_person_is_refused(adapting: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"without trials\.parquet"):
        read_person(tmp_path)
    (tmp_path / "trials.parquet").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"trials\.parquet, which cannot be read"):
        read_person(tmp_path)
    wrong = {
        "trials of .*'none', 'person'": pd.concat([adapting, adapting.assign(learner="none")]),
        r"trials of \[\]": adapting[:0],
        r"without the columns \['success'\]": adapting.drop(columns="success"),
        "wrong values": adapting.assign(launch_error_deg="far"),
    }
    for message, trials in wrong.items():
        trials.to_parquet(tmp_path / "trials.parquet")
        with pytest.raises(ValueError, match=message):
            read_person(tmp_path)


def test_the_chart_draws_a_person_beside_learners(adapting: pd.DataFrame) -> None:
    learners = adapting.assign(learner="error-bp")
    picture = draw_chart(adapting, learners, TURNED, (500, 400))
    assert picture.shape == (400, 500, 3)
    assert len(summary_lines(adapting)) == 4
    index = adaptation_index(adapting)["index"].to_numpy()
    assert len(index) == DURING
    assert np.mean(index[-10:]) == pytest.approx(CORRECTED, abs=0.1)


def test_the_arm_goes_where_it_is_pointed_to_and_no_farther_than_it_reaches() -> None:
    env: Any = gym.make("reach/CupReach-v1", command="absolute")
    for place, within_m in (((0.1, 0.5), 0.005), ((-0.15, 0.45), 0.005), ((0.9, 0.9), 0.8)):
        _, info = env.reset(seed=0, options={"cup": (0.0, 0.6)})
        truth = info["truth"]
        own = ArmFollower(env.unwrapped.arm, env.unwrapped.control, np.array(truth["joint_angles"]))
        for _ in range(50):
            action = env.unwrapped.action_for(own.command(truth, place)).astype(np.float32)
            assert env.action_space.contains(action)
            _, _, terminated, _, info = env.step(action)
            truth = info["truth"]
            if terminated:
                break
        assert math.dist(truth["hand"], place) < within_m
    env.close()


def test_a_person_may_leave() -> None:
    class Leaver(StraightReacher):
        def observe(self, view: PersonView) -> bool:
            super().observe(view)
            return view.trial < 3

    leaver = Leaver()
    kept: list[list[dict[str, Any]]] = []
    with pytest.raises(PersonLeft):
        play(TURNED, 0, leaver, leaver.observe, returning=False, on_trial=kept.append)
    assert [len(rows) for rows in kept] == [1, 2]
    assert kept[1][0] == kept[0][0]
    frame = trials_frame(rows_with_person(TURNED, 0, kept[-1]))
    assert frame["learner"].tolist() == [PERSON] * 2
    assert frame["duration_s"].between(0.1, 3.0).all()


def test_between_trials_the_hand_comes_back_unseen() -> None:
    short = Protocol(name="two", blocks=(Block(BASELINE, 2, (HideHand(),)),), source="a test")
    views: list[PersonView] = []
    person = StraightReacher()

    def look(view: PersonView) -> bool:
        views.append(view)
        return person.observe(view)

    rows = play(short, 0, person, look)
    assert len(rows) == 2
    assert all(view.hand is None for view in views)
    assert {view.ring_m is not None for view in views if view.cup is None} == {True, False}
    assert all(view.ring_m is None for view in views if view.cup is not None)


def test_a_view_shows_what_is_seen_and_nothing_else() -> None:
    start = (float(START_HAND_M[0]), float(START_HAND_M[1]))
    bare = draw_view(PersonView(start=start, cup=None, cup_radius=0.035, hand=None), 300, 240)
    seen = draw_view(PersonView(start=start, cup=(0.1, 0.5), cup_radius=0.035, hand=(0.0, 0.45)), 300, 240)
    assert bare.shape == (240, 300, 3)
    assert np.any(seen != bare)
    with pytest.raises(ValueError, match="width"):
        draw_view(PersonView(start=start, cup=None, cup_radius=0.035, hand=None), 4, 240)
