"""Every learner has a line for the reader of a report."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback

from agents.descriptions import note_on
from agents.learner import LEARNERS, load_learner, make_learner


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


def test_it_says_how_many_trials_the_steps_of_a_learner_were(tmp_path: Path) -> None:
    folders = []
    for seed in range(2):
        model = make_learner("reward-ppo", gym.make("reach/CupGrab-v0"), seed=seed, n_steps=160, n_epochs=1)
        counting = Counting()
        model.learn(16 * 320 * (1 + seed), callback=counting)
        assert model.trials == counting.over >= 16
        folders.append(tmp_path / str(seed))
        model.save(folders[-1])
    numbers = [load_learner(folder, gym.make("reach/CupGrab-v0")).trials for folder in folders]
    assert note_on("reward-ppo", folders[1:]).endswith(f"control steps, which were {numbers[1]} trials")
    assert note_on("reward-ppo", folders).endswith(f"which were {min(numbers)} to {max(numbers)} trials")
    assert min(numbers) < max(numbers)


class Counting(BaseCallback):
    """Counts the trials that end."""

    over = 0

    def _on_step(self) -> bool:
        self.over += int(self.locals["dones"].sum())
        return True
