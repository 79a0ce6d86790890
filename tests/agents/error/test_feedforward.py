"""Feed-forward parts: every rule moves every network along the error, and nowhere without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.error.feedforward import FeedForward
from agents.error.learner import make_feedforward
from agents.error.lstm import LSTMFeedForward
from agents.error.rate import RateFeedForward
from agents.error.spiking import CELLS_PER_MUSCLE, INHIBITORY_CELLS, LONGEST_RUN_MS, SpikingFeedForward
from agents.reaching.controller import CONTROL_STEP_MS
from agents.registry import learners
from reach.sim.retina import CUP_RGB as CUP_COLOUR
from reach.sim.retina import TABLE_RGB, pixel_places_m

CUP = np.array([0.12, 0.55])
ERROR = np.array([0.1, -0.2, 0.05])
NETWORKS = [name for name in learners() if name.startswith("error")]
TAUGHT = [name for name in NETWORKS if not name.endswith("hebb")]
CONTROL_STEPS = 40


def made(name: str, seed: int = 3) -> FeedForward:
    return make_feedforward(name, np.random.default_rng(seed))


def seen_by(part: FeedForward, cup: np.ndarray) -> np.ndarray:
    """A cup, or the picture of one, whichever the network is given."""
    if part.sees == "cup":
        return cup
    x, y = pixel_places_m(64)
    distance = np.hypot(x[None, :] - cup[0], y[:, None] - cup[1])
    return np.where((distance < 0.035)[..., None], np.array(CUP_COLOUR), np.array(TABLE_RGB))


def answer(part: FeedForward, cup: np.ndarray = CUP) -> tuple[np.ndarray, Any]:
    """Posture for a cup, averaged over the second half of a reach, and what is eligible at its end."""
    state = part.begin()
    seen = seen_by(part, cup)
    postures = [part.posture(state, seen) for _ in range(CONTROL_STEPS)]
    return np.mean(postures[CONTROL_STEPS // 2 :], axis=0), part.eligibility(state)


def kept(part: FeedForward) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in part.arrays().items()}


@pytest.mark.parametrize("name", TAUGHT)
def test_steps_move_the_posture_towards_what_it_lacked(name: str) -> None:
    part = made(name)
    before, eligible = answer(part)
    for _ in range(12):
        part.change(eligible, before + ERROR - answer(part)[0], 0.3)
        eligible = answer(part)[1]
    moved = answer(part)[0] - before
    assert moved @ ERROR / (np.linalg.norm(moved) * np.linalg.norm(ERROR)) > 0.8
    assert 0.5 < np.linalg.norm(moved) / np.linalg.norm(ERROR) < 1.5


@pytest.mark.parametrize("name", TAUGHT)
def test_without_an_error_nothing_changes(name: str) -> None:
    part = made(name)
    before = kept(part)
    part.change(answer(part)[1], np.zeros(3), 1.0)
    for array, old in zip(part.arrays().values(), before.values(), strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_kept_read_out_stays_as_it_is_and_hidden_synapses_learn(name: str) -> None:
    part = made(name)
    for _ in range(3):
        part.change(answer(part)[1], ERROR, 0.3)
    part.plastic = "hidden"
    before = kept(part)
    part.change(answer(part)[1], ERROR, 0.3)
    changed = {key for key, array in part.arrays().items() if not np.array_equal(array, before[key])}
    if name.endswith(("kp", "weight-mirror", "rls")):
        changed = {key for key in changed if not key.endswith(("feedback", "covariance"))}
    if isinstance(part, SpikingFeedForward):
        inputs = part.circuit.weight("input-hidden").size
        # Synapses that vanish and form are those from the sensory cells.
        turned_over = {"synapses.connected", "turnover.input-hidden.near_zero_s", "turnover.input-hidden.calls"}
        learned = set() if name.endswith("shallow") else {"synapses.weight"}
        assert changed - (turned_over if "structural" in name else set()) == learned
        assert np.array_equal(part.arrays()["synapses.weight"][inputs:], before["synapses.weight"][inputs:])
    elif name.endswith("shallow"):
        assert not changed
    elif isinstance(part, LSTMFeedForward):
        assert changed == {"lstm.weight_ih", "lstm.weight_hh", "lstm.bias"}
    else:
        reaching = [key for key in before if not key.startswith("memory.")]
        layers = [key.removesuffix(".bias") for key in reaching if key.endswith(".bias")]
        assert changed == {f"{layer}.{what}" for layer in layers[:-1] for what in ("weight", "bias")}


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.endswith("hebb")])
def test_a_hebbian_network_takes_no_error(name: str) -> None:
    first, second = made(name), made(name)
    for part, error in ((first, ERROR), (second, -ERROR)):
        part.change(answer(part)[1], error, 0.3)
    for array, other in zip(first.arrays().values(), second.arrays().values(), strict=True):
        np.testing.assert_array_equal(array, other)


def test_recurrent_synapses_obey_dale_s_law_are_balanced_and_do_not_learn() -> None:
    part = made("error-brain-stdp")
    assert isinstance(part, SpikingFeedForward)
    among = part.circuit.weight("hidden-hidden")
    first = among.copy()
    for _ in range(3):
        part.change(answer(part)[1], 10.0 * ERROR, 1.0)
    np.testing.assert_array_equal(among, first)
    excitatory, inhibitory = among[:-INHIBITORY_CELLS], among[-INHIBITORY_CELLS:]
    for weights in (excitatory, part.circuit.weight("hidden-output")[:-INHIBITORY_CELLS]):
        assert np.all(weights >= 0.0)
    for weights in (inhibitory, part.circuit.weight("hidden-output")[-INHIBITORY_CELLS:]):
        assert np.all(weights <= 0.0)
    assert -inhibitory.sum() == pytest.approx(excitatory.sum(), rel=0.1)
    delays = part.circuit.delay_steps("hidden-hidden")
    assert delays.min() >= 1
    assert len(set(delays.tolist())) > 1


def test_recurrent_synapses_change_the_rates_of_hidden_cells_and_neither_silence_nor_saturate_them() -> None:
    part = made("error-brain-stdp")
    assert isinstance(part, SpikingFeedForward)
    rates = []
    for factor in (1.0, 0.0):
        part.circuit.weight("hidden-hidden")[...] *= factor
        state = part.begin()
        seen = seen_by(part, CUP)
        for _ in range(CONTROL_STEPS):
            part.posture(state, seen)
        rates.append(part.circuit.mean_rate_hz(state.circuit, "hidden"))
    assert not np.array_equal(*rates)
    assert 3.0 < np.median(rates[0]) < 30.0


@pytest.mark.parametrize(("rule", "largest"), [("bp", 1e-3), ("fa", 88.0), ("dfa", 88.0), ("ifa", 88.0)])
def test_feedback_aligns_with_the_gradient_while_the_network_learns(rule: str, largest: float) -> None:
    part = made(f"error-mlp-{rule}")
    rng = np.random.default_rng(0)
    angles: dict[str, list[float]] = {"hidden 1": [], "hidden 2": []}
    for k in range(500):
        cup = CUP + rng.uniform(-0.1, 0.1, 2)
        wanted = np.array([cup[0] - 0.1, 2.0 * (cup[1] - 0.5), 0.3])
        state = part.begin()
        posture = part.posture(state, cup)
        part.change(part.eligibility(state), wanted - posture, 0.6)
        if k < 100 or k >= 400:
            for layer, degrees in part.alignment().items():
                angles[layer].append(degrees)
    assert all(np.mean(layer[100:]) < min(largest, 1e-3 + np.mean(layer[:100])) for layer in angles.values())


def test_convolutions_have_an_angle_too() -> None:
    part = made("error-cnn-bp")
    for _ in range(2):
        part.change(answer(part)[1], ERROR, 0.3)
    assert part.alignment() == pytest.approx({f"hidden {k}": 0.0 for k in (1, 2, 3)}, abs=1e-3)


def test_spikes_that_a_step_needs_stay_as_they_were_in_a_reach_longer_than_their_memory() -> None:
    network: Any = make_feedforward("error-snn-bp", np.random.default_rng(0))
    state = network.begin()
    network.posture(state, np.array([0.0, 0.5]))
    eligible = network.eligibility(state)
    before = eligible.spikes.copy()
    elsewhere = np.array([0.3, 0.6])
    for _ in range(LONGEST_RUN_MS // CONTROL_STEP_MS):
        network.posture(state, elsewhere)
    np.testing.assert_array_equal(eligible.spikes, before)


def test_short_names_stand_for_networks_and_rules() -> None:
    assert isinstance(made("error-dfa"), RateFeedForward)
    assert isinstance(made("error-stdp"), SpikingFeedForward)


@pytest.mark.parametrize(
    "name", ["error-magic", "error-mlp-stdp", "error-snn-dfa", "error-lstm-ifa", "reward-mlp-bp", "none-hidden"]
)
def test_a_pair_of_network_and_rule_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make_feedforward(name, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(3))
def test_output_cells_that_have_learned_the_same_do_not_fire_in_step(seed: int) -> None:
    part = made("error-snn-stdp", seed)
    assert isinstance(part, SpikingFeedForward)
    wanted = answer(part)[0] + ERROR
    for _ in range(20):
        posture, eligible = answer(part)
        part.change(eligible, wanted - posture, 0.5)
    state, rates = part.begin(), []
    for _ in range(100):
        part.posture(state, CUP)
        rates.append(part.circuit.rate_hz(state.circuit, "output").copy())
    muscles = np.array(rates)[20:].reshape(80, 6, CELLS_PER_MUSCLE)
    # The variance of a mean is 1/n of its n cells' where they fire independently of each other, and theirs in step.
    shared = CELLS_PER_MUSCLE * muscles.mean(axis=2).var(axis=0).mean() / muscles.var(axis=0).mean()
    assert shared < 1.5


def test_broadcast_through_the_read_out_itself_brings_spiking_rules_near_the_surrogate_gradient() -> None:
    angles = {}
    for rule in ("bp", "eprop", "stdp", "hebb", "shallow"):
        part: Any = made(f"error-snn-{rule}")
        assert part.alignment() == {}
        read_out = part.circuit.weight("hidden-output")
        read_out[:] = np.random.default_rng(1).normal(0.0, 0.1, read_out.shape)
        part.feedback["input-hidden"][:] = read_out @ part.readout.sign
        _, eligible = answer(part)
        part.change(eligible, ERROR, 0.01)
        of_layers = part.alignment()
        angles[rule] = of_layers.get("hidden 1")
        # The read-out's step differs from the gradient by the eligibility alone.
        assert of_layers["posture"] < (0.1 if rule == "bp" else 60.0 if rule != "hebb" else 180.0)
    assert angles.pop("shallow") is None
    assert angles["bp"] < 0.1 < angles["eprop"] < angles["stdp"] < 60.0 < angles["hebb"]
