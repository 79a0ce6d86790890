"""The table shows which forces act on the hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, palette

Make = Callable[..., Scene]
CURL = np.array([[0.0, 13.0], [-13.0, 0.0]])
# Rows of a picture of 600 pixels with table alone: below the keys, above the table's edge.
TABLE = slice(160, 440)
ASIDE = np.array([0.0, -0.10])


def table(make: Make, **fields: Any) -> NDArray[np.int64]:
    """The bare table of a reach from the middle of the picture: arm and cup are down on the floor."""
    scene = make(
        joints=np.tile(ASIDE, (4, 1)),
        fingers=np.tile(ASIDE, (2, 2, 1)),
        grasp_point=ASIDE,
        seen_hand=ASIDE,
        cup=ASIDE,
        seen_cup=ASIDE,
        path=np.zeros((0, 2)),
        start=np.array([0.0, 0.30]),
        **fields,
    )
    return draw(scene, 600, 600)[TABLE].astype(np.int64)


def test_without_a_force_there_is_no_arrow(scene_with: Make) -> None:
    bare = table(scene_with)
    np.testing.assert_array_equal(
        table(scene_with, field_n_s_per_m=np.zeros((2, 2)), constant_force_n=np.zeros(2)), bare
    )
    assert (table(scene_with, field_n_s_per_m=CURL) != bare).any()


def test_opposite_curl_fields_are_mirror_images(scene_with: Make) -> None:
    right, left = table(scene_with, field_n_s_per_m=CURL), table(scene_with, field_n_s_per_m=-CURL)
    assert np.abs(right[:, ::-1] - left).max() <= 2
    assert np.abs(right - left).max() > 20


def test_a_constant_force_is_a_stream_that_is_the_same_everywhere(scene_with: Make) -> None:
    """Three spacings of the arrows are 200 pixels."""
    drawn = np.abs(table(scene_with, constant_force_n=np.array([2.0, 1.0])) - table(scene_with))
    rows = slice(0, 200)
    assert drawn[rows, 20:350].any()
    assert np.abs(drawn[rows, 20:350] - drawn[rows, 220:550]).max() <= 14, "but for what lies on lines of the grid"


def test_a_larger_force_has_longer_arrows(scene_with: Make) -> None:
    bare = table(scene_with)
    drawn = [
        (table(scene_with, constant_force_n=np.array([0.0, n])) != bare).any(axis=-1).sum() for n in (1.0, 3.0, 6.0)
    ]
    assert 0 < drawn[0] < drawn[1] < drawn[2]


def test_no_arrow_lies_under_the_words(scene_with: Make) -> None:
    words = {"caption": "a caption of some length", "trial": 3, "block": "perturbed"}
    still, field = (draw(scene_with(**words, **more), 600, 600)[:58] for more in ({}, {"field_n_s_per_m": CURL}))
    np.testing.assert_array_equal(still, field)


@pytest.mark.parametrize("width", [84, 300])
def test_a_field_shows_at_any_size(scene_with: Make, width: int) -> None:
    assert (draw(scene_with(field_n_s_per_m=CURL), width, width) != draw(scene_with(), width, width)).any()


def test_a_channel_has_a_wall_on_either_side_and_is_open_between(scene_with: Make) -> None:
    drawn = np.any(table(scene_with, channel=np.array([0.0, 1.0])) != table(scene_with), axis=-1)
    middle = 300
    rows = drawn[:140]
    assert not rows[:, middle - 7 : middle + 8].any()
    assert rows[:, middle - 16 : middle - 7].any(axis=1).all()
    assert rows[:, middle + 8 : middle + 17].any(axis=1).all()
    assert not rows[:, : middle - 16].any()
    assert not rows[:, middle + 17 :].any()


def test_the_present_force_is_a_centimetre_a_newton_from_the_hand(scene_with: Make) -> None:
    scene = scene_with(hand_force_n=np.array([-8.0, 0.0]), path=np.zeros((0, 2)))
    x, y = scene.grasp_point
    row = round(299.5 - (y - 0.33) * 600 / 0.9)
    columns = np.nonzero(np.all(draw(scene, 600, 600)[row] == palette.FORCE, axis=-1))[0]
    tail, tip = 299.5 + np.array([x, x - 0.08]) * 600 / 0.9
    assert abs(columns.max() - tail) < 3.0
    assert abs(columns.min() - tip) < 3.0


@pytest.mark.parametrize("force", [(8.0, 0.0), (0.0, 8.0), (-5.0, -5.0)])
def test_the_arrow_of_a_force_points_its_way(scene_with: Make, force: tuple[float, float]) -> None:
    none, pushed = (draw(scene_with(hand_force_n=np.array(values)), 600, 600) for values in ((0.0, 0.0), force))
    rows, columns = np.nonzero(np.any(none != pushed, axis=-1))
    x, y = scene_with().grasp_point
    away = np.array([columns.mean() - 299.5 - x * 600 / 0.9, 299.5 - (y - 0.33) * 600 / 0.9 - rows.mean()])
    np.testing.assert_allclose(away / np.linalg.norm(away), np.array(force) / np.linalg.norm(force), atol=0.1)


def test_a_force_too_small_to_see_has_no_arrow(scene_with: Make) -> None:
    none, small = (draw(scene_with(hand_force_n=np.array([force, 0.0])), 600, 600) for force in (0.0, 0.04))
    np.testing.assert_array_equal(none, small)
