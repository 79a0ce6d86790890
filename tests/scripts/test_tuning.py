"""Settings are judged on perturbations and seeds that no comparison uses, and what was found is what is used."""

from __future__ import annotations

import math

import gymnasium as gym
import pytest
import tuning

import reach  # noqa: F401  (registers the environments)
from agents import registry
from agents.learner import load_learner, make_learner
from reach.protocols import PROTOCOLS


def test_no_comparison_uses_what_tuning_does() -> None:
    tuned_on, judged_on = (
        {part.kind for protocol in protocols for block in protocol.blocks for part in block.perturbation}
        for protocols in ([tuning.tuning_protocol(), tuning.tuning_protocol(lamps=0)], PROTOCOLS.values())
    )
    assert tuned_on
    assert tuned_on.isdisjoint(judged_on)
    assert tuning.FIRST_TUNING_SEED > 1_000


def test_a_learner_that_learns_leaves_less_of_the_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "JUDGED_TRIALS", 20)
    short = tuning.tuning_protocol(lamps=2, reaches=400)
    (learning,) = tuning.left_uncorrected("error-mlp-bp", {"rate": 0.8}, seeds=1, trials=100, protocol=short)
    (still,) = tuning.left_uncorrected("error-mlp-bp", {"rate": 0.0}, seeds=1, trials=5, protocol=short)
    assert math.isfinite(learning)
    assert learning < 0.8 < still


def test_memory_across_reaches_is_judged_by_how_fast_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "JUDGED_TRIALS", 20)
    (practised,) = tuning.left_uncorrected("error-memory-bp", {"practice_rate": 0.005}, seeds=1, trials=300)
    (unpractised,) = tuning.left_uncorrected("error-memory-bp", {"practice_rate": 0.0}, seeds=1, trials=300)
    assert practised < 0.5 < unpractised


def test_learners_are_made_with_what_was_found_unless_told_otherwise(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    found = tmp_path / "tuned.json"
    found.write_text(
        '{"error-mlp-dfa": {"settings": {"rate": 0.31}}, "error-snn-stdp-hidden": {"settings": {"hidden_rate": 7}},'
        ' "error-memory-bp": {"settings": {"practice_rate": 0.01}}}'
    )
    monkeypatch.setattr(registry, "TUNED", found)
    env = gym.make(registry.BASELINE_ENV)
    assert make_learner("error-dfa", env).rate == 0.31
    assert make_learner("error-dfa", env, rate=0.2).rate == 0.2
    assert make_learner("error-bp", env).rate == registry.LEARNING_RATE
    assert make_learner("error-stdp-hidden", env).hidden_rate == 7
    remembering = make_learner("error-memory-bp", env)
    remembering.save(tmp_path / "kept")
    assert load_learner(tmp_path / "kept", env).practice_rate == remembering.practice_rate == 0.01


def test_learners_from_reward_are_made_with_what_was_found_too(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    found = tmp_path / "tuned.json"
    found.write_text(
        '{"reward-snn-stdp": {"settings": {"rate": 0.02}}, "reward-mlp-bp": {"settings": {"learning_rate": 0.0005}}}'
    )
    monkeypatch.setattr(registry, "TUNED", found)
    reaching, grabbing = gym.make("reach/CupReach-v1"), gym.make(registry.BASELINE_ENV)
    assert make_learner("reward-snn-stdp", reaching).config["settings"]["rate"] == 0.02
    tuned = make_learner("reward-ppo", grabbing)
    assert tuned.learning_rate == 0.0005
    assert make_learner("reward-ppo", grabbing, learning_rate=0.002).learning_rate == 0.002
    tuned.save(tmp_path / "kept")
    found.unlink()
    assert load_learner(tmp_path / "kept", grabbing).learning_rate == 0.0005


def test_a_spiking_actor_that_learns_misses_fewer_cups_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its first successes come late, so that only the end of the training is judged.
    monkeypatch.setattr(tuning, "STRETCHES", 1)
    monkeypatch.setattr(tuning, "JUDGED_TRIALS", 40)
    share = 0.14
    *_, learning = tuning.missed_in_training("reward-snn-stdp", {"rate": 0.07}, seeds=1, share=share)
    *_, still = tuning.missed_in_training("reward-snn-stdp", {"rate": 0.0}, seeds=1, share=0.001)
    assert learning < still - 0.1


def test_every_learner_is_tuned_by_the_step_that_it_corrects_by() -> None:
    steps = {"error-mlp-bp": "rate", "error-mlp-bp-hidden": "hidden_rate", "error-memory-bp": "practice_rate"}
    steps |= {"reward-mlp-dfa": "learning_rate", "reward-snn-stdp": "rate"}
    for name, setting in steps.items():
        assert tuning.search_space(name).setting == setting
    # A share of the error that is nothing leaves the whole miss; one that is all of it and more is still stable.
    assert 0.0 < tuning.search_space("error-mlp-bp").low < 1.0 < tuning.search_space("error-mlp-bp").high <= 2.0
