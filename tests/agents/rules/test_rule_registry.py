"""Rules and networks declare what they can do, can be added, and are refused where they cannot work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.error.learner import make_feedforward
from agents.error.lstm import LSTMFeedForward
from agents.error.rate import RateFeedForward
from agents.learner import make_learner, train_trials
from agents.networks import NETWORKS, Network
from agents.networks import register as register_network
from agents.networks.layers import mlp
from agents.networks.sensory_cells import PlaceCells
from agents.rules import RULES, register, rule_for, rules_for
from agents.rules.layer_rules import FeedbackAlignment
from agents.rules.spiking import SpikingRule


class Followed(FeedbackAlignment):
    """Feedback and forward weights receive the same changes."""

    name = "followed"
    modifies = ("hidden", "read-out", "feedback")

    def update_feedback(self, layer: Any, change: Any) -> None:
        if layer.place.below is not None:
            layer.feedback_matrix().add_(change)


def deep(rng: np.random.Generator) -> tuple[Any, Any]:
    cells = PlaceCells()
    return cells, mlp(cells.size, (64,) * 4, 3, rng)


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    rules, networks = dict(RULES), dict(NETWORKS)
    yield
    for registry, kept in ((RULES, rules), (NETWORKS, networks)):
        registry.clear()
        registry.update(kept)  # type: ignore[call-overload]


def test_names_and_capabilities_are_read_without_torch() -> None:
    code = "import sys, agents.rules, agents.networks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_own_rule_trains_an_own_network() -> None:
    register(Followed())
    network = register_network(Network("deep", "layers", deep))
    assert "followed" in rules_for(network)
    assert "followed" not in rules_for(NETWORKS["lstm"])
    rng = np.random.default_rng(0)
    part = RateFeedForward("followed", *network.build(rng), rng)
    cup, wanted = np.array([0.1, 0.55]), np.array([0.1, -0.2, 0.05])
    for _ in range(20):
        state = part.begin()
        error = wanted - part.posture(state, cup)
        part.change(part.eligibility(state), error, 0.5)
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modifies": ("everything",)}, "expected modifies of rule 'followed' in .* got 'everything'"),
        ({"cells": "grid"}, "expected cells of rule 'followed' in .* got 'grid'"),
        ({"feedback": "all"}, "expected feedback of rule 'followed' in .* got 'all'"),
        ({"name": "fa-hidden"}, "expected a rule name of lower-case words, digits and hyphens, got 'fa-hidden'"),
        ({"cells": "spiking"}, "expected a SpikingRule for spiking cells, got Other"),
        ({"name": "bp"}, "expected a new rule for layers cells, got 'bp', which is registered"),
    ],
)
def test_a_rule_with_an_unknown_declaration_or_a_known_name_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(type("Other", (Followed,), change)())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network("mlp", "layers", deep), "expected a new network, got 'mlp', which is registered"),
        (Network("deep", "grid", deep), "expected cells of network 'deep' in .* got 'grid'"),  # type: ignore[arg-type]
        (Network("deep-mlp", "layers", deep), "expected a network name of .* got 'deep-mlp'"),
    ],
)
def test_a_network_of_unknown_cells_or_a_known_name_is_refused(network: Network, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_network(network)


def test_a_rule_is_refused_by_name_where_it_cannot_work() -> None:
    assert rule_for("dfa", "recurrent") is rule_for("eprop", "recurrent")
    with pytest.raises(ValueError, match=r"expected a rule for recurrent cells, one of .*'eprop'.* got 'ifa'; it is a"):
        rule_for("ifa", "recurrent")
    assert rules_for(NETWORKS["memory"]) == ("bp", "shallow")


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_a_rule_modifies_what_it_declares_and_lets_observe_it(name: str) -> None:
    network, sees = NETWORKS[name], np.array([0.1, 0.55])
    for rule in rules_for(network):
        rng = np.random.default_rng(0)
        part = (RateFeedForward if name == "mlp" else LSTMFeedForward)(rule, *network.build(rng), rng)
        state = part.begin()
        part.posture(state, sees)
        part.snapshot(state)
        # The first step moves the read-out alone, which is zero at first.
        for _ in range(2):
            before = {key: value.copy() for key, value in part.arrays().items()}
            part.posture(state, sees)
            part.change(part.eligibility(state), np.array([0.1, -0.2, 0.05]), 0.3)
        declared = rule_for(rule, network.cells)
        assert bool(part.alignment()) == ("hidden" in declared.modifies), rule
        assert part.snapshot(state).error_path is not None
        changed = {key for key, value in part.arrays().items() if not np.array_equal(value, before[key])}
        readout = {key for key in changed if key.startswith("4." if name == "mlp" else "posture.")}
        assert bool(readout) == ("read-out" in declared.modifies)
        assert bool(changed - readout) == ("hidden" in declared.modifies), rule
        assert any("feedback" in key for key in changed) == ("feedback" in declared.modifies)


class SignedSTDP(SpikingRule):
    """The sign of the broadcast error gates the change."""

    name = "sign"

    def modulator(self, feedback: np.ndarray, error: np.ndarray) -> np.ndarray:
        return np.sign(feedback @ error)


def test_an_own_rule_trains_spiking_cells() -> None:
    register(SignedSTDP())
    assert "sign" in rules_for(NETWORKS["snn"])
    part = make_feedforward("error-snn-sign", np.random.default_rng(0))
    cup, wanted = np.array([0.1, 0.55]), np.array([0.1, -0.2, 0.05])

    def lacking() -> tuple[np.ndarray, Any]:
        state = part.begin()
        postures = [part.posture(state, cup) for _ in range(40)]
        return wanted - np.mean(postures[20:], axis=0), part.eligibility(state)

    first, _ = lacking()
    for _ in range(10):
        error, eligible = lacking()
        part.change(eligible, error, 0.4)
    assert np.linalg.norm(lacking()[0]) < 0.6 * np.linalg.norm(first)


def test_an_own_rule_trains_a_spiking_actor() -> None:
    register(SignedSTDP())
    model = make_learner("reward-snn-sign", gym.make("reach/CupReach-v1"), seed=1)
    before = model.network.circuit.weight("input-actor").copy()
    train_trials(model, 1)
    assert np.any(model.network.circuit.weight("input-actor") != before)
