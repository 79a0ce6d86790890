"""A muscle is seen where it lies, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, palette

Make = Callable[..., Scene]
SIDE_PX = 600
SHOULDER_FLEXOR, SHOULDER_EXTENSOR, ELBOW_FLEXOR, ELBOW_EXTENSOR, BOTH_FLEXOR, BOTH_EXTENSOR = range(6)
WRIST_FLEXOR, WRIST_EXTENSOR = 6, 7
# Shares of the way from shoulder to wrist between which a muscle lies; the elbow is at the middle of it.
SPANS = {0: (-0.12, 0.26), 1: (-0.12, 0.26), 2: (0.2, 0.65), 3: (0.2, 0.65), 4: (0.0, 0.7), 5: (0.0, 0.7)}
SPANS |= {6: (0.6, 1.0), 7: (0.6, 1.0)}
REACH_M = 0.5


def straight(make: Make, degrees: float, activations: NDArray[np.float64]) -> Scene:
    """An arm held straight, in a direction from the shoulder."""
    ahead = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    joints = np.array([0.0, 0.5, 1.0, 1.1])[:, None] * REACH_M * ahead
    fingers = np.full((2, 2, 2), joints[3])
    return make(joints=joints, fingers=fingers, grasp_point=joints[3], seen_hand=joints[3], activation=activations)


def changed(make: Make, degrees: float, muscle: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels that differ between a muscle at rest and at full activation: share of the reach, and distance (m) to the
    left of the arm."""
    rest, active = np.zeros(8), np.zeros(8)
    active[muscle] = 1.0
    first, second = (draw(straight(make, degrees, values), SIDE_PX, SIDE_PX) for values in (rest, active))
    rows, columns = np.nonzero(np.any(first != second, axis=-1))
    x = (columns - 299.5) * 0.9 / SIDE_PX
    y = 0.33 - (rows - 299.5) * 0.9 / SIDE_PX
    turn = np.radians(degrees)
    return (x * np.cos(turn) + y * np.sin(turn)) / REACH_M, y * np.cos(turn) - x * np.sin(turn)


@pytest.mark.parametrize("degrees", [0.0, 70.0, 130.0])
@pytest.mark.parametrize("muscle", range(8))
def test_an_active_muscle_changes_the_arm_on_its_side_and_nothing_else(
    scene_with: Make, muscle: int, degrees: float
) -> None:
    share, left = changed(scene_with, degrees, muscle)
    assert len(share) > 100
    side = left if muscle % 2 == 0 else -left
    pixel_m = 0.9 / SIDE_PX
    assert side.min() > -pixel_m, "flexors lie on the left of the arm, extensors on its right"
    assert side.max() < 0.046, "inside the arm"
    lowest, highest = SPANS[muscle]
    assert share.min() > lowest - 0.02
    assert share.max() < highest + 0.02


def test_a_muscle_grows_with_its_activation(scene_with: Make) -> None:
    strong = []
    for activation in (0.25, 0.5, 0.75, 1.0):
        values = np.zeros(8)
        values[ELBOW_FLEXOR] = activation
        frame = draw(straight(scene_with, 40.0, values), SIDE_PX, SIDE_PX).astype(int)
        rest = draw(straight(scene_with, 40.0, np.zeros(8)), SIDE_PX, SIDE_PX).astype(int)
        strong.append(np.abs(frame - rest).sum())
    assert strong == sorted(strong)
    assert strong[0] > 0


@pytest.mark.parametrize(("muscle", "colour"), [(BOTH_FLEXOR, palette.FLEXION), (BOTH_EXTENSOR, palette.EXTENSION)])
def test_flexors_and_extensors_have_the_colours_of_the_key(
    scene_with: Make, muscle: int, colour: tuple[int, int, int]
) -> None:
    def count(activation: float) -> int:
        values = np.zeros(8)
        values[muscle] = activation
        return int(np.all(draw(straight(scene_with, 60.0, values), SIDE_PX, SIDE_PX) == colour, axis=-1).sum())

    key = count(0.0)
    assert key > 20
    assert count(1.0) > key + 100


def test_a_muscle_shows_in_a_small_picture(scene_with: Make) -> None:
    first, second = (draw(straight(scene_with, 60.0, np.full(8, value)), 84, 84) for value in (0.0, 1.0))
    assert np.any(first != second, axis=-1).sum() > 50


@pytest.mark.parametrize("width", [84, 600])
def test_muscles_follow_an_arm_bent_double_or_without_length(scene_with: Make, width: int) -> None:
    for joints in (np.zeros((4, 2)), np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.0], [0.0, 0.1]])):
        assert draw(scene_with(joints=joints, activation=np.ones(8)), width, width).shape == (width, width, 3)
