"""Every learner answers Stable-Baselines3's interface, learns, can be kept, and is honest."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from agents.learner import env_for, evaluate, learner_of, load_learner, make_learner, prepare, train_trials
from agents.registry import find, learners
from agents.reward.on_policy import RewardPPO
from agents.vec_env import CupVecEnv
from reach import CurlField, Rotation
from reach.protocols import BASELINE, PERTURBED, WASHOUT, Block, Protocol
from reach.protocols.wrapper import WASHOUT_ONSET_LAUNCH_ERROR
from reach.study.run import run_protocol

GRAB = "reach/CupGrab-v1"


# Every network with every rule that the seen error teaches; of the teacher reward each algorithm, with some rule.
KINDS = (
    *(name for name in learners() if not name.startswith("reward")),
    "error-dfa", "reward-ppo", "reward-mlp-ifa", "reward-sac-mlp-dfa", "reward-td3-mlp-fa",
    "reward-lstm-bp", "reward-tqc-mlp-bp",
    "reward-snn-stdp", "reward-snn-hebb",
)  # fmt: skip


def commands(model: Any, seed: int = 9, steps: int = 60, **options: Any) -> np.ndarray:
    env = gym.make(GRAB, **model.env_options)
    observation, _ = env.reset(seed=seed, options=options or None)
    state, start, found = None, np.ones(1, dtype=bool), []
    for _ in range(steps):
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        found.append(action)
        observation, _, terminated, truncated, _ = env.step(action)
        start = np.zeros(1, dtype=bool)
        if terminated or truncated:
            break
    return np.array(found)


def test_a_hundred_trials_teach_to_grab(trained: Any) -> None:
    assert evaluate(trained, GRAB, trials=40, seed=1) >= 0.9


def test_without_learning_feedback_alone_rarely_grabs() -> None:
    assert evaluate(make_learner("none", gym.make(GRAB)), GRAB, trials=40) <= 0.5


def test_trials_judged_side_by_side_are_those_judged_one_after_the_other() -> None:
    alone, side_by_side = make_learner("none", gym.make(GRAB)), make_learner("reward-ppo", gym.make(GRAB))
    side_by_side.predict = alone.predict
    share = evaluate(alone, GRAB, trials=40, seed=3)
    assert 0.0 < share < 1.0
    assert evaluate(side_by_side, GRAB, trials=40, seed=3) == share


def test_learning_again_with_the_same_seed_gives_the_same_bits() -> None:
    found = []
    for _ in range(2):
        model = make_learner("error-stdp", gym.make(GRAB), seed=4)
        train_trials(model, 5)
        found.append(commands(model))
    np.testing.assert_array_equal(found[0], found[1])


def test_evaluate_policy_and_a_plain_loop_agree(trained: Any) -> None:
    vec = make_vec_env(GRAB, n_envs=3, seed=0)
    rewards, _ = evaluate_policy(trained, vec, n_eval_episodes=12, return_episode_rewards=True)
    assert np.mean(rewards) > 10
    with_state = commands(trained)
    env = gym.make(GRAB)
    observation, _ = env.reset(seed=9)
    for expected in with_state:
        action, _ = trained.predict(observation)
        np.testing.assert_array_equal(action, expected)
        observation, *_ = env.step(action)


def test_learning_in_several_environments_at_once_works() -> None:
    model = make_learner("error-bp", make_vec_env(GRAB, n_envs=4, seed=0), seed=0)
    # Four reaches are begun with the same weights: they share a step.
    train_trials(model, 200)
    assert evaluate(model, GRAB, trials=30) >= 0.9


class Counting(BaseCallback):
    """Counts what Stable-Baselines3 promises to call."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.starts = self.ends = 0

    def _on_training_start(self) -> None:
        self.starts += 1

    def _on_step(self) -> bool:
        self.steps += 1
        return True

    def _on_training_end(self) -> None:
        self.ends += 1


