"""Complex cells for colour: what they prefer, and what leaves them cold."""

from __future__ import annotations

import numpy as np
import pytest

from agents.networks.complex_cells import ComplexCells
from agents.networks.gabor_filters import ORIENTATIONS
from agents.networks.v1_bank import SIZES, TOGETHER
from reach.sim.retina import CUP, HAND, TABLE

CELLS = ComplexCells()


def table_with(thing: tuple[float, ...], share: np.ndarray) -> np.ndarray:
    """A picture of which each pixel has a share of the thing's colour."""
    return np.array(TABLE) + share[..., None] * (np.array(thing) - np.array(TABLE))


def disc(row: int, column: int, radius: float = 2.5) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (np.hypot(y - row, x - column) < radius).astype(float)


def test_an_empty_table_excites_no_cell() -> None:
    np.testing.assert_allclose(CELLS.activity(table_with(CUP, np.zeros((64, 64)))), 0.0, atol=1e-12)


@pytest.mark.parametrize("preferred", range(ORIENTATIONS))
def test_a_cell_prefers_its_orientation_whatever_the_phase(preferred: int) -> None:
    y, x = np.mgrid[:64, :64]
    angle = np.pi * preferred / ORIENTATIONS
    across = (x * np.cos(angle) + y * np.sin(angle)) * 2.0 * np.pi / (64 * SIZES[0][0])
    for phase in (0.0, 1.0, 2.5):
        seen = CELLS.activity(table_with(CUP, 0.5 + 0.5 * np.cos(across + phase)))
        within = seen.reshape(ORIENTATIONS, 8, 8)[:, 2:6, 2:6]
        assert np.all(np.argmax(within, axis=0) == preferred)


def test_a_dark_hand_beside_the_cup_hardly_changes_what_they_say() -> None:
    cup = table_with(CUP, disc(25, 30))
    both = cup + table_with(HAND, disc(45, 20, 5.0)) - np.array(TABLE)
    assert CELLS.activity(cup) @ CELLS.activity(both) / TOGETHER**2 > 0.95
    elsewhere = table_with(CUP, disc(25, 42))
    assert CELLS.activity(cup) @ CELLS.activity(elsewhere) / TOGETHER**2 < 0.6


def test_all_cells_together_are_held_to_one_strength() -> None:
    for contrast in (0.1, 1.0):
        assert np.linalg.norm(CELLS.activity(table_with(CUP, contrast * disc(25, 30)))) == pytest.approx(TOGETHER)


def test_another_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        CELLS.activity(np.zeros((32, 32, 3)))
    with pytest.raises(ValueError, match="retina_px is 16"):
        ComplexCells(16)
