"""The bank of oriented filters: what its cells prefer, and what leaves them cold."""

from __future__ import annotations

import numpy as np
import pytest

from agents.networks.gabor_filters import ORIENTATIONS
from agents.networks.v1_bank import SIZES, TOGETHER, V1Bank
from reach.sim.retina import TABLE

BANK = V1Bank()
# Of the smaller cells: five kinds (four simple, one complex) of each orientation on a grid of places.
SMALL = 16 * 16


def picture(values: np.ndarray) -> np.ndarray:
    return np.asarray(TABLE) * (1.0 - 0.5 * values[..., None])


def complex_cells(seen: np.ndarray) -> np.ndarray:
    """Of the smaller size, (orientations, rows, columns)."""
    cells = BANK.activity(seen)[: 5 * ORIENTATIONS * SMALL].reshape(5, ORIENTATIONS, 16, 16)
    return cells[4]


def test_an_empty_table_excites_no_cell() -> None:
    np.testing.assert_allclose(BANK.activity(picture(np.zeros((64, 64)))), 0.0, atol=1e-12)


@pytest.mark.parametrize("preferred", range(ORIENTATIONS))
def test_a_complex_cell_prefers_its_orientation_whatever_the_phase(preferred: int) -> None:
    y, x = np.mgrid[:64, :64]
    angle = np.pi * preferred / ORIENTATIONS
    across = (x * np.cos(angle) + y * np.sin(angle)) * 2.0 * np.pi / (64 * SIZES[0][0])
    answers = [complex_cells(picture(0.5 + 0.5 * np.cos(across + phase)))[:, 5:11, 5:11] for phase in (0.0, 1.0, 2.5)]
    for answer in answers:
        assert np.all(np.argmax(answer.mean(axis=(1, 2)), axis=0) == preferred)
    strengths = [answer[preferred].mean() for answer in answers]
    assert np.ptp(strengths) < 0.1 * np.mean(strengths)


def test_all_cells_together_are_held_to_one_strength() -> None:
    spot = np.zeros((64, 64))
    spot[20:25, 30:35] = 1.0
    for contrast in (0.1, 1.0):
        assert np.linalg.norm(BANK.activity(picture(contrast * spot))) == pytest.approx(TOGETHER)


def test_another_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        BANK.activity(np.zeros((32, 32, 3)))
