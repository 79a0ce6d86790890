"""Gabor filters, V1 cells and receptors: filters are a convolution, and cells prefer what they should."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.networks.sensory_cells import NORM, ORIENTATIONS, SCALES, ComplexCells, GaborFilters, Receptors, V1Bank
from reach.sim.retina import CUP_RGB, HAND_RGB, TABLE_RGB

# Made when first used: making them compiles.
bank, complex_cells = cache(V1Bank), cache(ComplexCells)
PHASES = (0.0, 1.0, 2.5)


def table_with(colour: Any, share: np.ndarray) -> np.ndarray:
    """A picture of which each pixel has a share of a colour, and the rest of the table's."""
    return np.array(TABLE_RGB) + share[..., None] * (np.array(colour) - np.array(TABLE_RGB))


def disc(row: int, column: int, radius: float = 2.5) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (np.hypot(y - row, x - column) < radius).astype(float)


def grating(orientation: int, phase: float) -> np.ndarray:
    """Waves of the smaller cells' wavelength, 0..1."""
    y, x = np.mgrid[:64, :64]
    angle = np.pi * orientation / ORIENTATIONS
    across = (x * np.cos(angle) + y * np.sin(angle)) * 2.0 * np.pi / (64 * SCALES[0][0])
    return 0.5 + 0.5 * np.cos(across + phase)


@settings(deadline=None, max_examples=30)
@given(st.integers(32, 70), st.integers(4, 16), st.integers(1, 8), st.floats(0.0, 1.0), st.integers(0, 2**31))
def test_responses_are_those_of_a_convolution_with_a_margin_of_table(
    size: int, wavelength_px: int, step_px: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    contrast = rng.normal(size=(size, size)) * (rng.random((size, size)) < share)
    filters = GaborFilters(wavelength_px, step_px)
    kernels = torch.from_numpy(filters.filters.transpose(2, 0, 1).copy())[:, None]
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(contrast)[None, None], kernels, stride=step_px, padding=kernels.shape[-1] // 2
    )[0].numpy()
    np.testing.assert_allclose(np.concatenate(filters.responses(contrast)), expected, atol=1e-12)


def test_even_filters_do_not_respond_to_a_uniform_picture() -> None:
    even, _ = GaborFilters(8.0, 4).responses(np.ones((64, 64)))
    np.testing.assert_allclose(even[:, 4:-4, 4:-4], 0.0, atol=1e-12)


@pytest.mark.parametrize("cells", [bank, complex_cells])
def test_an_empty_table_excites_no_cell_and_activities_have_one_norm(cells: Any) -> None:
    np.testing.assert_allclose(cells().activity(table_with(CUP_RGB, np.zeros((64, 64)))), 0.0, atol=1e-12)
    for contrast in (0.1, 1.0):
        activity = cells().activity(table_with(CUP_RGB, contrast * disc(25, 30)))
        assert np.linalg.norm(activity) == pytest.approx(NORM)


@pytest.mark.parametrize("preferred", range(ORIENTATIONS))
def test_complex_cells_prefer_their_orientation_whatever_the_phase(preferred: int) -> None:
    strengths = []
    for phase in PHASES:
        # Of the smaller size there are five kinds, four simple cells and then the complex one, on 16 x 16 places.
        dark = np.asarray(TABLE_RGB) * (1.0 - 0.5 * grating(preferred, phase)[..., None])
        luminance = bank().activity(dark)[: 5 * ORIENTATIONS * 256].reshape(5, ORIENTATIONS, 16, 16)[4, :, 5:11, 5:11]
        assert np.all(np.argmax(luminance.mean(axis=(1, 2)), axis=0) == preferred)
        strengths.append(luminance[preferred].mean())
        colour = complex_cells().activity(table_with(CUP_RGB, grating(preferred, phase)))
        assert np.all(np.argmax(colour.reshape(ORIENTATIONS, 8, 8)[:, 2:6, 2:6], axis=0) == preferred)
    assert np.ptp(strengths) < 0.1 * np.mean(strengths)


def test_a_dark_hand_beside_the_cup_hardly_changes_the_response_to_colour() -> None:
    cup = table_with(CUP_RGB, disc(25, 30))
    both = cup + table_with(HAND_RGB, disc(45, 20, 5.0)) - np.array(TABLE_RGB)
    assert complex_cells().activity(cup) @ complex_cells().activity(both) / NORM**2 > 0.95
    elsewhere = table_with(CUP_RGB, disc(25, 42))
    assert complex_cells().activity(cup) @ complex_cells().activity(elsewhere) / NORM**2 < 0.6


def test_receptors_respond_to_the_light_that_the_table_would_add() -> None:
    receptors = Receptors(32)
    picture = np.broadcast_to(np.array(TABLE_RGB), (32, 32, 3)).copy()
    np.testing.assert_array_equal(receptors.activity(picture), 0.0)
    picture[3, 5, 1] = 0.0
    activity = receptors.activity(picture).reshape(3, 32, 32)
    assert activity[1, 3, 5] == 1.0
    assert np.count_nonzero(activity) == 1


@pytest.mark.parametrize("kind", [V1Bank, ComplexCells, Receptors])
def test_other_pictures_are_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"picture: expected shape \(64, 64, 3\), got \(32, 32, 3\)"):
        kind().activity(np.zeros((32, 32, 3)))
    if kind is not Receptors:
        with pytest.raises(ValueError, match="retina_px: expected 32 or more, got 16"):
            kind(16)
