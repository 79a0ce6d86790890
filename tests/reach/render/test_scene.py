"""A scene refuses what cannot be drawn, and says which part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reach.render import Scene


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joints", np.zeros((3, 2))),
        ("fingers", np.zeros((2, 2))),
        ("cup", np.zeros(3)),
        ("path", np.zeros(2)),
        ("seen_hand", np.zeros((1, 2))),
        ("past_paths", (np.zeros((2, 3)),)),
        ("touch", np.zeros(2, dtype=np.bool_)),
    ],
)
def test_a_wrong_shape_is_named(scene_with: Callable[..., Scene], field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Scene {field}.* has shape .* allowed"):
        scene_with(**{field: value})


@pytest.mark.parametrize("value", [np.nan, np.inf, -11.0])
@pytest.mark.parametrize("field", ["grasp_point", "cup", "seen_hand", "seen_cup", "start"])
def test_a_place_off_the_world_is_named(scene_with: Callable[..., Scene], field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Scene {field} is .*within 10 m"):
        scene_with(**{field: np.array([0.1, value])})


@pytest.mark.parametrize("radius", [0.0, -0.01, np.nan, np.inf])
def test_a_radius_must_be_above_zero(scene_with: Callable[..., Scene], radius: float) -> None:
    with pytest.raises(ValueError, match="Scene cup_radius"):
        scene_with(cup_radius=radius)
