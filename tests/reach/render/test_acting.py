"""What acts is drawn where it acts, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from reach.render import Scene, draw

SIZE = 300


def changed(scene_with: Callable[..., Scene], **acting: Any) -> np.ndarray:
    """Places (n, 2) column, row of the pixels that differ from the picture without what acts."""
    plain, other = draw(scene_with(), SIZE, SIZE), draw(scene_with(**acting), SIZE, SIZE)
    rows, columns = np.nonzero(np.any(plain != other, axis=2))
    return np.stack([columns, rows], axis=1)


def pixel(place: Any) -> np.ndarray:
    """Column and row of a place (x, y) m: the square of 0.9 m about (0, 0.33)."""
    x, y = np.asarray(place) - (0.0, 0.33)
    return np.array([0.5 * SIZE - 0.5 + x * SIZE / 0.9, 0.5 * SIZE - 0.5 - y * SIZE / 0.9])


def distance_to_arm(places: np.ndarray, scene: Scene) -> np.ndarray:
    """Of pixels from the line shoulder, elbow, wrist, m."""
    joints = np.array([pixel(joint) for joint in scene.joints[:3]])
    nearest = np.full(len(places), np.inf)
    for start, end in pairwise(joints):
        along = np.clip((places - start) @ (end - start) / np.sum((end - start) ** 2), 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(places - start - along[:, None] * (end - start), axis=1))
    return nearest * 0.9 / SIZE


@pytest.mark.parametrize("muscle", range(8))
def test_an_active_muscle_changes_the_arm_and_nothing_else(scene_with: Callable[..., Scene], muscle: int) -> None:
    rest = np.full(8, 0.05)
    active = rest.copy()
    active[muscle] = 1.0
    quiet, busy = (draw(scene_with(activation=one), SIZE, SIZE) for one in (rest, active))
    rows, columns = np.nonzero(np.any(quiet != busy, axis=2))
    assert len(rows) > 10
    assert np.max(distance_to_arm(np.stack([columns, rows], axis=1), scene_with())) < 0.06


def test_torques_colour_their_joints_and_the_sign_their_hue(scene_with: Callable[..., Scene]) -> None:
    for joint in range(3):
        effort = np.zeros(3)
        effort[joint] = 0.8
        places = changed(scene_with, effort=effort)
        assert len(places) > 5
        assert np.max(np.linalg.norm(places - pixel(scene_with().joints[joint]), axis=1)) < 0.02 * SIZE / 0.9
        flexed, extended = (draw(scene_with(effort=sign * effort), SIZE, SIZE) for sign in (1.0, -1.0))
        column, row = np.round(pixel(scene_with().joints[joint])).astype(int)
        assert flexed[row, column, 0] > flexed[row, column, 2]
        assert extended[row, column, 2] > extended[row, column, 0]


@pytest.mark.parametrize("force", [(8.0, 0.0), (0.0, 8.0), (-5.0, -5.0)])
def test_the_arrow_of_a_force_starts_at_the_hand_and_points_its_way(
    scene_with: Callable[..., Scene], force: tuple[float, float]
) -> None:
    places = changed(scene_with, hand_force_n=np.array(force))
    away = places.mean(axis=0) - pixel(scene_with().grasp_point)
    seen = np.array([away[0], -away[1]]) / np.linalg.norm(away)
    np.testing.assert_allclose(seen, np.array(force) / np.linalg.norm(force), atol=0.15)


def test_a_field_and_a_channel_are_drawn_on_the_table(scene_with: Callable[..., Scene]) -> None:
    field = changed(scene_with, field_n_s_per_m=np.array([[0.0, 13.0], [-13.0, 0.0]]))
    assert np.ptp(field, axis=0).min() > 0.3 * SIZE
    channel = changed(scene_with, channel=np.array([0.0, 1.0]))
    # Two walls of 0.32 m, 2.8 cm apart.
    np.testing.assert_allclose(np.ptp(channel, axis=0) * 0.9 / SIZE, [0.028, 0.32], atol=0.02)


def test_a_cup_that_was_taken_away_leaves_an_outline(scene_with: Callable[..., Scene]) -> None:
    scene = scene_with()
    gone = draw(scene_with(cup_present=False), SIZE, SIZE)
    column, row = np.round(pixel(scene.cup)).astype(int)
    assert np.any(gone[row, column] != draw(scene, SIZE, SIZE)[row, column])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("activation", np.zeros(6), r"activation has shape \(6,\); \(8,\)"),
        ("activation", np.full(8, 1.5), "within 1 are allowed"),
        ("effort", np.full(3, np.nan), "effort is .*finite"),
        ("hand_force_n", np.zeros(3), "hand_force_n has shape"),
        ("field_n_s_per_m", np.zeros(4), "field_n_s_per_m has shape"),
        ("channel", np.array([3.0, 0.0]), "channel is"),
    ],
)
def test_what_cannot_act_is_refused_by_name(
    scene_with: Callable[..., Scene], field: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scene_with(**{field: value})