@pytest.mark.parametrize("name", ["error-dfa", "reward-snn-stdp"])
def test_callbacks_are_called_and_can_stop_the_learning(name: str, tmp_path: Path) -> None:
    model = make_learner(name, gym.make(GRAB), seed=0, tensorboard_log=str(tmp_path))
    counting = Counting()
    model.learn(10_000, callback=[counting, StopTrainingOnMaxEpisodes(3)], log_interval=1, progress_bar=False)
    assert counting.starts == counting.ends == 1
    assert counting.steps == model.num_timesteps < 10_000
    assert model.trials == 3
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_learning_stops_after_the_asked_steps_between_trials() -> None:
    model = make_learner("error-bp", gym.make(GRAB), seed=0)
    model.learn(200)
    assert 200 <= model.num_timesteps < 200 + 150


@pytest.mark.parametrize("name", KINDS)
def test_every_learner_has_the_model_interface_and_a_saved_one_acts_as_before(name: str, tmp_path: Path) -> None:
    env = gym.make(GRAB, **find(name).env_options)
    # Those that replay begin to learn after the first trial.
    replays = name.startswith(("reward-sac", "reward-td3", "reward-tqc"))
    model = make_learner(name, env, seed=2, **({"learning_starts": 180} if replays else {}))
    if find(name).trials:
        train_trials(model, 3)
    else:
        model.learn(240)
    model.save(tmp_path / "kept")
    assert learner_of(tmp_path / "kept") == name
    again = load_learner(tmp_path / "kept", env_for(tmp_path / "kept"))
    np.testing.assert_array_equal(commands(model), commands(again))
    assert again.num_timesteps == model.num_timesteps
    assert type(type(model).load(tmp_path / "kept", env)) is type(model)
    for method in ("learn", "predict", "set_env", "save", "load"):
        assert callable(getattr(again, method))


def test_prepared_learners_are_trained_once(tmp_path: Path) -> None:
    told: list[float] = []
    first = prepare("none", 3, tmp_path / "none", told.append)
    again = prepare("none", 3, tmp_path / "none")
    np.testing.assert_array_equal(commands(first), commands(again))


@pytest.mark.parametrize("name", ["reward-ppo", "reward-lstm-bp"])
def test_ppo_goes_from_many_environments_to_one_and_learns_on(name: str) -> None:
    model = make_learner(name, gym.make(GRAB), seed=0, n_steps=32, batch_size=64, n_epochs=1)
    steps = 32 * model.PARALLEL_ENVS
    model.learn(steps)
    model.set_env(gym.make(GRAB))
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == steps + 64
    assert np.isfinite(commands(model, steps=5)).all()


def test_the_copies_that_ppo_learns_in_are_compiled_and_teach_the_same_to_the_bit() -> None:
    env = gym.make(GRAB, max_episode_steps=40, perturbation=Rotation(20.0), arm="shadmehr1994")
    policies = []
    for envs, is_compiled in (
        (env, True),
        (make_vec_env(lambda: gym.make(env.spec), n_envs=RewardPPO.PARALLEL_ENVS, seed=4), False),
    ):
        model = make_learner("reward-ppo", envs, seed=4, n_steps=64, n_epochs=1)
        assert isinstance(model.env.unwrapped, CupVecEnv) == is_compiled
        model.learn(128 * model.PARALLEL_ENVS)
        assert model.trials == 3 * model.PARALLEL_ENVS
        policies.append({name: weights.numpy() for name, weights in model.policy.state_dict().items()})
    np.testing.assert_equal(*policies)


