"""Blocks: how large a perturbation is from trial to trial, which cups, when probes come; all from the seed alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import CupJump, CurlField, ErrorClamp, HideHand, Load, Nudge, Rotation
from reach.perturbations import PERTURBATIONS, can_be_scaled
from reach.protocols import (
    BLOCK_NAMES,
    PROTOCOLS,
    TARGETS,
    Abrupt,
    Block,
    Flipping,
    Gradual,
    Parity,
    Protocol,
    Random,
    cup_at,
    protocol_table,
    schedule_of,
)

TURN = (Rotation(30.0),)
PRESETS = (
    "rotation30", "rotation45", "prism", "curl", "savings", "interference", "recovery", "switching", "retention",
    "jump", "nudge", "generalisation", "context", "context16", "continual",
)  # fmt: skip


def one_block(**values: object) -> Protocol:
    return Protocol("one", (Block(**({"name": "perturbed", "trials": 12, "perturbation": TURN} | values)),), "tests")  # type: ignore[arg-type]


def scales(protocol: Protocol, seed: int = 0) -> list[float]:
    trials = [trial for trial in schedule_of(protocol, seed) if not trial.probe]
    for trial in trials:
        assert trial.perturbation == (Rotation(30.0 * trial.scale),)
    return [trial.scale for trial in trials]


def test_a_perturbation_comes_at_once_unless_told_otherwise() -> None:
    assert scales(one_block()) == [1.0] * 12
    assert scales(one_block(scale=Abrupt(-1.0))) == [-1.0] * 12


def test_a_gradual_one_grows_in_equal_steps_and_then_stays() -> None:
    assert scales(one_block(scale=Gradual(8))) == pytest.approx([n / 8 for n in range(1, 9)] + [1.0] * 4)


def test_a_flipping_one_goes_to_either_side_in_turn() -> None:
    assert scales(one_block(scale=Flipping(4))) == [1.0] * 4 + [-1.0] * 4 + [1.0] * 4
    assert scales(one_block(scale=Flipping(1))) == [1.0, -1.0] * 6


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_a_random_one_is_drawn_from_the_seed_and_leaves_cups_and_noise_alone(seed: int) -> None:
    drawn = one_block(scale=Random((-1.0, 0.0, 1.0)), trials=40)
    assert scales(drawn, seed) == scales(drawn, seed)
    assert set(scales(drawn, seed)) <= {-1.0, 0.0, 1.0}
    plain = schedule_of(one_block(trials=40), seed)
    for ours, theirs in zip(schedule_of(drawn, seed), plain, strict=True):
        assert (ours.cup, ours.seed) == (theirs.cup, theirs.seed)


def test_random_sizes_are_drawn_about_equally_often() -> None:
    found = scales(one_block(scale=Random((-1.0, 1.0)), trials=400))
    assert np.mean(found) == pytest.approx(0.0, abs=0.15)


def test_a_probe_comes_after_every_so_many_reaches_and_does_not_teach() -> None:
    trials = schedule_of(one_block(probe=(HideHand(),), probe_every=4), 0)
    assert [trial.trial for trial in trials if trial.probe] == [4, 8, 12]
    for trial in trials:
        assert trial.learning is not trial.probe
        assert trial.scale == 1.0
        assert trial.perturbation == ((HideHand(),) if trial.probe else TURN)


def test_a_block_may_have_cups_of_its_own_and_each_block_is_numbered() -> None:
    far = (cup_at(40.0), cup_at(50.0))
    protocol = Protocol(
        "mixed", (Block("baseline", 4), Block("perturbed", 4, TURN, cups=far), Block("washout", 4)), "tests"
    )
    trials = schedule_of(protocol, 3)
    assert [trial.block_number for trial in trials] == [1] * 4 + [2] * 4 + [3] * 4
    assert {trial.cup for trial in trials[:4]} == {trial.cup for trial in trials[8:]} == set(TARGETS)
    assert {trial.cup for trial in trials[4:6]} == {trial.cup for trial in trials[6:8]} == set(far)


def test_what_has_no_size_has_the_scale_of_no_perturbation() -> None:
    for perturbation in ((), (HideHand(),), (ErrorClamp(0.0),)):
        assert {t.scale for t in schedule_of(one_block(perturbation=perturbation), 0)} == {0.0}


def test_an_onset_within_the_reach_is_told_from_what_stands_before_it() -> None:
    given = (Rotation(20.0), HideHand(from_s=0.3), Nudge(onset_s=0.4), CupJump(onset_s=0.35))
    trial = schedule_of(one_block(perturbation=given), 0)[0]
    assert trial.onset_s == 0.35
    assert trial.from_start == (Rotation(20.0), HideHand(from_s=0.3))
    assert schedule_of(one_block(), 0)[0].onset_s is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "middle"}, "Block name.*middle"),
        ({"perturbation": (Nudge(), Nudge())}, "expected one Nudge in a trial, got two"),
        ({"probe": (Rotation(1.0, 0.1), Rotation(1.0, 0.2))}, "expected that of the other visual perturbations"),
        ({"perturbation": (Load(1.0),), "scale": Flipping(2)}, r"kilograms.*-1\.0"),
        ({"perturbation": (Load(1.0),), "trials": 1, "scale": Random((1.0, -1.0))}, r"kilograms.*-1\.0"),
        ({"perturbation": (), "scale": Flipping(2)}, r"scale: .*\[\] has a size.*Flipping\(every=2"),
        ({"perturbation": (CurlField(40.0),), "scale": Abrupt(2.0)}, r"newton_s_per_m.*80\.0"),
    ],
)
def test_a_block_that_could_not_be_run_is_refused_when_it_is_made(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one_block(**values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Random(()), r"Random choices: .*\(\)"),
        (lambda: Random((1.0, "2")), "Random scale.*2"),  # type: ignore[arg-type]
        (lambda: Parity(0), "Parity lamps.*0"),
    ],
)
def test_an_invalid_schedule_is_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_every_preset_names_its_source_and_begins_unperturbed() -> None:
    assert set(PRESETS) <= set(PROTOCOLS)
    for name in PRESETS:
        protocol = PROTOCOLS[name]
        assert protocol.name == name
        assert any(year in protocol.source for year in map(str, range(1990, 2027)))
        assert protocol.blocks[0].name == "baseline"
        assert not protocol.blocks[0].has_size
        assert {block.name for block in protocol.blocks} <= set(BLOCK_NAMES)


def test_presets_have_the_shape_of_their_studies() -> None:
    sizes = {name: [(block.name, block.trials) for block in PROTOCOLS[name].blocks] for name in ("rotation30", "prism")}
    assert sizes["rotation30"] == [("baseline", 20), ("perturbed", 100), ("washout", 20)]
    assert sizes["prism"] == [("baseline", 20), ("perturbed", 60), ("washout", 40)]
    curl = schedule_of(PROTOCOLS["curl"], 0)
    assert np.mean([trial.probe for trial in curl]) == pytest.approx(0.2)
    interference = PROTOCOLS["interference"].blocks
    assert [(b.name, b.scale) for b in interference[1:]] == [
        ("perturbed", Abrupt()), ("opposite", Abrupt(-1.0)), ("relearned", Abrupt())
    ]  # fmt: skip
    sweep = [block.scale.every for block in PROTOCOLS["switching"].blocks if isinstance(block.scale, Flipping)]
    assert sweep == [32, 16, 8, 4, 2, 1]
    assert all(trial.onset_s for name in ("jump", "nudge") for trial in schedule_of(PROTOCOLS[name], 0)[10:])
    last = {name: PROTOCOLS[name].blocks[-1] for name in ("recovery", "retention", "generalisation")}
    assert last["recovery"].perturbation == (ErrorClamp(0.0),)
    assert last["retention"].perturbation == (HideHand(),)
    assert not last["generalisation"].learning


def test_the_list_of_protocols_has_a_row_for_each_and_tells_sizes() -> None:
    rows = {name: schedule for name, schedule, _ in protocol_table()}
    assert set(PRESETS) <= set(rows) == set(PROTOCOLS)
    assert rows["savings"] == (
        "baseline 20; perturbed 60 (rotation degrees=30); washout 60; relearned 60 (rotation degrees=30)"
    )
    assert "flipped every 4" in rows["switching"]
    assert "force-channel+cup-mark probe after every 4th" in rows["curl"]


def test_a_protocol_needs_blocks_and_cups() -> None:
    for changes, message in (
        ({"blocks": ()}, "blocks: expected 1 or more"),
        ({"cups": ()}, "cups: expected 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(PROTOCOLS["prism"], **changes)  # type: ignore[arg-type]


def test_a_schedule_changes_the_perturbation_or_is_refused_by_name() -> None:
    schedules = (Abrupt(0.5), Gradual(3), Flipping(2), Random((0.0, 1.0)))
    for (kind, make), schedule in product(PERTURBATIONS.items(), schedules):
        perturbation = make(10.0) if kind == "error-clamp" else make()
        if not can_be_scaled(perturbation) or (kind == "load" and isinstance(schedule, Flipping)):
            with pytest.raises(ValueError, match=rf"{kind}|{type(perturbation).__name__}"):
                Block("perturbed", 8, (perturbation,), schedule)
            continue
        block = Block("perturbed", 8, (perturbation,), schedule)
        trials = schedule_of(Protocol(name="one", blocks=(block,), source="these tests"), 0)
        assert len({trial.perturbation for trial in trials}) > 1 or isinstance(schedule, Abrupt)
        assert any(trial.perturbation != (perturbation,) for trial in trials)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", None),
        ("scale", Abrupt),
        ("cups", 1),
        ("cups", "ab"),
        ("cups", [(1,)]),
        ("cups", ((math.nan, 0.0),)),
        ("context", (0, 2)),
    ],
)
def test_a_block_of_wrong_values_is_refused_by_the_name_of_the_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"Block {field}"):
        Block("perturbed", 2, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("blocks", 1),
        ("blocks", (1,)),
        ("blocks", Block("baseline", 2)),
        ("blocks", "ab"),
        ("cups", 1),
        ("cups", [(0.1,)]),
        ("context", 33),
        ("context", (0, 1)),
    ],
)
def test_a_protocol_of_wrong_values_is_refused_by_the_name_of_the_field(field: str, value: Any) -> None:
    given: dict[str, Any] = {"name": "any", "blocks": (Block("baseline", 2),), "source": "these tests", field: value}
    with pytest.raises(ValueError, match=f"Protocol 'any' {field}"):
        Protocol(**given)


def test_lists_of_blocks_and_cups_are_kept_as_tuples() -> None:
    block = Block("baseline", 2, cups=[[0.1, 0.5]])
    kept = Protocol("any", [block], "these tests", cups=[[0.1, 0.5], (0.0, 0.5)])
    assert (block.cups, kept.blocks, kept.cups) == (((0.1, 0.5),), (block,), ((0.1, 0.5), (0.0, 0.5)))
    hash(kept)
