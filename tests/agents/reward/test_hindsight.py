"""Hindsight asks for places where the hand was ready, exploration dwells, and a goal stands where the cup stood."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env

import reach  # noqa: F401  (registers the environments)
from agents.learner import make_learner
from agents.reward.off_policy import (
    ABSOLUTE,
    APPROACH_SHARE,
    DECISION_STEPS,
    HeldCommands,
    HeldNoise,
    limit_to_reach_commands,
)
from agents.reward.policies import LATEST_SHARE, ScaledGoal
from reach.sim.layout import TRIAL_STEPS
from reach.sim.tasks import GOAL_READY, GOAL_TIP_PENALTY

GOALS: dict[str, Any] = {"observation": "goal", "command": "absolute"}


def test_hindsight_asks_for_later_steps_at_which_the_hand_was_ready() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    model.learn(700)
    buffer = model.replay_buffer
    achieved = buffer.next_observations["achieved_goal"][:, 0]
    over = np.flatnonzero(buffer.ep_length[:, 0] > 0)
    goals = buffer._sample_goals(over, np.zeros_like(over))
    assert 0 < np.count_nonzero(achieved[over, GOAL_READY]) < len(over)
    for index, goal in zip(over, goals, strict=True):
        later = achieved[index : buffer.ep_start[index, 0] + buffer.ep_length[index, 0]]
        assert (later == goal).all(axis=1).any(), "a goal is what was achieved from then on"
        assert goal[GOAL_READY] == later[:, GOAL_READY].max()


def test_a_trial_ends_in_hindsight_where_its_goal_is_reached() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    model.learn(700)
    buffer = model.replay_buffer
    assert not (buffer.rewards[: buffer.pos] == 0.0).any(), "no goal was reached but in hindsight"
    drawn = buffer.sample(2_000)
    reached = drawn.rewards == 0.0
    assert 0 < reached.sum() < len(reached)
    assert (drawn.dones[reached] == 1.0).all()
    assert (drawn.dones[drawn.rewards == -1.0] == 0.0).all()


def test_a_critic_learns_from_values_that_steps_can_add_up_to() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    model.learn(700)
    drawn = model.replay_buffer.sample(500)
    critic, target = model.policy.critic, model.policy.critic_target
    with torch.no_grad():
        for network in (critic, target):
            for head in network.q_networks:
                head[-1].weight.mul_(1e4)
        unbounded, values = critic(drawn.observations, drawn.actions), target(drawn.observations, drawn.actions)
    worst = -1.0 / (1.0 - model.gamma)
    assert unbounded.min() < worst
    assert unbounded.max() > 0.0
    torch.testing.assert_close(values, unbounded.clamp(worst, 0.0))


def test_a_deviation_is_held_and_then_another() -> None:
    noise = HeldNoise(spread=(0.2, 0.2, 0.2, 0.1), least_decisions=3, most_decisions=5, nonzero_probability=0.6)
    np.random.seed(0)  # noqa: NPY002  (Stable-Baselines3's noise draws from it)
    drawn = np.array([noise() for _ in range(4_000)])
    changes = np.flatnonzero(np.any(np.diff(drawn, axis=0) != 0.0, axis=1))
    assert np.diff(changes).min() >= 3
    shares = np.mean(np.any(drawn != 0.0, axis=1))
    assert 0.5 < shares < 0.7
    np.testing.assert_allclose(drawn[drawn[:, 0] != 0.0].std(axis=0), noise.spread, rtol=0.15)


def test_a_policy_sees_the_goal_where_the_cup_stood() -> None:
    env = gym.make("reach/CupReach-v1", **GOALS)
    space: Any = env.observation_space
    seen = {name: torch.as_tensor(part, dtype=torch.float32)[None] for name, part in env.reset(seed=1)[0].items()}
    features = ScaledGoal(space)
    first = features(seen)
    seen["observation"][:, 3:5] += 0.1
    seen["desired_goal"][:, 2:] += 1.0
    assert torch.equal(features(seen), first), "neither the cup itself nor what a goal asks for besides its place"
    seen["desired_goal"][:, 0] += 0.01
    assert (features(seen) != first).sum() == 2


def test_commands_follow_what_the_policy_wants_alike_in_learning_and_in_acting() -> None:
    model = make_learner(
        "reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0, action_noise=None
    )
    env = gym.make("reach/CupReach-v1", **GOALS)
    observation, _ = env.reset(seed=1)
    # A target far from the command at rest, and no spread around it.
    with torch.no_grad():
        model.actor.mu.weight.zero_()
        model.actor.mu.bias.fill_(0.5)
        model.actor.log_std.weight.zero_()
        model.actor.log_std.bias.fill_(-20.0)
    model.policy.begin_average()
    decided = model.policy.predict(observation, deterministic=True)[0]
    wanted = ABSOLUTE.command_after(decided, np.zeros(4))
    far = np.abs(wanted - observation["observation"][-4:])
    for _ in range(30):
        command, _ = model.predict(observation, deterministic=True)
        observation, *_ = env.step(command)
        left = np.abs(wanted - observation["observation"][-4:])
        # The learner knows its resting command to three digits.
        assert (left < far + 1e-3).all()
        far = left
    assert (far < 0.05).all()
    decisions = 6
    model.learn(decisions * DECISION_STEPS)
    assert model.num_timesteps == decisions * DECISION_STEPS, "control steps are counted"
    kept = model.replay_buffer
    assert kept.pos == decisions
    np.testing.assert_allclose(
        kept.actions[:decisions, 0], model.policy.scale_action(np.tile(decided, (decisions, 1))), atol=1e-5
    )
    before, after = (part["observation"][:decisions, 0, -4:] for part in (kept.observations, kept.next_observations))
    left_share = (1.0 - APPROACH_SHARE) ** DECISION_STEPS
    np.testing.assert_allclose(after - wanted, left_share * (before - wanted), atol=2e-3)


def test_a_decision_is_held_by_who_hands_it_over_and_made_anew_where_a_trial_begins() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    envs = make_vec_env("reach/CupReach-v1", 3, env_kwargs=GOALS, seed=1)
    observations: Any = envs.reset()
    state, over, decided = None, np.ones(3, dtype=bool), []
    wants = model.policy.predict(observations, deterministic=True)[0]
    for step in range(2 * DECISION_STEPS + 3):
        # The second environment is said to begin anew in the middle of a decision.
        over[:] = step == 0
        over[1] |= step == 3
        commands, state = model.predict(observations, state=state, episode_start=over, deterministic=True)
        now = model.policy.predict(observations, deterministic=True)[0]
        due = np.array(
            [step % DECISION_STEPS == 0, step == 0 or (step - 3) % DECISION_STEPS == 0, step % DECISION_STEPS == 0]
        )
        wants = np.where(due[:, None], now, wants)
        decided.append(due)
        last = observations["observation"][:, -4:]
        command = last + APPROACH_SHARE * (ABSOLUTE.command_after(wants, last) - last)
        np.testing.assert_allclose(commands, ABSOLUTE.action_for(command, last), atol=1e-6)
        alone = {name: part[2] for name, part in observations.items()}
        one, held = model.predict(alone, state=state[2:] if step else None, deterministic=True)
        assert one.shape == (4,)
        assert held.shape == (1, 5)
        observations, *_ = envs.step(commands)
    assert np.sum(decided, axis=0).tolist() == [3, 3, 3]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_trial_goes_as_in_training_when_states_are_handed_over(seed: int) -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    with torch.no_grad():
        # A policy that wants something else wherever it is.
        model.policy.averaged_actor.mu.weight.mul_(30.0)
    venv = make_vec_env("reach/CupReach-v1", 1, env_kwargs=GOALS)
    venv.seed(seed)
    trained_in = HeldCommands(limit_to_reach_commands(venv))
    decisions, courses = trained_in.reset(), []
    over = False
    while not over:
        wanted = model.policy.predict(decisions, deterministic=True)[0]
        decisions, _, done, info = trained_in.step(wanted)
        over = bool(done[0])
        end = info[0]["terminal_observation"] if over else {name: part[0] for name, part in decisions.items()}
        courses.append(end["observation"])
    env = gym.make("reach/CupReach-v1", **GOALS)
    observation, _ = env.reset(seed=seed)
    state, start, step, over = None, np.ones(1, dtype=bool), 0, False
    while not over:
        command, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(command)
        step, over, start = step + 1, terminated or truncated, np.zeros(1, dtype=bool)
        if over or step % DECISION_STEPS == 0:
            np.testing.assert_array_equal(observation["observation"], courses.pop(0))
    assert not courses
    assert step > 3 * DECISION_STEPS


def test_a_decision_ends_with_its_trial() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    model.learn(TRIAL_STEPS + 4 * DECISION_STEPS)
    buffer = model.replay_buffer
    lengths = buffer.ep_length[: buffer.pos, 0]
    first = int(lengths[0])
    assert first == -(-TRIAL_STEPS // DECISION_STEPS)
    assert buffer.timeouts[first - 1, 0]
    assert not buffer.timeouts[: first - 1].any()
    # The last decision of the trial was held for less; control steps are counted, not decisions.
    assert model.num_timesteps == TRIAL_STEPS + (buffer.pos - first) * DECISION_STEPS


def test_decisions_of_several_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="env: expected 1 environment, got 2"):
        make_learner("reward-tqc-mlp-bp", make_vec_env("reach/CupReach-v1", 2, env_kwargs=GOALS), seed=3)


def test_a_tip_keeps_its_goal_in_hindsight_and_costs_no_more_than_time_can() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, gradient_steps=0)
    model.learn(6_000)
    buffer = model.replay_buffer
    index = np.flatnonzero(buffer.next_observations["achieved_goal"][: buffer.pos, 0, GOAL_TIP_PENALTY] > 0.0)
    assert len(index) > 0
    goals = buffer._sample_goals(index, np.zeros_like(index))
    np.testing.assert_array_equal(goals, buffer.next_observations["desired_goal"][index, 0])
    rewards = buffer.sample(4_000).rewards.numpy()
    longest_wait = -1.0 / (1.0 - model.gamma)
    assert rewards.min() == pytest.approx(longest_wait)
    assert set(np.unique(rewards[rewards > rewards.min()])) <= {-1.0, 0.0}


def test_the_policy_acts_by_the_average_of_its_weights_without_exploration() -> None:
    settings: dict[str, Any] = {"learning_starts": 160, "batch_size": 32}
    model = make_learner("reward-tqc-mlp-bp", gym.make("reach/CupReach-v1", **GOALS), seed=3, **settings)
    policy = model.policy
    followed: list[torch.Tensor] = [policy.averaged_actor.mu.bias.clone()]
    average = policy.average

    def watched(updates: int) -> None:
        share = 1.0 - (1.0 - LATEST_SHARE) ** updates
        followed.append(followed[-1] + share * (policy.actor.mu.bias.detach() - followed[-1]))
        average(updates)

    policy.average = watched
    model.learn(400)
    assert len(followed) > 5
    torch.testing.assert_close(policy.averaged_actor.mu.bias, followed[-1])
    assert not torch.equal(policy.averaged_actor.mu.bias, policy.actor.mu.bias)
    observation, _ = gym.make("reach/CupReach-v1", **GOALS).reset(seed=1)
    wanted, _ = policy.predict(observation, deterministic=True)
    policy.actor.load_state_dict(policy.averaged_actor.state_dict())
    np.testing.assert_array_equal(policy.predict(observation, deterministic=True)[0], wanted)
