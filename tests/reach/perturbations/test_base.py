"""A perturbation can be made larger, smaller or turned to the other side, and stays what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach import CupJump, CurlField, DelayChange, ErrorClamp, Gain, HideHand, Load, Prism, Rotation, VelocityField
from reach.perturbations import PERTURBATIONS, has_size, scaled, write_perturbations
from reach.sim import layout as s

WITHOUT_SIZE = {
    "hide-hand", "end-vision", "mirror-reversal", "force-channel", "cup-mark", "cup-removed", "slip", "error-clamp",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PERTURBATIONS))
def test_one_times_a_perturbation_is_itself_and_only_those_with_a_size_have_one(kind: str) -> None:
    perturbation: Any = PERTURBATIONS[kind]()
    assert scaled(perturbation, 1.0) == perturbation
    assert has_size(perturbation) == (kind not in WITHOUT_SIZE)
    assert scaled(perturbation, 0.5).kind == kind


@given(st.floats(-1.5, 1.5))
def test_sizes_grow_in_proportion(scale: float) -> None:
    assert scaled(Rotation(30.0, 0.2), scale) == Rotation(30.0 * scale, 0.2)
    assert scaled(Prism(0.06), scale) == Prism(0.06 * scale)
    assert scaled(CurlField(13.0), scale) == CurlField(13.0 * scale)
    assert scaled(CupJump(0.04, 0.02, 0.3), scale) == CupJump(0.04 * scale, 0.02 * scale, 0.3)
    assert scaled(VelocityField(), scale).b_yy == pytest.approx(11.1 * scale)
    assert scaled(ErrorClamp(3.5), scale) == ErrorClamp(3.5 * scale)


def test_a_gain_to_the_other_side_undoes_it_and_none_of_it_is_one() -> None:
    assert scaled(Gain(1.5), -1.0).factor == pytest.approx(1.0 / 1.5)
    assert scaled(Gain(1.5), 0.0) == Gain(1.0)
    assert not has_size(Gain(1.0))


def test_a_delay_stays_in_steps_of_five_milliseconds() -> None:
    for scale in np.linspace(0.0, 1.0, 23):
        steps = scaled(DelayChange(0.1), float(scale)).later_s / 0.005
        assert steps == pytest.approx(round(steps), abs=1e-6)


def test_none_of_a_perturbation_changes_nothing() -> None:
    rows = np.zeros((2, s.COLUMNS))
    write_perturbations((scaled(CurlField(), 0.0), scaled(Load(1.0), 0.0), HideHand()), rows[0])
    write_perturbations((CurlField(0.0), HideHand()), rows[1])
    np.testing.assert_array_equal(rows[0], rows[1])


def test_a_size_that_is_not_allowed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Load kilograms: .* got -1\.0"):
        scaled(Load(1.0), -1.0)
