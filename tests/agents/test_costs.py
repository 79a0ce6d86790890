"""The counts of a learner are those that follow from its network and rule."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.error.learner import make_feedforward
from agents.error.rate import RateFeedForward
from agents.error.spiking import CELLS_PER_MUSCLE, HIDDEN_CELLS
from agents.learner import make_learner, train_trials
from agents.networks.layers import mlp
from agents.networks.registry import JOINTS, NETWORKS
from agents.registry import find
from agents.rules.registry import rules_for

GRAB = "reach/CupGrab-v1"
CELLS, OUTPUTS = 128, 3


def begun(name: str) -> Any:
    """Return a network after a first step, by which the read-out leaves zero."""
    network: Any = make_feedforward(name, np.random.default_rng(0))
    step(network, 1)
    return network


def step(network: Any, passes: int) -> dict[str, float]:
    """Return the counts of some passes of one reach and a step."""
    before = network.cost()
    state = network.begin()
    for _ in range(passes):
        network.posture(state, np.array([0.01, 0.5]))
    network.change(network.eligibility(state), np.array([0.1, -0.1, 0.05]), 0.5)
    return {name: count - before.get(name, 0.0) for name, count in network.cost().items()}


class Senses:
    """Cells that tell the cup by five numbers, all 1."""

    size = 5

    def activity(self, visual_input: Any) -> Any:
        return np.ones(self.size)


# Of a network of layers of 5, 4, 2 and 3 cells: all weights, and those through which an error goes back from layer to
# layer, which are those of the layers with feedback.
WEIGHTS, BACK = 5 * 4 + 4 * 2 + 2 * 3, 4 * 2 + 2 * 3
PARAMETERS = WEIGHTS + 4 + 2 + 3
# Multiply-accumulates of the outer products, for carrying the error, and what else the rule computes; weight updates.
COSTS = {
    "bp": (WEIGHTS + BACK, PARAMETERS),
    "fa": (WEIGHTS + BACK, PARAMETERS),
    "sign": (WEIGHTS + BACK, PARAMETERS),
    "kp": (WEIGHTS + BACK + 3 * BACK, PARAMETERS + BACK),
    "weight-mirror": (WEIGHTS + BACK + (16 + 16 + 1) * BACK, PARAMETERS + BACK),
    "dfa": (WEIGHTS + 3 * 4 + 3 * 2, PARAMETERS),
    "ifa": (WEIGHTS + 3 * 4 + 4 * 2, PARAMETERS),
    "node": (WEIGHTS + BACK, PARAMETERS),
    "rls": (WEIGHTS + BACK + 2 * (6 * 6 + 5 * 5 + 3 * 3), PARAMETERS),
    "shallow": (2 * 3, 2 * 3 + 3),
}


def small_network(rule: str) -> RateFeedForward:
    rng = np.random.default_rng(0)
    return RateFeedForward(rule, Senses(), mlp(5, (4, 2), 3, rng), rng)


@pytest.mark.parametrize("rule", rules_for(NETWORKS["mlp"]))
def test_rate_networks_count_products_by_hand(rule: str) -> None:
    network = small_network(rule)
    step(network, passes=1)
    counts = step(network, passes=1)
    assert counts["dense_operations"] == counts["effective_macs"] == WEIGHTS
    assert (counts["learning_macs"], counts["weight_updates"]) == COSTS[rule]


def test_a_read_out_of_zero_passes_no_error_back_so_that_hidden_layers_stay() -> None:
    network = small_network("rls")
    assert step(network, passes=1)["weight_updates"] == 2 * 3 + 3
    before, read_out = (network.arrays()[name] for name in ("2.covariance", "4.covariance"))
    assert np.array_equal(before, np.eye(5))
    assert not np.array_equal(read_out, np.eye(3))


def test_a_fixed_read_out_costs_no_change_of_its_feedback() -> None:
    network = small_network("kp")
    step(network, passes=1)
    network.plastic = "hidden"
    counts = step(network, passes=1)
    assert counts["learning_macs"] == 5 * 4 + 4 * 2 + BACK + 3 * (4 * 2)
    assert counts["weight_updates"] == 5 * 4 + 4 + 4 * 2 + 2 + 4 * 2


def test_silent_inputs_cost_nothing() -> None:
    network = begun("error-mlp-dfa")
    before = network.cost()

    class Dark:
        size = network.cells.size

        def activity(self, seen: Any) -> Any:
            return np.zeros(self.size)

    network.cells = Dark()
    network.posture(network.begin(), np.zeros(2))
    after = network.cost()
    assert after["effective_macs"] - before["effective_macs"] == CELLS * CELLS + CELLS * OUTPUTS
    assert after["dense_operations"] == 2 * before["dense_operations"]


@pytest.mark.parametrize("rule", ["bp", "eprop"])
def test_a_rule_for_recurrent_cells_costs_more_in_a_longer_reach(rule: str) -> None:
    network = begun(f"error-lstm-{rule}")
    learning = [step(network, passes)["learning_macs"] for passes in (2, 4)]
    assert 1.3 < learning[1] / learning[0] < 2.0


def test_e_prop_costs_two_products_for_each_trace_and_step_and_one_for_each_change() -> None:
    network = begun("error-lstm-eprop")
    cells = network.lstm.cells
    synapses = (network.sensory.size + cells + 1) * 4 * cells
    # The error goes to the cells, and changes the read-out.
    assert step(network, passes=5)["learning_macs"] == (5 * 2 + 1) * synapses + 2 * JOINTS * cells


def test_spikes_cost_the_synapses_that_they_reach() -> None:
    network: Any = make_feedforward("error-snn-stdp", np.random.default_rng(0))
    state = network.begin()
    for _ in range(10):
        network.posture(state, np.array([0.0, 0.5]))
    counts = network.cost()
    circuit, spikes = network.circuit, state.circuit.spikes
    hidden, outputs = circuit.populations["hidden"].size, circuit.populations["output"].size
    before, between = spikes[: circuit.inputs].sum(), spikes[circuit.inputs : circuit.inputs + hidden].sum()
    assert counts["effective_acs"] == before * hidden + between * outputs
    after = spikes[circuit.inputs + hidden :].sum()
    pairs = before * hidden + between * circuit.inputs + between * outputs + after * hidden
    assert counts["eligibility_updates"] == pairs
    assert counts["dense_operations"] == 200 * (circuit.inputs * hidden + hidden * outputs)
    assert counts["effective_acs"] < 0.2 * counts["dense_operations"]


def test_a_rule_that_sums_no_pairs_updates_no_eligibility_and_going_back_costs_every_synapse_at_every_step() -> None:
    networks = {rule: begun(f"error-snn-{rule}") for rule in ("stdp", "rate", "bp")}
    counts = {rule: step(network, 10) for rule, network in networks.items()}
    assert counts["stdp"]["eligibility_updates"] > counts["rate"]["eligibility_updates"] == 0
    outputs = 2 * JOINTS * CELLS_PER_MUSCLE
    synapses = networks["bp"].cells.size * HIDDEN_CELLS + HIDDEN_CELLS * outputs
    # An output cell moves one joint, and takes the error of that joint.
    assert counts["rate"]["learning_macs"] == synapses + HIDDEN_CELLS * JOINTS + outputs
    # Ten control steps of 20 ms.
    assert counts["bp"]["learning_macs"] == (200 + 1) * synapses + outputs


@pytest.mark.parametrize("name", ["none", "error-mlp-dfa", "error-snn-stdp", "error-lstm-dfa", "error-cnn-ifa"])
def test_learners_tell_their_counts_and_reaching_alone_changes_nothing(name: str) -> None:
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), seed=0)
    train_trials(model, 2)
    counts = model.cost()
    if name == "none":
        assert counts == {}
        return
    assert all(value > 0 for value in counts.values())
    observation, _ = model.env.reset(seed=1)
    model.predict(observation)
    assert model.cost()["weight_updates"] == counts["weight_updates"]
