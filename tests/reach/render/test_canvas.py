"""A shape covers of each pixel what its outline covers, and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reach.render.canvas import (
    COLUMNS,
    HOLLOW,
    ROUND,
    ROUND_THEN_STRAIGHT,
    STRAIGHT,
    draw_capsule,
    draw_path,
    draw_shapes,
)

SIDE = 40
FINE = 8
INK, EDGE = (250.0, 120.0, 10.0), (30.0, 40.0, 50.0)


def laid(x0: float, y0: float, x1: float, y1: float, radius: float, ends: float) -> NDArray[np.float64]:
    """Coverage, (SIDE, SIDE) 0..1, of one capsule of even thickness."""
    frame = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    white = (255.0, 255.0, 255.0)
    draw_capsule(frame, x0, y0, radius, x1, y1, radius, ends, 0.0, white, white)
    return frame[:, :, 0] / 255.0


def covered(x0: float, y0: float, x1: float, y1: float, radius: float, ends: float) -> NDArray[np.float64]:
    """The same by counting a fine grid of points, each in or out by geometry."""
    steps = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    x, y = steps[None, :] - x0, steps[:, None] - y0
    dx, dy = x1 - x0, y1 - y0
    squared = max(dx * dx + dy * dy, 1e-12)
    along = (x * dx + y * dy) / squared
    if ends == STRAIGHT:
        across = np.abs(x * dy - y * dx) / np.sqrt(squared)
        inside = (along >= 0.0) & (along <= 1.0) & (across <= radius)
    else:
        clipped = np.clip(along, 0.0, 1.0)
        inside = np.hypot(x - clipped * dx, y - clipped * dy) <= radius
    share: NDArray[np.float64] = inside.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    return share


@settings(max_examples=150)
@given(
    ends=st.sampled_from([ROUND, STRAIGHT]),
    x0=st.floats(-10.0, 50.0),
    y0=st.floats(-10.0, 50.0),
    turn=st.floats(0.0, 6.3),
    length=st.floats(3.0, 60.0),
    radius=st.floats(1.0, 15.0),
)
def test_a_pixel_is_covered_as_far_as_the_shape_reaches_into_it(
    ends: float, x0: float, y0: float, turn: float, length: float, radius: float
) -> None:
    shape = (x0, y0, x0 + length * np.cos(turn), y0 + length * np.sin(turn), radius, ends)
    # The distance to the outline tells the covered part but for slants and, at straight ends, corners.
    np.testing.assert_allclose(laid(*shape), covered(*shape), atol=0.2 if ends == ROUND else 0.45)


@pytest.mark.parametrize("ends", [ROUND, STRAIGHT, ROUND_THEN_STRAIGHT])
def test_a_rim_lines_the_fill_and_a_hollow_shape_leaves_its_inside(ends: float) -> None:
    filled = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)
    hollow = filled.copy()
    draw_capsule(filled, 10.0, 20.0, 8.0, 30.0, 20.0, 5.0, ends, 2.0, INK, EDGE)
    draw_capsule(hollow, 10.0, 20.0, 8.0, 30.0, 20.0, 5.0, ends, 2.0, HOLLOW, EDGE)
    assert tuple(filled[20, 20]) == INK
    assert tuple(hollow[20, 20]) == (90, 90, 90)
    rim = np.all(filled == EDGE, axis=-1)
    assert rim.sum() > 10
    np.testing.assert_array_equal(rim, np.all(hollow == EDGE, axis=-1))


def test_a_taper_narrows_evenly() -> None:
    frame = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    draw_capsule(frame, 5.0, 20.0, 10.0, 35.0, 20.0, 0.0, STRAIGHT, 0.0, INK, INK)
    thick = (frame[:, :, 0] / INK[0]).sum(axis=0)
    np.testing.assert_allclose(thick[8:32], 20.0 * (1.0 - (np.arange(8, 32) - 5.0) / 30.0), atol=0.4)


def test_later_shapes_lie_over_earlier_ones() -> None:
    row = [20.0, 20.0, 5.0, 20.0, 20.0, 5.0, ROUND, 0.0]
    shapes = np.array([[*row, *INK, *INK], [*row, *EDGE, *EDGE]])
    assert shapes.shape == (2, COLUMNS)
    frame = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    draw_shapes(frame, shapes)
    assert tuple(frame[20, 20]) == EDGE


@pytest.mark.parametrize("middle", [(-1e5, 20.0), (20.0, 1e5), (-30.0, -30.0), (SIDE + 20.0, 20.0)])
def test_a_shape_outside_leaves_the_frame(middle: tuple[float, float]) -> None:
    frame = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    draw_capsule(frame, *middle, 9.0, *middle, 9.0, ROUND, 1.0, INK, EDGE)
    assert not frame.any()


def test_a_path_passes_its_points() -> None:
    path = np.array([[0.1, 0.1], [0.2, 0.3], [0.35, 0.2], [0.3, 0.05]])
    frame = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    draw_path(frame, path, 1, 0.0, float(SIDE), 100.0, 1.0, 0.0, INK)
    for x, y in path:
        assert frame[round(SIDE - 100.0 * y), round(100.0 * x), 0] >= 0.5 * INK[0]
