"""The arm's kinematics and inverse dynamics agree with each other and with the body they describe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reach import Arm

ARM = Arm.winter()
postures = arrays(np.float64, 3, elements=st.floats(-1.0, 2.4))


def test_winter_segments_are_the_table_s() -> None:
    arm = Arm.winter(height_m=2.0, mass_kg=100.0)
    assert arm.length == pytest.approx((0.372, 0.292, 0.216))
    assert arm.mass == pytest.approx((2.8, 1.6, 0.6))
    assert arm.centre[0] == pytest.approx(0.436 * 0.372)
    assert arm.inertia[1] == pytest.approx(1.6 * (0.303 * 0.292) ** 2)


@given(postures)
def test_jacobian_is_the_derivative_of_the_hand(angle: np.ndarray) -> None:
    step = 1e-6
    numeric = np.stack(
        [(ARM.hand(angle + step * e) - ARM.hand(angle - step * e)) / (2 * step) for e in np.eye(3)], axis=1
    )
    np.testing.assert_allclose(ARM.jacobian(angle), numeric, atol=1e-8)


@given(st.floats(0.05, 2.5), st.floats(-1.0, 1.0), st.floats(-0.5, 2.4))
def test_inverse_kinematics_undoes_the_forward(elbow: float, wrist: float, shoulder: float) -> None:
    angle = np.array([shoulder, elbow, wrist])
    found = ARM.inverse_kinematics(ARM.hand(angle), float(np.sum(angle)))
    turned = (found - angle + math.pi) % (2 * math.pi) - math.pi
    np.testing.assert_allclose(turned, 0.0, atol=1e-6)


def test_posture_out_of_reach_is_none() -> None:
    assert ARM.posture_for((0.0, 0.9), 1.5) is None


def test_segments_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"height_m is 0\.1"):
        Arm.winter(height_m=0.1)
