"""Torque shows as colour at its joint, and touch at its finger."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from reach.render import Scene, draw, palette

Make = Callable[..., Scene]


def pixel(place: list[float]) -> tuple[int, int]:
    """Row and column of a place (m) in a picture of 600 pixels."""
    return round(299.5 - (place[1] - 0.33) * 600 / 0.9), round(299.5 + place[0] * 600 / 0.9)


@pytest.mark.parametrize("joint", [0, 1, 2])
@pytest.mark.parametrize(
    ("effort", "colour"), [(1.0, palette.FLEXION), (-1.0, palette.EXTENSION), (0.0, palette.JOINT)]
)
def test_the_colour_of_a_joint_is_its_torque(
    scene_with: Make, joint: int, effort: float, colour: tuple[int, int, int]
) -> None:
    efforts = np.zeros(3)
    efforts[joint] = effort
    scene = scene_with(effort=efforts)
    frame = draw(scene, 600, 600)
    assert tuple(frame[pixel(scene.joints[joint].tolist())]) == colour
    other = (joint + 1) % 3
    assert tuple(frame[pixel(scene.joints[other].tolist())]) == palette.JOINT


@pytest.mark.parametrize("width", [84, 600])
def test_a_torque_changes_its_joint_and_nothing_else(scene_with: Make, width: int) -> None:
    for joint in range(3):
        efforts = np.zeros(3)
        efforts[joint] = 0.5
        frames = [draw(scene_with(effort=values), width, width) for values in (np.zeros(3), efforts)]
        rows, columns = np.nonzero(np.any(frames[0] != frames[1], axis=-1))
        assert len(rows) > 0
        x, y = scene_with().joints[joint]
        away = np.hypot(
            (columns - 0.5 * width + 0.5) * 0.9 / width - x, 0.33 - (rows - 0.5 * width + 0.5) * 0.9 / width - y
        )
        assert away.max() < 0.023 + 0.9 / width


@pytest.mark.parametrize("finger", [0, 1])
def test_a_touched_finger_lights_up_and_the_other_does_not(scene_with: Make, finger: int) -> None:
    touch = np.zeros(3, dtype=np.bool_)
    touch[finger] = True
    scene = scene_with(touch=touch)
    frame = draw(scene, 600, 600)
    for k, colour in ((finger, palette.TOUCHED), (1 - finger, palette.SKIN)):
        assert tuple(frame[pixel(scene.fingers[k].mean(axis=0).tolist())]) == colour


def test_fingers_close(scene_with: Make) -> None:
    closed = scene_with().fingers.copy()
    closed[0, :, 0], closed[1, :, 0] = 0.10, 0.15
    frame = draw(scene_with(fingers=closed), 600, 600)
    for x in (0.10, 0.15):
        assert tuple(frame[pixel([x, 0.40])]) == palette.SKIN
    for x in (0.07, 0.18):
        assert tuple(frame[pixel([x, 0.42])]) != palette.SKIN


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
