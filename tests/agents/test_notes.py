"""Every learner has a line for the reader of a report."""

from __future__ import annotations

from agents.learner import LEARNERS
from agents.notes import note_on


def test_a_reader_is_told_of_every_learner() -> None:
    notes = {name: note_on(name) for name in LEARNERS}
    assert all(notes.values()), notes
    seeing = {name.split("-")[1] for name, note in notes.items() if "pixels" in note}
    assert seeing == {"retina", "cnn", "brain"}
    assert "gated" in notes["error-brain-stdp"]
    assert notes["error-bp"] == notes["error-mlp-bp"] != notes["error-lstm-bp"]
    assert "memory" in notes["error-lstm-dfa"]
    assert "memory" in notes["reward-lstm-bp"]
    assert "SAC" in notes["reward-sac-mlp-bp"]
    assert note_on("a-stranger") == ""


def test_it_says_how_much_each_has_been_trained() -> None:
    assert note_on("error-bp").endswith("trained in 1,000 unperturbed trials")
    assert note_on("error-dfa-hidden").endswith("trained in 2,000 unperturbed trials")
    assert note_on("reward-ppo").endswith("trained in 1,000,000 unperturbed control steps")
    assert "trained" not in note_on("none")
