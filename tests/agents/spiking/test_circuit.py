"""A circuit continues where it stopped, allocates nothing while it runs, and refuses what does not fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.core.runtime import _nrt_python, rtsys
from numpy.typing import NDArray

from agents.spiking.circuit import SpikingCircuit
from agents.spiking.kernels import CircuitState
from agents.spiking.lif import LIFCells
from agents.spiking.projections import Projection
from agents.spiking.stdp import PairSTDP

RATES_HZ = np.linspace(5.0, 60.0, 20)


def circuit(coding: str = "poisson", dtype: Any = np.float64, **rule: Any) -> SpikingCircuit:
    """Return a recurrent circuit with delays, both signs and plasticity everywhere."""
    plasticity = PairSTDP(**({"rate": 0.01, "depression": 0.5} | rule))
    return SpikingCircuit(
        20,
        {
            "hidden": LIFCells(
                30,
                inhibitory=6,
                membrane_ms=(10.0, 30.0),
                bias=0.85,
                first_voltage=(0.0, 0.9),
            ),
            "output": LIFCells(8, bias=1.1),
        },
        [
            Projection("input", "hidden", weight_sd=0.9, plasticity=plasticity),
            Projection("hidden", "hidden", weight_sd=0.3, probability=0.3, delay_steps=(0, 9), plasticity=plasticity),
            Projection("hidden", "output", weight_sd=0.3, delay_steps=2, plasticity=plasticity),
        ],
        np.random.default_rng(5),
        coding=coding,  # type: ignore[arg-type]
        dtype=dtype,
    )


def leaves(values: Any) -> list[np.ndarray]:
    """Return all arrays of a state."""
    return [values] if isinstance(values, np.ndarray) else [leaf for part in values for leaf in leaves(part)]


def assert_same(a: SpikingCircuit, b: SpikingCircuit, first: CircuitState, second: CircuitState) -> None:
    np.testing.assert_array_equal(a.synapses.weight, b.synapses.weight)
    for array, other in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("coding", ["poisson", "regular"])
def test_fifty_runs_of_20_steps_are_one_of_1000_bit_for_bit(coding: str, dtype: Any) -> None:
    whole, parts = (circuit(coding, dtype, eligibility_ms=15.0) for _ in range(2))
    first, second = whole.begin(), parts.begin()
    whole.run(first, RATES_HZ, 1000)
    for _ in range(50):
        parts.run(second, RATES_HZ, 20)
    for net, state in ((whole, first), (parts, second)):
        net.teach(state, {"input-hidden": 1.0})
    assert_same(whole, parts, first, second)
    assert np.any(first.spikes[20:] > 0)
    assert np.any(whole.synapses.weight != circuit(coding, dtype).synapses.weight)
    assert np.all(np.isfinite(whole.synapses.weight))


def test_a_circuit_filled_with_the_arrays_of_another_continues_like_it() -> None:
    original = circuit()
    state = original.begin()
    original.run(state, RATES_HZ, 200)
    other = circuit()
    other.run(other.begin(), RATES_HZ[::-1].copy(), 100)
    for name, array in original.arrays().items():
        other.arrays()[name][...] = array
    copied = other.begin()
    for target, source in zip(leaves(copied), leaves(state), strict=True):
        target[...] = source
    original.teach(state, {"input-hidden": np.ones(30)})
    other.teach(copied, {"input-hidden": np.ones(30)})
    original.run(state, RATES_HZ, 200)
    other.run(copied, RATES_HZ, 200)
    assert_same(original, other, state, copied)


def test_single_precision_follows_double_until_spikes_differ() -> None:
    single, double = circuit(dtype=np.float32), circuit(dtype=np.float64)
    first, second = single.begin(), double.begin()
    single.run(first, RATES_HZ, 50)
    double.run(second, RATES_HZ, 50)
    assert first.cells.voltage.dtype == single.synapses.weight.dtype == np.float32
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_allclose(first.cells.voltage, second.cells.voltage, atol=1e-5)
    np.testing.assert_allclose(
        single.eligibility(first, "input-hidden"), double.eligibility(second, "input-hidden"), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_silence_leaves_zeros_and_no_overflow(dtype: Any) -> None:
    net = circuit("regular", dtype, eligibility_ms=50.0)
    state = net.begin()
    net.run(state, RATES_HZ, 500)
    net.part(net.cells.bias, "hidden")[:] = 0.0
    net.part(net.cells.bias, "output")[:] = 0.0
    net.run(state, np.zeros(20), 20_000)
    for array in leaves(state):
        assert np.all(np.isfinite(array))
    for name in net.projections:
        np.testing.assert_array_equal(net.eligibility(state, name), 0.0)
    np.testing.assert_array_equal(state.cells.drive, 0.0)


def test_a_run_allocates_nothing() -> None:
    net = circuit()
    state = net.begin()
    train = np.zeros((400, 20), dtype=np.uint8)
    train[::3, ::2] = 1
    net.replay(state, train[:1])
    _nrt_python.memsys_enable_stats()
    try:
        counts = []
        for steps in (1, 400):
            before = rtsys.get_allocation_stats().alloc
            net.replay(state, train[:steps])
            counts.append(rtsys.get_allocation_stats().alloc - before)
    finally:
        _nrt_python.memsys_disable_stats()
    assert counts == [0, 0]


def test_one_modulator_teaches_all_targets_and_the_order_of_projections_does_not_matter() -> None:
    together, apart = circuit(), circuit()
    first, second = together.begin(), apart.begin()
    for net, state in ((together, first), (apart, second)):
        net.run(state, RATES_HZ, 200)
    before = together.synapses.weight.copy()
    together.teach(first, {"input-hidden": 0.3, "hidden-output": np.float32(-0.2)})
    apart.teach(second, {"hidden-output": np.full(8, np.float32(-0.2))})
    apart.teach(second, {"input-hidden": np.full(30, 0.3)})
    assert_same(together, apart, first, second)
    for net, state in ((together, first), (apart, second)):
        net.run(state, RATES_HZ, 20)
    assert_same(together, apart, first, second)
    assert np.any(together.weight("hidden-output") != before[-240:].reshape(30, 8))


def test_rates_of_populations_are_their_spikes_over_time() -> None:
    net = circuit("regular")
    state = net.begin()
    net.run(state, RATES_HZ, 1000)
    np.testing.assert_allclose(net.mean_rate_hz(state, "input"), RATES_HZ, atol=1.0)
    np.testing.assert_array_equal(net.mean_rate_hz(state, "output"), state.spikes[50:])
    net.run(state, RATES_HZ, 1000)
    assert net.rate_hz(state, "output").mean() == pytest.approx(net.mean_rate_hz(state, "output").mean(), rel=0.3)


def test_delays_that_change_during_a_run_apply_to_the_next() -> None:
    unchanged, written = circuit(), circuit()
    first, second = unchanged.begin(), written.begin()
    written.delay_steps("input-hidden")[:] = 50
    for net, state in ((unchanged, first), (written, second)):
        net.run(state, RATES_HZ, 200)
    np.testing.assert_array_equal(first.spikes, second.spikes)
    next_run = written.begin()
    written.run(next_run, RATES_HZ, 200)
    assert not np.array_equal(next_run.spikes, first.spikes)


@given(
    train=st.integers(1, 41).flatmap(
        lambda inputs: arrays(np.uint8, (20, inputs), elements=st.sampled_from([0, 0, 0, 1, 2, 128, 255]))
    )
)
def test_sources_fire_wherever_a_train_is_not_zero(train: NDArray[np.uint8]) -> None:
    inputs = train.shape[1]
    net = SpikingCircuit(inputs, {"cells": LIFCells(1)}, [Projection("input", "cells")], np.random.default_rng(0))
    state = net.begin()
    for row in train:
        net.replay(state, row[None])
        fired = state.fired[: state.fired_count[0]]
        np.testing.assert_array_equal(fired, np.flatnonzero(row))
    np.testing.assert_array_equal(state.spikes[:inputs], np.count_nonzero(train, axis=0))


def test_what_does_not_fit_is_refused() -> None:
    net = circuit()
    state = net.begin()
    for rate in (1001.0, np.nan):
        with pytest.raises(ValueError, match="0 to 1000 Hz"):
            net.run(state, np.full(20, rate), 1)
    with pytest.raises(ValueError, match="got -1"):
        net.run(state, RATES_HZ, -1)
    with pytest.raises(ValueError, match=r"\(steps, 20\)"):
        net.replay(state, np.zeros((5, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"'input-hidden', 'hidden-hidden', 'hidden-output'"):
        net.teach(state, {"input-output": np.ones(8)})
    net.run(state, RATES_HZ, 200)
    before = net.synapses.weight.copy()
    for wrong in (None, "much", np.ones(29), np.full(30, np.inf)):
        with pytest.raises(ValueError, match=r"a finite number or \(30,\) finite numbers"):
            net.teach(state, {"hidden-output": 1.0, "input-hidden": wrong})
    with pytest.raises(ValueError, match=r"'hidden-output': .*got nan"):
        net.teach(state, {"input-hidden": 1.0, "hidden-output": math.nan})
    np.testing.assert_array_equal(net.synapses.weight, before, err_msg="a refused modulator changed weights")
    net.teach(state, {"input-hidden": 1.0})
    assert np.any(net.synapses.weight != before)
    with pytest.raises(ValueError, match=r"\['hidden', 'output'\]"):
        net.rate_hz(state, "retina")
    constant = SpikingCircuit(1, {"a": LIFCells(1)}, [Projection("input", "a")], np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"expected a plastic one of \[\], got 'input-a'"):
        constant.eligibility(constant.begin(), "input-a")
    with pytest.raises(ValueError, match="got 'binary'"):
        circuit("binary")
    with pytest.raises(ValueError, match=r"numpy\.float32 or numpy\.float64"):
        circuit(dtype=np.int64)


CELL_SETTINGS = ["bias", "first_voltage", "reset", "threshold"]
MS_SETTINGS = ["membrane_ms", "synapse_ms", "readout_ms"]
RULE_SETTINGS = ["rate", "potentiation", "depression", "pre_trace_ms", "eligibility_ms"]
WEIGHT_SETTINGS = ["weight_mean", "weight_sd", "largest_weight"]
NAMES = [*CELL_SETTINGS, *MS_SETTINGS, *RULE_SETTINGS, *WEIGHT_SETTINGS, "weight", "modulator", "eligibility"]
SIZES = [1e9, 1e18, 1e20, 1e37, 1e39, 1e160, 1e300]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_circuit_refuses_a_number_by_name_or_stays_finite(dtype: Any) -> None:
    for name in NAMES:
        for size in (*SIZES, *(-size for size in SIZES), 1e-3):
            refusal = refusal_of(name, size, dtype)
            words = {name, "reset" if name == "threshold" else name}
            words |= {"largest_change"} if name in RULE_SETTINGS else set()
            assert not refusal or any(word in refusal for word in words), (name, size, refusal)
            can_be_refused = abs(size) > 1e18 or size < 0 or name in ("reset", "first_voltage")
            assert not refusal or can_be_refused, (name, size, refusal)
            assert name != "modulator" or (np.dtype(dtype).name in refusal) == bool(refusal)


def refusal_of(name: str, size: float, dtype: Any) -> str:
    try:
        live_with(name, size, dtype)
    except ValueError as error:
        return str(error)
    return ""


def live_with(name: str, size: float, dtype: Any) -> None:
    """Run and teach a circuit whose setting, weight, modulator or eligibility `name` is `size`; it stays finite."""

    def settings(names: list[str], **others: Any) -> Any:
        return others | ({name: size} if name in names else {})

    rule = PairSTDP(**settings(RULE_SETTINGS, rate=0.1, depression=0.5))
    net = SpikingCircuit(
        5,
        {"cells": LIFCells(6, **settings([*CELL_SETTINGS, *MS_SETTINGS], bias=1.2))},
        [Projection("input", "cells", **settings(WEIGHT_SETTINGS, weight_sd=0.9, plasticity=rule))],
        np.random.default_rng(0),
        dtype=dtype,
    )
    if name == "weight":
        with np.errstate(over="ignore"):
            net.weight("input-cells")[2] = size
    state = net.begin()
    for modulator in (size if name == "modulator" else 1.0, 0.0, -1.0):
        net.run(state, np.full(5, 200.0), 60)
        net.teach(state, {"input-cells": modulator})
    net.change("input-cells", np.full((5, 6), size if name == "eligibility" else 1.0), np.zeros(6))
    for array in (net.synapses.weight, *leaves(state)):
        assert np.all(np.isfinite(array)), (name, size)


def test_a_modulator_beyond_single_precision_is_refused_there_alone() -> None:
    for dtype, is_refused in ((np.float32, True), (np.float64, False)):
        net = circuit(dtype=dtype)
        state = net.begin()
        net.run(state, RATES_HZ, 100)
        before = net.synapses.weight.copy()
        if is_refused:
            with pytest.raises(ValueError, match=r"modulator of 'input-hidden'.*to 1\.84e\+19.*float32.*got 1e\+39"):
                net.teach(state, {"input-hidden": 1e39})
            np.testing.assert_array_equal(net.synapses.weight, before)
        else:
            net.teach(state, {"input-hidden": 1e39})
        assert np.all(np.isfinite(net.synapses.weight))