@pytest.mark.parametrize("env_id", ["reach:reach/CupGrab-v1", "tests/OwnGrab-v0"])
def test_ppo_learns_in_an_environment_that_is_named_by_its_module_or_registered_by_its_user(env_id: str) -> None:
    gym.register("tests/OwnGrab-v0", entry_point="reach.env:CupEnv", max_episode_steps=40)
    model = make_learner("reward-ppo", env_id, seed=4, n_steps=16, n_epochs=1)
    model.learn(16 * model.PARALLEL_ENVS)
    assert model.num_timesteps == 16 * model.PARALLEL_ENVS
    gym.registry.pop("tests/OwnGrab-v0")


def test_what_is_wrapped_around_an_environment_is_wrapped_around_its_copies() -> None:
    clipped = gym.wrappers.TransformReward(gym.make(GRAB), abs)
    model = make_learner("reward-ppo", clipped, seed=4, n_steps=32, n_epochs=1)
    assert all(model.env.env_is_wrapped(gym.wrappers.TransformReward))


def test_tqc_begins_near_rest_and_stays_within_the_usual_commands() -> None:
    name = "reward-tqc-mlp-bp"
    env = gym.make(GRAB, **find(name).env_options)
    model = make_learner(name, env, seed=0, gradient_steps=0)
    first = commands(model, steps=3)
    np.testing.assert_allclose(first, 0.0, atol=0.2)
    model.learn(200)
    tried = np.array([env.action_space.low, model.action_space.low, *commands(model), model.action_space.high])
    assert np.all(tried[1] >= tried[0])
    assert np.all((tried >= tried[1] - 1e-6)[1:])
    assert np.all((tried <= tried[-1] + 1e-6)[1:])
    model.set_env(gym.make(GRAB, **find(name).env_options))
    model.learn(50, reset_num_timesteps=False)
    assert model.num_timesteps >= 250


def test_td3_explores_around_what_its_policy_asks_for() -> None:
    model = make_learner("reward-td3-mlp-bp", gym.make(GRAB), seed=0, gradient_steps=0, learning_starts=0)
    model.learn(500)
    buffer = model.replay_buffer
    asked = model.policy.scale_action(model.predict(buffer.observations[:500, 0], deterministic=True)[0])
    strayed = buffer.actions[:500, 0] - asked
    np.testing.assert_allclose(strayed.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(strayed.std(axis=0), 0.3, atol=0.03)


def test_commands_are_not_narrowed_where_they_are_torques() -> None:
    model = make_learner("reward-tqc-mlp-bp", gym.make(GRAB, control="torque", observation="goal"), seed=0)
    np.testing.assert_array_equal(model.action_space.low, -np.ones(4))


@pytest.mark.parametrize(("name", "observation"), [("reward-tqc-mlp-bp", "vector"), ("reward-sac-mlp-bp", "goal")])
def test_learners_from_reward_refuse_observations_they_are_not_made_for(name: str, observation: str) -> None:
    with pytest.raises(ValueError, match=f"observation='{observation}'"):
        make_learner(name, gym.make(GRAB, observation=observation))


@pytest.mark.parametrize("perturbation", [Rotation(30.0, 0.5), CurlField(13.0, 0.5)])
def test_a_learner_does_not_know_of_a_perturbation_before_its_senses_do(trained: Any, perturbation: Any) -> None:
    plain = commands(trained)
    perturbed = commands(trained, perturbation=perturbation)
    both = min(len(plain), len(perturbed))
    differing = np.flatnonzero(np.any(plain[:both] != perturbed[:both], axis=1))
    # What happens from 0.5 s on is felt 0.05 s, and seen 0.1 s, later.
    assert both > 28
    assert np.all(differing >= round((0.5 + 0.05) / 0.02))
    assert len(differing) > 0 or len(plain) != len(perturbed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_learner("error-dfaa", None), "error-dfaa.*error-dfa"),
        (lambda: make_learner("error-bp", gym.make(GRAB), rate=5.0), r"rate: expected .*, got 5\.0"),
        (
            lambda: make_learner("reward-ppo", gym.make(GRAB), learning_rate=abs),
            "learning_rate: expected a number of 0",
        ),
        (lambda: make_learner("none", gym.make(GRAB)).predict(np.zeros(7)), r"expected shape .*, got \(7,\)"),
        (lambda: make_learner("error-bp", gym.make("CartPole-v1")), "env: expected a CupEnv.*CartPole-v1"),
        (lambda: make_learner("error-bp", make_vec_env("CartPole-v1", 2)), "env: expected a CupEnv.*CartPole-v1"),
        (lambda: make_learner("reward-ppo", gym.make("Pendulum-v1")), "env: expected a CupEnv.*Pendulum-v1"),
        (lambda: make_learner("reward-snn-stdp", gym.make("CartPole-v1")), "env: expected a CupEnv.*CartPole-v1"),
    ],
)
def test_bad_input_is_refused_by_name(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["none", "error-bp", "error-stdp", "error-cnn-bp", "reward-snn-stdp"])
def test_an_observation_that_is_not_finite_is_refused_by_name(name: str) -> None:
    env = gym.make(GRAB, **find(name).env_options)
    model = make_learner(name, env)
    observation, _ = env.reset(seed=0)
    part = next((key for key in observation if key != "retina"), "") if isinstance(observation, dict) else "observation"
    values = observation[part] if isinstance(observation, dict) else observation
    for wrong in (math.nan, math.inf, -math.inf):
        for place in (0, -1):
            changed = values.copy()
            changed[place] = wrong
            given = {**observation, part: changed} if isinstance(observation, dict) else changed
            batch = {key: array[None] for key, array in given.items()} if isinstance(given, dict) else given[None]
            for refused in (given, batch):
                with pytest.raises(ValueError, match=f"{part}: expected finite numbers"):
                    model.predict(refused)
    assert np.isfinite(model.predict(observation)[0]).all()


