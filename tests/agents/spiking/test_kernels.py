"""Spike trains of sources have the rates and statistics that their names promise."""

from __future__ import annotations

import numpy as np

from agents.spiking.kernels import write_poisson, write_regular

RATES_HZ = np.array([0.0, 5.0, 40.0, 200.0])


def poisson(steps: int, first_step: int = 0, seed: int = 3) -> np.ndarray:
    train = np.empty((steps, len(RATES_HZ)), dtype=np.uint8)
    write_poisson(RATES_HZ, seed, first_step, train)
    return train


def test_poisson_trains_have_their_rates_and_no_memory() -> None:
    train = poisson(200_000).astype(float)
    np.testing.assert_allclose(train.mean(axis=0) * 1000.0, RATES_HZ, rtol=0.05)
    for source in (2, 3):
        deviation = train[:, source] - train[:, source].mean()
        for lag in (1, 2, 10):
            covariance = np.mean(deviation[:-lag] * deviation[lag:])
            assert abs(covariance) < 4.0 * deviation.var() / np.sqrt(len(deviation))
    assert abs(np.corrcoef(train[:, 2], train[:, 3])[0, 1]) < 0.01


def test_a_poisson_train_does_not_depend_on_the_length_of_the_calls() -> None:
    np.testing.assert_array_equal(poisson(100), np.concatenate([poisson(30), poisson(70, first_step=30)]))
    assert np.any(poisson(100) != poisson(100, seed=4))


def test_regular_trains_fire_at_their_period() -> None:
    train = np.empty((1000, 4), dtype=np.uint8)
    phase = np.zeros(4)
    write_regular(RATES_HZ, phase, train)
    assert np.all(np.abs(train.sum(axis=0) - RATES_HZ) <= 1)
    assert set(np.diff(np.flatnonzero(train[:, 2]))) == {25}
    assert np.all((phase >= 0.0) & (phase < 1.0))


def test_a_rate_of_one_spike_a_step_fires_in_every_step() -> None:
    trains = np.empty((2, 50, 1), dtype=np.uint8)
    write_poisson(np.array([1000.0]), 0, 0, trains[0])
    write_regular(np.array([1000.0]), np.zeros(1), trains[1])
    assert np.all(trains == 1)
