"""Protocols with cue lamps: which lamps are on, what they decide, and that nothing else depends on them."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from reach import Rotation
from reach.protocols import PROTOCOLS, Block, Parity, Protocol, ProtocolWrapper, read_protocol, schedule_of
from reach.sim import layout as s

TURN = (Rotation(30.0),)
CUED = Protocol(
    name="cued",
    blocks=(
        Block("baseline", 2),
        Block("perturbed", 3, TURN, Parity()),
        Block("relearned", 2, TURN, context=(0, 1, 1)),
    ),
    source="these tests",
    context=3,
)
WRITTEN = """
name = "cued"
source = "these tests"
context = 3
blocks = [
  { name = "baseline", trials = 2 },
  { name = "perturbed", trials = 3, perturbation = { kind = "rotation", degrees = 30.0 }, scale = "parity" },
  { name = "relearned", trials = 2, perturbation = { kind = "rotation", degrees = 30.0 }, context = [0, 1, 1] },
]
"""


def test_lamps_shift_neither_cups_nor_noise() -> None:
    with_lamps = schedule_of(PROTOCOLS["context"], 3)
    blocks = tuple(
        dataclasses.replace(block, scale=Block("baseline", 1).scale) for block in PROTOCOLS["context"].blocks
    )
    plain = schedule_of(dataclasses.replace(PROTOCOLS["context"], context=0, blocks=blocks), 3)
    assert [(trial.cup, trial.seed) for trial in with_lamps] == [(trial.cup, trial.seed) for trial in plain]
    assert {trial.context for trial in plain} == {()}


def test_parity_is_that_of_the_first_lamps_and_balanced_and_no_lamp_alone_tells_it() -> None:
    trials = [trial for trial in schedule_of(PROTOCOLS["context16"], 0) if trial.block == "perturbed"]
    lamps, scale = np.array([trial.context for trial in trials]), np.array([trial.scale for trial in trials])
    np.testing.assert_array_equal(scale, np.where(lamps[:, 0] == lamps[:, 1], 1.0, -1.0))
    assert all(trial.perturbation == (Rotation(30.0 * trial.scale),) for trial in trials)
    # Five standard deviations of a mean over all trials.
    limit = 5.0 / np.sqrt(len(trials))
    assert abs(scale.mean()) < limit
    assert np.abs(np.corrcoef(lamps.T, scale) - np.eye(17)).max() < limit


@pytest.mark.parametrize("lamps", [1, 2, 3])
def test_parity_counts_as_many_lamps_as_it_is_told(lamps: int) -> None:
    contexts = np.array(list(product((0, 1), repeat=4)))
    scales = Parity(lamps).scales(len(contexts), np.random.default_rng(0), contexts)
    assert scales == [(-1.0) ** sum(context[:lamps]) for context in contexts.tolist()]


def test_the_wrapper_sets_the_lamps_of_each_trial_and_rows_tell_them() -> None:
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1", context=3, max_episode_steps=3), CUED, seed=2)
    shown = []
    while not wrapper.finished:
        shown.append(wrapper.reset()[0][s.OBSERVATION_SIZE :].astype(int).tolist())
        while wrapper.recording.moments[-1]["time_s"] < 0.059:
            wrapper.step(np.zeros(4))
    assert shown == [list(trial.context) for trial in wrapper.schedule]
    assert [row["context"] for row in wrapper.rows] == ["".join(map(str, lamps)) for lamps in shown]
    assert shown[-2:] == [[0, 1, 1]] * 2


def test_another_number_of_lamps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"env: expected one made with context=3, .*'cued', got context=0"):
        ProtocolWrapper(gym.make("reach/CupReach-v1"), CUED)
    with pytest.raises(ValueError, match=r"block 3 context: expected 2 lamps, got \(0, 1, 1\)"):
        dataclasses.replace(CUED, context=2)
    with pytest.raises(
        ValueError, match=r"block 1 scale: expected Parity of at most the 1 lamps .* got Parity\(lamps=2"
    ):
        Protocol("short", (Block("perturbed", 3, TURN, Parity()),), "these tests", context=1)


def test_a_toml_file_can_say_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "cued.toml").write_text(WRITTEN)
    assert read_protocol(tmp_path / "cued.toml") == CUED


def test_rotations_told_one_after_another_have_a_lamp_each() -> None:
    blocks = PROTOCOLS["continual"].blocks
    rotations = {block.context: 30.0 * max(block.possible_scales) for block in blocks}
    degrees = [round(turn) for context, turn in rotations.items() if context]
    assert degrees == [30, -30, 20, -20, 40, -40]
    assert np.sum([context for context in rotations if context], axis=0).tolist() == [1] * 6
    assert blocks[-1] == dataclasses.replace(blocks[1], name="relearned")
