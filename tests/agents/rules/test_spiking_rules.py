"""Rules for spiking cells: what makes a synapse eligible, and which cells receive how much of the error."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.error.learner import make_feedforward
from agents.error.spiking import SpikingFeedForward
from agents.learner import make_learner
from agents.networks import NETWORKS
from agents.reward.spiking import SpikingActorCritic
from agents.rules import rule_for, rules_for
from agents.rules.spiking import RATE_HALF_HZ

RULES_OF_SPIKES = rules_for(NETWORKS["snn"])
CUP, ERROR = np.array([0.12, 0.55]), np.array([0.1, -0.2, 0.05])
TO_HIDDEN, TO_OUTPUT = "input-hidden", "hidden-output"


def made(rule: str) -> SpikingFeedForward:
    part = make_feedforward(f"error-snn-{rule}", np.random.default_rng(0))
    assert isinstance(part, SpikingFeedForward)
    return part


def after_a_reach(part: SpikingFeedForward) -> Any:
    state = part.begin()
    for _ in range(40):
        part.posture(state, CUP)
    return state


def test_the_eligibility_of_pairs_and_of_rates_is_divided_by_the_rate_after_the_synapse() -> None:
    part = made("stdp")
    circuit, state = part.circuit, after_a_reach(part).circuit
    before_hz, after_hz = circuit.mean_rate_hz(state, "input"), circuit.mean_rate_hz(state, "hidden")
    pairs = rule_for("stdp", "spiking").eligibility(circuit, state, TO_HIDDEN)
    np.testing.assert_allclose(pairs * (after_hz + RATE_HALF_HZ), circuit.eligibility(state, TO_HIDDEN), rtol=1e-5)
    rates = rule_for("rate", "spiking").eligibility(circuit, state, TO_HIDDEN)
    np.testing.assert_allclose(rates, np.outer(before_hz, after_hz / (after_hz + RATE_HALF_HZ)))
    silent = after_hz == 0.0
    assert np.any(silent)
    assert not np.any(pairs[:, silent])
    before = rule_for("pre", "spiking").eligibility(circuit, state, TO_HIDDEN)
    np.testing.assert_array_equal(before, np.repeat(before_hz[:, None], len(after_hz), axis=1))


def test_the_mean_pair_eligibility_of_a_cell_saturates_with_its_rate() -> None:
    part = made("stdp")
    circuit, state = part.circuit, after_a_reach(part).circuit
    after_hz = circuit.mean_rate_hz(state, "hidden")
    fast, slow = after_hz > 40.0, (after_hz > 5.0) & (after_hz < 15.0)
    ratios = [
        float(eligibility[:, fast].mean() / eligibility[:, slow].mean())
        for eligibility in (
            rule_for("stdp", "spiking").eligibility(circuit, state, TO_HIDDEN),
            circuit.eligibility(state, TO_HIDDEN),
        )
    ]
    assert ratios[0] < 2.0 < 4.0 < ratios[1]


@pytest.mark.parametrize("rule", RULES_OF_SPIKES)
def test_the_modulators_of_both_layers_have_the_size_of_the_error(rule: str) -> None:
    part, taught = made(rule), rule_for(rule, "spiking").error != "none"
    # The read-out is 0 at first, and passes nothing back.
    part.change(part.eligibility(after_a_reach(part)), ERROR, 0.1)
    for error in (ERROR, 3.0 * ERROR):
        part.change(part.eligibility(after_a_reach(part)), error, 0.1)
        assert part._last_error is not None
        for step in part._last_error[1].values():
            expected = np.sqrt(np.mean(error**2)) if taught else 1.0
            assert np.sqrt(np.mean(step.modulator**2)) == pytest.approx(expected)


@pytest.mark.parametrize("rule", RULES_OF_SPIKES)
def test_a_rule_changes_the_synapses_that_it_declares(rule: str) -> None:
    part, declared = made(rule), rule_for(rule, "spiking").modifies
    before = {name: part.circuit.weight(name).copy() for name in (TO_HIDDEN, TO_OUTPUT)}
    for _ in range(2):
        part.change(part.eligibility(after_a_reach(part)), ERROR, 0.1)
    changed = {name: bool(np.any(part.circuit.weight(name) != old)) for name, old in before.items()}
    assert changed == {TO_HIDDEN: "hidden" in declared, TO_OUTPUT: "read-out" in declared}


def test_rules_that_cannot_learn_from_reward_are_refused_with_the_reason() -> None:
    rewarded = [rule for rule in RULES_OF_SPIKES if "reward" not in rule_for(rule, "spiking").refused]
    assert rewarded == ["stdp", "hebb"]
    with pytest.raises(
        ValueError, match=r"reward-snn expected one of the rules \['stdp', 'hebb'\], got 'pre'; its elig"
    ):
        make_learner("reward-snn-pre", gym.make("reach/CupReach-v1"))
    with pytest.raises(ValueError, match="rule: expected one that learns from reward, got 'shallow': actor and critic"):
        SpikingActorCritic("shallow", np.random.default_rng(0), rate=0.1, critic_rate=0.1)
