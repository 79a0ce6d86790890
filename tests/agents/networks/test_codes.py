"""Populations code numbers as rates, and commands are read from rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.networks.population_code import PopulationCode

CODE = PopulationCode(low=(-1.0, 0.0), high=(1.0, 4.0), cells=9, peak_hz=80.0)


def test_a_cell_fires_most_for_the_number_at_its_centre() -> None:
    for k, value in enumerate(np.linspace(-1.0, 1.0, 9)):
        rates = CODE.rates_hz(np.array([value, 0.0]))
        assert np.argmax(rates[:9]) == k
        assert rates[k] == pytest.approx(80.0)
        assert rates[9] == pytest.approx(80.0)
    assert CODE.rates_hz(np.array([-1.0 + 0.25, 0.0]))[0] == pytest.approx(80.0 * math.exp(-0.5))


def test_a_population_s_centre_of_mass_gives_the_number_back() -> None:
    centres = np.linspace(-1.0, 1.0, 9)
    for value in (-0.4, 0.0, 0.3):
        rates = CODE.rates_hz(np.array([value, 2.0]))[:9]
        assert centres @ rates / rates.sum() == pytest.approx(value, abs=0.01)


def test_rates_are_written_where_asked() -> None:
    out = np.empty(CODE.size)
    assert CODE.rates_hz(np.array([0.1, 0.2]), out) is out


@pytest.mark.parametrize("values", [np.zeros(3), np.array([0.0, math.nan])])
def test_what_is_no_value_of_the_code_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(2,\) finite numbers"):
        CODE.rates_hz(values)


def test_a_code_without_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match="below its high"):
        PopulationCode(low=(1.0,), high=(0.0,))
