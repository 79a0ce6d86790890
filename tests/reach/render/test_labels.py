"""Words say which trial it is, and what marks and colours mean, where there is room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, palette

Make = Callable[..., Scene]


def differing(first: Scene, second: Scene, width: int = 600) -> NDArray[np.bool_]:
    pixels: NDArray[np.bool_] = np.any(draw(first, width, width) != draw(second, width, width), axis=-1)
    return pixels


@pytest.mark.parametrize(
    "words",
    [{"trial": 0}, {"trial": 12345}, {"block": "washout"}, {"trial": 7, "block": "a block of a very long name"}],
)
def test_trial_and_block_stand_in_the_upper_right_corner(scene_with: Make, words: dict[str, Any]) -> None:
    changed = differing(scene_with(), scene_with(**words))
    assert changed[:50, 300:].any()
    changed[:50, 250:] = False
    assert not changed.any()


@pytest.mark.parametrize("block", ["baseline", "perturbed", "washout", "another"])
def test_a_block_has_its_colour(scene_with: Make, block: str) -> None:
    corner = draw(scene_with(block=block, trial=3), 600, 600)[:50, 300:]
    assert np.all(corner == palette.block_colour(block), axis=-1).sum() > 30


def test_trials_and_blocks_can_be_told_apart(scene_with: Make) -> None:
    assert differing(scene_with(trial=3), scene_with(trial=4)).any()
    assert differing(scene_with(block="baseline"), scene_with(block="washout")).any()


def test_the_outcome_makes_way_for_the_trial(scene_with: Make) -> None:
    plain = draw(scene_with(trial=3, block="baseline"), 600, 600)
    success = draw(scene_with(trial=3, block="baseline", success=True), 600, 600)
    np.testing.assert_array_equal(success[:34, 300:], plain[:34, 300:])
    assert (success[34:80, 300:] != plain[34:80, 300:]).any()


@pytest.mark.parametrize(
    ("fields", "colour"),
    [
        ({"effort": np.zeros(3)}, palette.FLEXION),
        ({"activation": np.zeros(8)}, palette.EXTENSION),
        ({"hand_force_n": np.zeros(2)}, palette.FORCE),
        ({"constant_force_n": np.zeros(2)}, palette.FORCE),
    ],
)
def test_a_key_stands_in_the_upper_right_where_it_is_needed(
    scene_with: Make, fields: dict[str, Any], colour: tuple[int, int, int]
) -> None:
    def count(scene: Scene, width: int) -> int:
        return int(np.all(draw(scene, width, width)[: width // 3, width * 4 // 5 :] == colour, axis=-1).sum())

    assert count(scene_with(**fields), 600) > count(scene_with(), 600) + 20
    assert count(scene_with(**fields), 220) == count(scene_with(), 220), "no room"


@pytest.mark.parametrize("width", [84, 600])
def test_the_error_arrow_points_from_the_seen_hand_to_the_seen_cup(scene_with: Make, width: int) -> None:
    scene = scene_with()
    rows, columns = np.nonzero(differing(scene, scene_with(show_error=True), width))
    in_corner = (rows < width // 5) & (columns < width // 2)
    x = (columns[~in_corner] - 0.5 * width + 0.5) * 0.9 / width
    y = 0.33 - (rows[~in_corner] - 0.5 * width + 0.5) * 0.9 / width
    hand, cup = scene.seen_hand, scene.seen_cup
    assert hand is not None
    along = (np.stack([x, y], axis=-1) - hand) @ (cup - hand) / np.sum((cup - hand) ** 2)
    slack = 2.5 * 0.9 / width / 0.18
    assert along.min() == pytest.approx(0.0, abs=slack)
    assert along.max() == pytest.approx(1.0, abs=slack)


@pytest.mark.parametrize("width", [84, 600])
@pytest.mark.parametrize("fields", [{"seen_hand": None}, {"cup_present": False}])
def test_there_is_no_error_where_hand_or_cup_cannot_be_seen(
    scene_with: Make, width: int, fields: dict[str, Any]
) -> None:
    assert not differing(scene_with(**fields), scene_with(show_error=True, **fields), width).any()


def test_a_small_picture_carries_no_words(scene_with: Make) -> None:
    said = {"caption": "reach 3", "trial": 3, "block": "baseline", "time_s": 0.5}
    assert not differing(scene_with(), scene_with(**said), 84).any()


def test_a_reach_whose_time_is_over_says_so(scene_with: Make) -> None:
    last, before = draw(scene_with(time_s=3.0), 600, 600), draw(scene_with(time_s=2.98), 600, 600)
    assert (last[:80, 300:] != before[:80, 300:]).any()
    won, also_won = (draw(scene_with(time_s=time, success=True), 600, 600) for time in (3.0, 2.98))
    np.testing.assert_array_equal(won[:80, 300:], also_won[:80, 300:])
