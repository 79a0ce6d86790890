"""A cup that was taken away leaves an outline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, palette

Make = Callable[..., Scene]


def count(frame: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int(np.all(frame == colour, axis=-1).sum())


@pytest.mark.parametrize("width", [84, 600])
def test_only_an_outline_is_left_of_a_cup_that_is_gone(scene_with: Make, width: int) -> None:
    there, gone = draw(scene_with(), width, width), draw(scene_with(cup_present=False), width, width)
    for colour in (palette.CUP_RIM, palette.CUP_INSIDE):
        assert count(there, colour) > 0
        assert count(gone, colour) == 0
    rows, columns = np.nonzero(np.any(gone != there, axis=-1))
    cup, radius = scene_with().cup, scene_with().cup_radius
    away = np.hypot(
        (columns - 0.5 * width + 0.5) * 0.9 / width - cup[0], 0.33 - (rows - 0.5 * width + 0.5) * 0.9 / width - cup[1]
    )
    assert away.max() < radius + 0.012 + 0.9 / width


def test_the_outline_stands_where_the_cup_stood(scene_with: Make) -> None:
    here, away = np.array([-0.2, 0.6]), np.array([-0.3, 0.25])
    first, second = (draw(scene_with(cup_present=False, cup=cup), 600, 600) for cup in (here, away))
    rows, columns = np.nonzero(np.any(first != second, axis=-1)[:300])
    distance = np.hypot((columns - 299.5) * 0.9 / 600 - here[0], 0.33 - (rows - 299.5) * 0.9 / 600 - here[1])
    assert len(rows) > 50
    np.testing.assert_allclose(distance, scene_with().cup_radius, atol=0.003)


@pytest.mark.parametrize("change", [{"seen_cup": np.array([0.2, 0.6])}, {"cup_tipped": True}, {"cup_held": True}])
def test_a_cup_that_is_gone_is_neither_seen_nor_tipped_nor_held(scene_with: Make, change: dict[str, object]) -> None:
    plain, changed = (draw(scene_with(cup_present=False, **fields), 600, 600) for fields in ({}, change))
    np.testing.assert_array_equal(plain, changed)
