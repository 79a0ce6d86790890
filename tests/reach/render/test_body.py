"""Torque shows as colour at its joint, and touch at its finger."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

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
    for k, colour in ((finger, palette.LIT), (1 - finger, palette.SKIN)):
        assert tuple(frame[pixel(scene.fingers[k].mean(axis=0).tolist())]) == colour


def test_fingers_close(scene_with: Make) -> None:
    closed = scene_with().fingers.copy()
    closed[0, :, 0], closed[1, :, 0] = 0.10, 0.15
    frame = draw(scene_with(fingers=closed), 600, 600)
    for x in (0.10, 0.15):
        assert tuple(frame[pixel([x, 0.40])]) == palette.SKIN
    for x in (0.07, 0.18):
        assert tuple(frame[pixel([x, 0.42])]) != palette.SKIN