# One learner of each way to be made.
MADE = ("none", "error-bp", "error-stdp", "reward-snn-stdp", "reward-ppo", "reward-sac-mlp-dfa")
NO_NUMBERS = ("x", None, True, math.nan, -1.0, [0.1], np.array([0.1]))


@pytest.mark.parametrize("name", MADE)
def test_a_seed_or_setting_that_is_not_valid_is_refused_by_name_value_and_what_is_expected(name: str) -> None:
    cases: list[tuple[str, Any]] = [
        *(("seed", value) for value in ("x", 1.5, -1, True, None, np.float64(3.0), [3])),
        *(("verbose", value) for value in ("x", None, -1, 1.5)),
        *(("tensorboard_log", value) for value in (3, True, "")),
    ]
    if find(name).trials:
        settings = ("exploration_rad",) if name == "reward-snn-stdp" else ("rate", "hidden_rate")
    else:
        settings = ("learning_rate",)
        cases += [("device", value) for value in (3, None, "nowhere")]
        cases.append(("buffer_size", 1e3) if "sac" in name else ("normalize_advantage", 1))
    cases += [(setting, value) for setting in settings for value in NO_NUMBERS]
    env = gym.make(GRAB)
    for setting, value in cases:
        with pytest.raises(ValueError, match=f"^{setting}: expected .*, got {re.escape(repr(value))}"):
            make_learner(name, env, **{setting: value})


@pytest.mark.parametrize("name", MADE)
def test_an_unknown_setting_is_refused_with_the_known_ones(name: str) -> None:
    expected = r"unknown setting: expected one of \[.*'(learning_)?rate'.*'verbose'.*, got 'zork'"
    with pytest.raises(ValueError, match=expected):
        make_learner(name, gym.make(GRAB), zork=1)


