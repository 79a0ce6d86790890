"""Commands are read from the rates of output cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.spiking.readouts import AntagonistReadout, LinearReadout, antagonist_signs


def test_flexors_and_extensors_pull_on_their_joint_alone() -> None:
    readout = AntagonistReadout(joints=3, cells_per_muscle=4, per_hz=0.02)
    rates = np.zeros(24)
    rates[8:12] = 10.0  # flexors of the second joint
    rates[20:24] = 5.0  # extensors of the third
    np.testing.assert_allclose(readout.command(rates), [0.0, 0.2, -0.1])
    np.testing.assert_array_equal(antagonist_signs(3, 4).sum(axis=0), 0.0)


def test_a_linear_readout_is_a_weighted_sum() -> None:
    weight = np.array([[1.0, 0.0], [0.5, -2.0]])
    np.testing.assert_allclose(LinearReadout(weight).command(np.array([2.0, 4.0])), [4.0, -8.0])
    with pytest.raises(ValueError, match="finite numbers"):
        LinearReadout(np.full((2, 2), math.nan))
