"""The compiled filters are a convolution."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.networks.gabor_filters import ORIENTATIONS, GaborFilters


@settings(deadline=None, max_examples=30)
@given(st.integers(32, 70), st.integers(4, 16), st.integers(1, 8), st.floats(0.0, 1.0), st.integers(0, 2**31))
def test_answers_are_those_of_a_convolution_with_a_margin_of_table(
    size: int, wavelength_px: int, step_px: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    contrast = rng.normal(size=(size, size)) * (rng.random((size, size)) < share)
    filters = GaborFilters(wavelength_px, step_px)
    kernels = torch.from_numpy(filters.filters.transpose(2, 0, 1).copy())[:, None]
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(contrast)[None, None], kernels, stride=step_px, padding=kernels.shape[-1] // 2
    )[0].numpy()
    even, odd = filters.answers(contrast)
    np.testing.assert_allclose(even, expected[:ORIENTATIONS], atol=1e-12)
    np.testing.assert_allclose(odd, expected[ORIENTATIONS:], atol=1e-12)


def test_even_filters_do_not_answer_to_a_plain_picture() -> None:
    even, _ = GaborFilters(8.0, 4).answers(np.ones((64, 64)))
    np.testing.assert_allclose(even[:, 4:-4, 4:-4], 0.0, atol=1e-12)