@pytest.mark.parametrize("name", MADE)
def test_numbers_of_numpy_are_seeds_and_settings(name: str, tmp_path: Path) -> None:
    rate = "learning_rate" if name in ("reward-ppo", "reward-sac-mlp-dfa") else "rate"
    sizes = {"buffer_size": 50} if "sac" in name else {}
    made = make_learner(name, gym.make(GRAB), seed=3, **{rate: 0.25}, **sizes)
    given = {rate: np.float32(0.25), **{size: np.int64(value) for size, value in sizes.items()}}
    ours = make_learner(name, gym.make(GRAB), seed=np.int64(3), **given, verbose=np.int32(0), tensorboard_log=tmp_path)
    np.testing.assert_array_equal(commands(ours, steps=20), commands(made, steps=20))
    for model, folder in ((ours, tmp_path / "ours"), (made, tmp_path / "made")):
        model.save(folder)
    assert (tmp_path / "ours" / "config.json").read_bytes() == (tmp_path / "made" / "config.json").read_bytes()
    load_learner(tmp_path / "ours", gym.make(GRAB))


@pytest.mark.parametrize("name", ["error-bp", "reward-snn-stdp"])
@pytest.mark.parametrize("envs", [1, 4])
def test_training_takes_as_many_trials_as_it_is_asked_to(name: str, envs: int) -> None:
    env: Any = CupVecEnv("reach/CupReach-v1", envs) if envs > 1 else gym.make("reach/CupReach-v1")
    model = make_learner(name, env)
    train_trials(model, 20)
    assert 20 <= model.trials < 20 + envs


@pytest.mark.parametrize("control", ["torque", "muscle"])
def test_what_was_learned_with_postures_serves_torques_and_muscles(trained: Any, control: str, tmp_path: Path) -> None:
    trained.save(tmp_path / "kept")
    model = load_learner(tmp_path / "kept", gym.make(GRAB, control=control))
    assert model.env_options == {"control": control}
    assert evaluate(model, GRAB, trials=20, seed=1) >= 0.8


@pytest.mark.parametrize("control", ["torque", "muscle"])
def test_error_learners_learn_by_torques_and_muscles(control: str) -> None:
    model = make_learner("error-bp", gym.make(GRAB, control=control), seed=1)
    before = evaluate(model, GRAB, trials=20)
    train_trials(model, 40)
    assert evaluate(model, GRAB, trials=20) > before + 0.2


def test_a_learner_that_sees_pictures_alone_learns_and_goes_through_a_protocol() -> None:
    options = find("error-retina-dfa").env_options
    model = make_learner("error-retina-dfa", make_vec_env(GRAB, n_envs=2, seed=0, env_kwargs=options), seed=0)
    before = evaluate(model, GRAB, trials=20)
    train_trials(model, 100)
    assert evaluate(model, GRAB, trials=20) > before + 0.2
    protocol = Protocol("short", (Block(BASELINE, 2), Block(PERTURBED, 2, (Rotation(30.0),))), source="none")
    assert len(run_protocol(model, protocol, seed=0).rows) == 4


@pytest.mark.parametrize("name", ["error-retina-bp", "error-cnn-dfa"])
def test_rate_cells_look_at_a_picture_once_a_reach(name: str) -> None:
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), seed=0)
    train_trials(model, 1)
    once = model.cost()["dense_operations"]
    train_trials(model, 3)
    assert model.cost()["dense_operations"] == 4 * once > 0


def test_a_learner_of_pictures_refuses_an_environment_without_them() -> None:
    with pytest.raises(ValueError, match="retina_colour"):
        make_learner("error-retina-dfa", gym.make(GRAB))


def test_what_a_learner_keeps_in_memory_is_read_from_the_state_that_predict_gives() -> None:
    model = make_learner("error-lstm-bp", gym.make(GRAB), seed=1)
    observation, _ = gym.make(GRAB).reset(seed=0)
    state, gates = None, []
    for _ in range(3):
        _, state = model.predict(observation, state=state)
        gates.append(state[0].network.forget_gate)
    assert all(gate.shape == (64,) and np.all((gate > 0.0) & (gate < 1.0)) for gate in gates)
    assert not np.array_equal(gates[0], gates[2])


