"""A stepper runs a protocol as a study does, waits at each step, and takes interventions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_learner import Fake

from reach.perturbations import CupJump, CurlField, Prism, Rotation
from reach.protocols import PROTOCOLS, Block, Protocol
from reach.study.run import run_protocol
from reach.study.watch.stepper import Overrides, ProtocolStepper

TINY = PROTOCOLS["tiny"]


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    return run_protocol(Fake("wandering", 5), TINY, 3).rows


@pytest.fixture
def stepper() -> Iterator[ProtocolStepper]:
    created = ProtocolStepper(Fake("wandering", 5), TINY, 3, {4, 6})
    yield created
    created.leave()


def run_to(stepper: ProtocolStepper, stage: str) -> None:
    while stepper.stage != stage:
        assert stepper.advance()


def test_a_stepper_records_what_a_study_records(recorded: list[dict[str, Any]]) -> None:
    stepper = ProtocolStepper(Fake("wandering", 5), TINY, 3, {2, 7, len(recorded) - 1})
    while stepper.advance():
        pass
    np.testing.assert_equal(stepper.rows, recorded)


def test_only_chosen_trials_are_shown_each_to_its_end(stepper: ProtocolStepper) -> None:
    shown: list[tuple[int, str]] = []
    while stepper.advance():
        if not shown or shown[-1] != (stepper.index, stepper.stage):
            shown.append((stepper.index, stepper.stage))
    assert shown == [(k, stage) for k in (4, 6) for stage in ("step", "over", "learned")]


def test_the_end_of_a_reach_is_shown_before_and_after_learning(stepper: ProtocolStepper) -> None:
    run_to(stepper, "over")
    before = stepper.model.learned_trials  # type: ignore[attr-defined]
    end = stepper.scene().grasp_point.copy()
    stepper.advance()
    assert stepper.model.learned_trials == before + 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(stepper.scene().grasp_point, end)


def test_a_skipped_trial_is_run_all_the_same(stepper: ProtocolStepper, recorded: list[dict[str, Any]]) -> None:
    run_to(stepper, "step")
    stepper.skip()
    stepper.advance()
    assert (stepper.stage, stepper.index) == ("over", 4)
    while stepper.advance():
        pass
    np.testing.assert_equal(stepper.rows, recorded[: len(stepper.rows)])


def test_an_error_of_the_learner_is_raised_by_advance(stepper: ProtocolStepper, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("this learner cannot learn")

    monkeypatch.setattr(stepper.model, "learn", fail)
    with pytest.raises(RuntimeError, match="cannot learn"):
        stepper.advance()
    assert not stepper.advance()


def test_an_override_adds_or_removes_and_leaves_the_rest() -> None:
    prism, rotation = Prism(0.02), Rotation(30.0)
    for overrides, perturbations, expected in (
        (Overrides(), (rotation,), (rotation,)),
        (Overrides(prism=True), (rotation,), (rotation, Prism(0.06))),
        (Overrides(prism=True), (prism,), (prism,)),
        (Overrides(prism=False), (prism, rotation), (rotation,)),
        (Overrides(field=True), (), (CurlField(13.0),)),
        (Overrides(field=False), (CurlField(-5.0),), ()),
    ):
        assert overrides.applied_to(perturbations) == expected


def test_a_prism_shifts_what_is_seen_as_soon_as_it_is_on(stepper: ProtocolStepper) -> None:
    run_to(stepper, "step")
    before = stepper.scene().seen_cup.copy()
    for on, shift in ((True, [0.06, 0.0]), (False, [0.0, 0.0])):
        stepper.set_overrides(Overrides(prism=on))
        stepper.advance()
        assert stepper.scene().seen_cup - before == pytest.approx(shift)


def test_an_override_holds_in_the_next_trial_until_it_is_removed(stepper: ProtocolStepper) -> None:
    run_to(stepper, "step")
    stepper.set_overrides(Overrides(field=True))
    run_to(stepper, "learned")
    run_to(stepper, "step")
    assert stepper.scene().field_n_s_per_m is not None
    stepper.set_overrides(Overrides())
    stepper.advance()
    assert stepper.scene().field_n_s_per_m is None


def test_the_cup_moves_but_not_into_the_hand_or_off_the_table(stepper: ProtocolStepper) -> None:
    run_to(stepper, "step")
    scene = stepper.scene()
    free = (float(scene.cup[0]) + 0.03, float(scene.cup[1]) + 0.02)
    assert stepper.move_cup(free)
    stepper.advance()
    assert not stepper.move_cup(tuple(stepper.scene().joints[2].tolist()))
    assert not stepper.move_cup((5.0, 5.0))
    assert stepper.scene().cup == pytest.approx(free)


def test_learning_stops_from_the_next_trial_on(stepper: ProtocolStepper) -> None:
    run_to(stepper, "step")
    stepper.learning = False
    run_to(stepper, "learned")
    learned = stepper.model.learned_trials  # type: ignore[attr-defined]
    while stepper.advance():
        pass
    assert stepper.model.learned_trials == learned == 5  # type: ignore[attr-defined]


def test_the_twin_is_the_trial_without_its_perturbation(stepper: ProtocolStepper) -> None:
    run_to(stepper, "step")
    twin = stepper.twin_scenes()
    assert stepper.trial.perturbation == (Rotation(30.0),)
    for _ in range(8):
        stepper.advance()
    scene = stepper.scene()
    # The fake learner ignores what it sees: it does the same, and sees something else.
    np.testing.assert_array_equal(twin[9].grasp_point, scene.grasp_point)
    assert twin[9].seen_hand is not None
    assert scene.seen_hand is not None
    assert math.dist(twin[9].seen_hand, twin[9].grasp_point) == 0.0
    assert math.dist(scene.seen_hand, scene.grasp_point) > 0.003


def test_the_twin_of_a_perturbation_with_an_onset_keeps_the_standing_ones() -> None:
    protocol = Protocol("late", (Block("perturbed", 1, (Prism(0.05), CupJump(0.05, onset_s=0.4))),), source="tests")
    stepper = ProtocolStepper(Fake("still", 0), protocol, 0, {0})
    stepper.advance()
    twin = stepper.twin_scenes()
    stepper.leave()
    assert twin[-1].seen_cup - twin[-1].cup == pytest.approx([0.05, 0.0])
    assert twin[-1].cup == pytest.approx(twin[0].cup, abs=0.03)
