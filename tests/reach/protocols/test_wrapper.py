"""Protocols are data, run trial by trial, the same for every learner, and tell the learner nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach import CupJump, CurlField, ErrorClamp, ForceChannel, HideHand, Rotation
from reach.env import CupEnv
from reach.protocols import PROTOCOLS, TARGETS, Abrupt, Block, Protocol, ProtocolWrapper, schedule_of
from reach.protocols.wrapper import PROBE_S
from reach.sim.arm import ARMS

SHORT = Protocol(
    name="short",
    blocks=(Block("baseline", 2), Block("perturbed", 3, (Rotation(30.0),), probe=(HideHand(),)), Block("washout", 1)),
    source="these tests",
)


def play(wrapper: ProtocolWrapper, steps: int = 12) -> list[np.ndarray]:
    """Every observation of a learner that pushes forward and gives up after some steps by tipping or by time."""
    seen = []
    while not wrapper.finished:
        observation, _ = wrapper.reset()
        seen.append(observation)
        over = False
        while not over:
            observation, _, terminated, truncated, _ = wrapper.step([-0.3, 0.5, -0.4, 0.8])
            seen.append(observation)
            over = terminated or truncated
    return seen


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_every_arm_can_begin_every_trial_of_every_preset(arm: str) -> None:
    env = gym.make("reach/CupReach-v1", arm=arm)
    places = {cup for p in PROTOCOLS.values() for cups in (p.cups, *(b.cups for b in p.blocks)) for cup in cups}
    for place in sorted(places):
        _, info = env.reset(seed=0, options={"cup": place})
        assert info["truth"]["cup"] == pytest.approx(place)


@pytest.mark.parametrize("limit", [None, 7])
def test_trials_end_with_or_without_a_time_limit_of_the_environment(limit: int | None) -> None:
    env: Any = CupEnv(task="reach") if limit is None else gym.make("reach/CupReach-v1", max_episode_steps=limit)
    wrapper = ProtocolWrapper(env, SHORT)
    rest = wrapper.reset()[0][15:19]
    lengths = []
    for _ in range(2):
        steps = 0
        over = False
        while not over and steps < 300:
            *_, truncated, _ = wrapper.step(rest)
            over, steps = truncated, steps + 1
        lengths.append(steps)
        wrapper.reset()
    assert lengths == [limit or 150] * 2
    assert [row["success"] for row in wrapper.rows] == [False, False]


def test_every_trial_is_run_once_and_in_order() -> None:
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=1)
    play(wrapper)
    blocks = [(row["trial"], row["block"], row["trial_in_block"], row["probe"]) for row in wrapper.rows]
    assert blocks == [
        (1, "baseline", 1, False),
        (2, "baseline", 2, False),
        (3, "perturbed", 1, False),
        (3, "perturbed", 1, True),
        (4, "perturbed", 2, False),
        (4, "perturbed", 2, True),
        (5, "perturbed", 3, False),
        (5, "perturbed", 3, True),
        (6, "washout", 1, False),
    ]
    assert wrapper.finished
    wrapper.reset()
    wrapper.step([0.0, 0.0, 0.0, 0.0])
    assert len(wrapper.rows) == len(blocks)


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, again, other = (
        np.array(play(ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=seed))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_noise_does_not_depend_on_what_the_learner_did_before() -> None:
    def starts(command: list[float]) -> list[np.ndarray]:
        wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=3)
        found = []
        while not wrapper.finished:
            found.append(wrapper.reset()[0])
            over = False
            while not over:
                _, _, terminated, truncated, _ = wrapper.step(command)
                over = terminated or truncated
        return found

    np.testing.assert_array_equal(starts([-0.3, 0.5, -0.4, 0.8]), starts([0.5, -0.5, 0.0, -1.0]))


def test_a_trial_that_was_left_is_begun_again() -> None:
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=1)
    first, _ = wrapper.reset()
    wrapper.step([0.0, 0.0, 0.0, 0.0])
    again, _ = wrapper.reset()
    np.testing.assert_array_equal(first, again)
    assert wrapper.current is not None
    assert wrapper.current.trial == 1


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_each_round_of_reaches_visits_every_cup(seed: int) -> None:
    reaches = [trial for trial in schedule_of(PROTOCOLS["rotation30"], seed) if not trial.probe]
    for first in range(0, len(reaches), len(TARGETS)):
        assert {trial.cup for trial in reaches[first : first + len(TARGETS)]} == set(TARGETS)


def test_perturbations_act_in_their_block_only() -> None:
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=1)
    turned = {}
    while not wrapper.finished:
        wrapper.reset()
        trial, over = wrapper.current, False
        assert trial is not None
        while not over:
            _, _, terminated, truncated, info = wrapper.step([-0.2, 0.4, -0.4, 0.8])
            over = terminated or truncated
        truth = info["truth"]
        turned[trial.trial, trial.probe] = not np.allclose(truth["hand"], truth["seen_hand"])
        assert truth["hand_visible"] != trial.probe
    assert [key for key, value in turned.items() if value] == [(3, False), (4, False), (5, False)]


def one_trial(
    perturbation: tuple[Any, ...], probe: tuple[Any, ...] | None = None, *, protocol: str = "clamped", **block: Any
) -> list[dict[str, Any]]:
    """Rows of a baseline reach and a perturbed one, of a learner that always commands the same."""
    blocks = (Block("baseline", 1), Block("perturbed", 1, perturbation, probe=probe, **block))
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), Protocol(protocol, blocks, "these tests"), seed=4)
    play(wrapper)
    return wrapper.rows


def test_a_row_tells_the_number_of_the_block_and_the_size_of_what_acts() -> None:
    plain, turned = one_trial((Rotation(30.0),), scale=Abrupt(-1.0))
    assert (plain["block_number"], plain["perturbation_scale"]) == (1, 0.0)
    assert (turned["block_number"], turned["perturbation_scale"]) == (2, -1.0)
    straight = one_trial((Rotation(-30.0),))[1]
    assert turned["launch_error_deg"] == pytest.approx(straight["launch_error_deg"])


def test_where_the_seen_hand_is_clamped_the_true_one_is_read() -> None:
    plain = one_trial(())[1]
    clamped = one_trial((ErrorClamp(0.0),))[1]
    assert clamped["launch_error_deg"] == pytest.approx(plain["launch_error_deg"])
    assert abs(clamped["launch_error_deg"]) > 1.0


def test_a_probe_is_over_when_a_reach_should_be() -> None:
    reach, probe = one_trial((), probe=(HideHand(),))[1:]
    assert reach["duration_s"] == pytest.approx(3.0)
    assert probe["duration_s"] == pytest.approx(PROBE_S)
    assert probe["launch_error_deg"] == pytest.approx(reach["launch_error_deg"], abs=5.0)


def test_a_channel_trial_has_the_adaptation_index_and_no_other_has() -> None:
    rows = one_trial((CurlField(13.0),), probe=(ForceChannel(),))
    assert [np.isfinite(row["channel_index"]) for row in rows] == [False, False, True]
    # Without a field in the protocol there is nothing to be expected in the channel.
    assert np.isnan(one_trial((), probe=(ForceChannel(),))[2]["channel_index"])


def test_the_trajectory_is_kept_of_reaches_in_which_something_sets_in() -> None:
    blocks = (Block("baseline", 1), Block("perturbed", 1, (CupJump(onset_s=0.1),)))
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), Protocol("jump", blocks, "these tests"))
    play(wrapper)
    assert list(wrapper.trajectories) == [1]
    path = wrapper.trajectories[1]
    assert path.time_s[-1] == pytest.approx(wrapper.rows[1]["duration_s"])
    moved = np.flatnonzero(np.any(path.seen_cup != path.seen_cup[0], axis=1))
    assert path.time_s[moved[0]] == pytest.approx(0.1, abs=0.0201)


def test_nothing_of_the_schedule_is_told_outside_truth() -> None:
    wrapper = ProtocolWrapper(gym.make("reach/CupReach-v1"), SHORT, seed=1)
    plain = gym.make("reach/CupReach-v1")
    assert set(wrapper.reset()[1]) == set(plain.reset()[1])
    assert set(wrapper.step([0, 0, 0, 0])[4]) == set(plain.step([0, 0, 0, 0])[4])


def test_an_environment_without_truth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"env: .*truth=True"):
        ProtocolWrapper(gym.make("reach/CupReach-v1", truth=False), SHORT)