@pytest.mark.parametrize("options", [{"observation": "goal"}, {"observation": "retina"}])
def test_error_learners_refuse_observations_they_cannot_read(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="retina_colour=True"):
        make_learner("error-bp", gym.make(GRAB, **options))


def test_a_handful_of_reaches_does_not_tell_what_is_normal(tmp_path: Path) -> None:
    model = make_learner("error-bp", gym.make("reach/CupGrab-v1"))
    train_trials(model, 5)
    model.end_baseline()
    model.save(tmp_path / "kept")
    with np.load(tmp_path / "kept" / "state.npz") as kept:
        np.testing.assert_array_equal(kept["expected_displacement_m"], [0.0, 0.0])
        np.testing.assert_array_equal(kept["error_weights"], np.eye(3))


def test_trials_are_counted_in_whole_numbers() -> None:
    model = make_learner("error-bp", gym.make(GRAB))
    for trials in (0, -1, 1.5, math.nan, True, "3"):
        for call in (train_trials, lambda model, trials: evaluate(model, GRAB, trials=trials)):
            with pytest.raises(ValueError, match="trials: expected a whole number of 1 or more, got"):
                call(model, trials)
    with pytest.raises(ValueError, match="total_timesteps: expected 0 or more, got nan"):
        model.learn(math.nan)


@pytest.mark.parametrize("learner", ["error-dfa", "error-stdp", "error-memory-bp"])
def test_the_after_effect_is_read_from_the_learner_as_the_washout_finds_it_and_changes_nothing(learner: str) -> None:
    """Before the first washout reach, each cup's first reach is launched without learning, with that reach's noise."""
    turned = Protocol(
        name="turned",
        blocks=(Block(BASELINE, 4), Block(PERTURBED, 8, (Rotation(30.0),)), Block(WASHOUT, 6)),
        source="these tests",
    )
    plain = replace(turned, blocks=(*turned.blocks[:-1], Block(BASELINE, 6)))

    def rows_of(protocol: Protocol) -> list[dict[str, Any]]:
        # Without babbling, which would go on in the protocol after a training as short as this.
        model = make_learner(learner, gym.make("reach/CupReach-v1"), seed=0, body_map="exact")
        train_trials(model, 4)
        return run_protocol(model, protocol, 0).rows

    rows, without = rows_of(turned), rows_of(plain)
    launches = [row.pop(WASHOUT_ONSET_LAUNCH_ERROR) for row in rows]
    assert [math.isnan(launch) for launch in launches] == [True] * 12 + [False] * 4 + [True] * 2
    assert launches[12] == rows[12]["launch_error_deg"]
    for row, other in zip(rows, without, strict=True):
        assert math.isnan(other.pop(WASHOUT_ONSET_LAUNCH_ERROR))
        np.testing.assert_equal({**row, "block": ""}, {**other, "block": ""})


def test_no_job_of_a_study_imports_a_part_of_torch_that_a_server_of_workers_could_load() -> None:
    code = (
        "import sys, gymnasium as gym; from agents.learner import make_learner, preload, train_trials; preload(); "
        "before = set(sys.modules); train_trials(make_learner('error-bp', gym.make('reach/CupGrab-v1')), 2); "
        "print(*(name for name in set(sys.modules) - before if name.startswith('torch._dynamo')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["mlp-bp", "retina-dfa", "lstm-bp", "snn-stdp", "brain-stdp"])
def test_the_true_state_makes_no_difference_to_what_is_learned(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []
    for truth in (True, False):
        env = gym.make(GRAB, truth=truth, **find(f"error-{name}").env_options)
        model = make_learner(f"error-{name}", env, seed=2)
        monkeypatch.setattr(type(model), "can_play", False)  # so that each step gives its `info`
        train_trials(model, 4)
        model.end_baseline()
        train_trials(model, 2)
        learned.append(model.weights())
    np.testing.assert_equal(*learned)
