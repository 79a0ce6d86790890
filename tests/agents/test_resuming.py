"""A learner kept, loaded in another process and taught on is the same, to the bit, as one that never stopped."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from safetensors.numpy import load_file
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from agents.checkpoint import (
    CONFIG,
    POLICY,
    STATE,
    CheckpointError,
    Entry,
    read_checkpoint,
    read_config,
    write_checkpoint,
)
from agents.learner import env_for, load_learner, make_learner, train_trials
from agents.registry import find
from agents.vec_env import CupVecEnv

GRAB = "reach/CupGrab-v1"
ROOT = Path(__file__).parents[2]
# A process that has imported everything, and forks one for each line of JSON: the code that it runs, its words, and the
# file that takes its errors. It answers with the exit status. One thread, as in this process: with more a network gives
# other last bits.
FORKS = """
import json, os, sys, traceback
import torch, rich, tqdm, tyro
torch.set_num_threads(1)
import torch._dynamo  # which an optimiser imports in its first step
import agents.error.learner, agents.reward.off_policy, agents.reward.on_policy, agents.reward.spiking
import gymnasium as gym
env = gym.make("reach/CupGrab-v1")
env.reset(seed=0)
env.step(env.action_space.sample())
for line in sys.stdin:
    code, words, errors = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        sys.argv = words
        sys.stderr = open(errors, "w", buffering=1)
        try:
            exec(code, {"__name__": "__main__"})
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
            if isinstance(status, str):
                print(status, file=sys.stderr)
                status = 1
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    print("started", child, file=answers, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


class Forks:
    """Processes as fresh as new interpreters, without the seconds that it takes to import the learners."""

    def __init__(self, folder: Path) -> None:
        # What learners print goes nowhere.
        code = "import os, sys\nanswers = os.fdopen(os.dup(1), 'w')\nos.dup2(os.open(os.devnull, 1), 1)\n" + FORKS
        self.errors = folder / "errors.txt"
        self.server = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, code: str, *words: object) -> int:
        """Start a process; return its number."""
        assert self.server.stdin is not None
        print(json.dumps([code, [str(word) for word in words], str(self.errors)]), file=self.server.stdin, flush=True)
        return self._answer("started")

    def join(self) -> int:
        """Wait for the process that was started last; return its exit status, below 0 for a signal."""
        return self._answer("ended")

    def run(self, code: str, *words: object) -> None:
        """Run a process to its end, which has to be a good one."""
        self.start(code, *words)
        assert self.join() == 0, self.errors.read_text()

    def _answer(self, expected: str) -> int:
        assert self.server.stdout is not None
        what, number = self.server.stdout.readline().split()
        assert what == expected
        return int(number)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.server.kill()
    made.server.communicate()


GO_ON = """
import sys
from agents.learner import env_for, load_learner, train_trials
half, whole = sys.argv
model = load_learner(half, env_for(half), resume=True)
train_trials(model, 7)
model.save(whole)
"""


def everything(folder: Path) -> dict[str, bytes]:
    """Config and arrays, as bytes."""
    with np.load(folder / STATE) as stored:
        arrays = {name: stored[name].tobytes() for name in stored.files}
    return arrays | {name: (folder / name).read_bytes() for name in (CONFIG, POLICY)}


@pytest.mark.parametrize(
    "name",
    [
        "error-mlp-ifa",
        "error-mlp-ifa,body_map=babbled",
        "error-mlp-kp,synapse=two-state",
        "error-lstm-bp,synapse=two-state",
        "error-snn-stdp,synapse=two-state",
        "error-snn-stdp",
        "error-mlp-dfa-hidden",
        "error-lstm-dfa-hidden",
        "error-memory-bp",
        "error-brain-stdp",
        "error-structural-stdp",
        "error-cnn-ifa",
        "reward-snn-stdp",
    ],
)
def test_going_on_in_another_process_is_never_having_stopped(
    name: str, forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.error.memory.UPDATES", 20)
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), seed=5)
    train_trials(model, 9)
    model.end_baseline()
    model.save(tmp_path / "half")
    forks.run(GO_ON, tmp_path / "half", tmp_path / "whole")
    train_trials(model, 7)
    model.save(tmp_path / "never_stopped")
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


# Rollouts of 16 steps, each learned from twice.
SHORT = {"n_steps": 16, "n_epochs": 2}
LEARN_ON = """
import sys
from agents.learner import env_for, load_learner
half, whole, steps = sys.argv
model = load_learner(half, env_for(half), resume=True)
model.learn(int(steps), reset_num_timesteps=False)
model.save(whole)
"""


@pytest.mark.parametrize(
    ("name", "steps", "settings"),
    [
        ("reward-mlp-dfa", 128 * 16, SHORT),
        ("reward-lstm-bp", 16 * 16, SHORT),
        ("reward-sac-mlp-dfa", 250, {"learning_starts": 200}),
        ("reward-td3-mlp-ifa", 250, {"learning_starts": 200}),
        ("reward-tqc-mlp-bp", 220, {"learning_starts": 180, "gradient_steps": 1}),
        # Its buffer has begun to be written over.
        ("reward-tqc-mlp-bp", 320, {"learning_starts": 300, "buffer_size": 60, "gradient_steps": 1}),
    ],
)
def test_learning_from_reward_goes_on_too(
    name: str, steps: int, settings: dict[str, Any], forks: Forks, tmp_path: Path
) -> None:
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), seed=5, **settings)
    model.learn(steps)
    model.save(tmp_path / "half")
    forks.run(LEARN_ON, tmp_path / "half", tmp_path / "whole", steps)
    model.learn(steps, reset_num_timesteps=False)
    model.save(tmp_path / "never_stopped")
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


class SaveAtRollout(BaseCallback):
    """Save the model at the start of its n-th rollout, and go on."""

    def __init__(self, folder: Path, rollout: int) -> None:
        super().__init__()
        self.folder = folder
        self.left = rollout
        self.steps = 0

    def _on_rollout_start(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.model.save(self.folder)
            self.steps = self.model.num_timesteps

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "steps", "rollout", "settings"),
    [
        ("reward-mlp-dfa", 4 * 128 * 16, 3, SHORT),
        ("reward-lstm-bp", 4 * 16 * 16, 4, SHORT),
        ("reward-sac-mlp-dfa", 400, 15, {"learning_starts": 200}),
        ("reward-td3-mlp-ifa", 400, 22, {"learning_starts": 200}),
        ("reward-tqc-mlp-bp", 400, 20, {"learning_starts": 180, "gradient_steps": 1}),
        ("reward-tqc-mlp-bp", 500, 27, {"learning_starts": 300, "buffer_size": 60, "gradient_steps": 1}),
    ],
)
def test_learning_goes_on_from_the_start_of_any_rollout(
    name: str, steps: int, rollout: int, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = make_learner(name, gym.make(GRAB, **find(name).env_options), seed=5, **settings)
    saving = SaveAtRollout(tmp_path / "half", rollout)
    model.learn(steps, callback=saving)
    assert 0 < saving.steps < steps
    model.save(tmp_path / "never_stopped")
    again = load_learner(tmp_path / "half", env_for(tmp_path / "half"), resume=True)
    again.learn(steps - saving.steps, reset_num_timesteps=False)
    again.save(tmp_path / "whole")
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


def test_learning_in_wrapped_environments_goes_on_from_the_start_of_any_rollout(tmp_path: Path) -> None:
    def made() -> Any:
        return make_vec_env(lambda: TimeLimit(gym.make(GRAB), 40), n_envs=3)

    model = make_learner("reward-ppo", made(), seed=5, n_steps=50, batch_size=50)
    saving = SaveAtRollout(tmp_path / "half", 3)
    model.learn(5 * 150, callback=saving)
    model.save(tmp_path / "never_stopped")
    again = load_learner(tmp_path / "half", made(), resume=True)
    assert again.stretch_start == 0
    # What is loaded in the middle of learning can be kept there once more.
    again.save(tmp_path / "half_again")
    assert everything(tmp_path / "half_again") == everything(tmp_path / "half")
    again.learn(5 * 150 - saving.steps, reset_num_timesteps=False)
    again.save(tmp_path / "whole")
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


def test_trials_under_way_that_cannot_be_are_refused(tmp_path: Path) -> None:
    model = make_learner("reward-ppo", make_vec_env(GRAB, n_envs=3), seed=5, n_steps=50, batch_size=50)
    model.learn(300, callback=SaveAtRollout(tmp_path / "kept", 2))
    config, policy = read_config(tmp_path / "kept"), load_file(tmp_path / "kept" / POLICY)
    with np.load(tmp_path / "kept" / STATE) as stored:
        state = dict(stored)
    for name, wrong, message in (
        ("ages", np.full(3, 51), "ages: expected"),
        ("ages", np.zeros(2, dtype=np.int64), "under_way/ages"),
        ("observation.", np.full_like(state["under_way/observation."], np.nan), "under_way/observation"),
        ("commands", np.float32(1.0), "under_way/commands"),
        ("commands", np.full_like(state["under_way/commands"], np.nan), "commands"),
        ("more", np.zeros(1), "under_way/more"),
    ):
        write_checkpoint(tmp_path / "wrong", config, policy, state | {f"under_way/{name}": np.asarray(wrong)})
        with pytest.raises(CheckpointError, match=message):
            load_learner(tmp_path / "wrong", make_vec_env(GRAB, n_envs=3), resume=True)


@pytest.mark.parametrize("name", ["error-mlp-bp", "reward-snn-stdp"])
def test_two_stretches_of_learning_are_one(name: str, tmp_path: Path) -> None:
    for stretches in ((6, 6), (12,)):
        model = make_learner(name, gym.make(GRAB), seed=5)
        for trials in stretches:
            train_trials(model, trials)
        model.save(tmp_path / str(len(stretches)))
    assert everything(tmp_path / "2") == everything(tmp_path / "1")


@pytest.mark.parametrize("name", ["error-mlp-dfa", "reward-snn-stdp"])
@pytest.mark.parametrize("kind", ["dummy", "native"])
def test_vectors_of_environments_go_on_too(name: str, kind: str, tmp_path: Path) -> None:
    def made() -> object:
        if kind == "dummy":
            return make_vec_env(GRAB, n_envs=3)
        return CupVecEnv(GRAB, 3)

    model = make_learner(name, made(), seed=5)
    train_trials(model, 2)
    model.save(tmp_path / "half")
    again = load_learner(tmp_path / "half", made(), resume=True)
    for one, kept in ((model, "never_stopped"), (again, "whole")):
        train_trials(one, 2)
        one.save(tmp_path / kept)
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


def test_going_on_in_another_number_of_environments_is_refused(tmp_path: Path) -> None:
    make_learner("error-mlp-dfa", make_vec_env(GRAB, n_envs=3), seed=5).save(tmp_path / "kept")
    with pytest.raises(ValueError, match="random_states: expected those of 1 environments, got those of 3"):
        load_learner(tmp_path / "kept", gym.make(GRAB), resume=True)


@pytest.mark.parametrize(
    ("name", "steps"),
    [("none", 0), ("error-mlp-bp", 0), ("reward-snn-stdp", 0), ("reward-ppo", 128 * 32), ("reward-sac-mlp-bp", 40)],
)
def test_the_same_training_is_kept_as_the_same_bytes(name: str, steps: int, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        model = make_learner(name, gym.make(GRAB), seed=5)
        if steps:
            model.learn(steps)
        model.save(tmp_path / folder)
    files = [{file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()} for folder in ("one", "other")]
    assert files[0] == files[1]


@pytest.mark.parametrize(("name", "envs"), [("error-mlp-bp", 1), ("error-mlp-bp", 3), ("reward-ppo", 8)])
def test_a_learner_kept_before_its_first_trial_goes_on_as_one_that_never_stopped(
    name: str, envs: int, tmp_path: Path
) -> None:
    def made() -> Any:
        return gym.make(GRAB) if envs == 1 else CupVecEnv(GRAB, envs)

    model = make_learner(name, made(), seed=5)
    model.save(tmp_path / "new")
    model.learn(128)
    model.save(tmp_path / "never_stopped")
    # Not before: Stable-Baselines3 draws from global generators, which loading sets.
    again = load_learner(tmp_path / "new", made(), resume=True)
    again.learn(128)
    again.save(tmp_path / "whole")
    assert everything(tmp_path / "whole") == everything(tmp_path / "never_stopped")


TRAIN = """
import runpy, sys
sys.path.insert(0, "scripts")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def saved_amount(folder: Path, counted: str) -> int:
    """How much a checkpoint has learned from; 0 while there is none, or while it is replaced."""
    try:
        return int(read_config(folder)[counted])
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(
    ("learner", "amount"),
    [("error-mlp-dfa", ("--trials", "120")), ("reward-sac-mlp-bp,learning_starts=1000", ("--timesteps", "1400"))],
)
def test_a_training_that_is_killed_or_stopped_ends_as_one_that_was_not(
    learner: str,
    amount: tuple[str, str],
    forks: Forks,
    tmp_path: Path,
    wait_until: Callable[[Callable[[], bool]], None],
) -> None:
    words = ["scripts/train.py", "--learner", learner, *amount, "--judge", "0", "--out"]
    counted = amount[0].removeprefix("--").replace("timesteps", "num_timesteps")
    # There is no checkpoint yet: the run starts from the beginning.
    forks.run(TRAIN, *words, tmp_path / "whole", "--resume")
    out, amount_before = tmp_path / "interrupted", 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        command = [*words, out, "--keep-every-s", "0.05", *(["--resume"] if amount_before else [])]
        running = forks.start(TRAIN, *command)

        def has_saved_more(running: int = running, before: int = amount_before) -> bool:
            os.kill(running, 0)
            return saved_amount(out, counted) > before

        wait_until(has_saved_more)
        os.kill(running, number)
        assert forks.join() == (-number if number == signal.SIGKILL else 128 + number)
        message = forks.errors.read_text()
        assert (shlex.join(map(str, command)) + " --resume" in message) == (number == signal.SIGTERM)
        amount_before = saved_amount(out, counted)
        assert 0 < amount_before < int(amount[1])
    forks.run(TRAIN, *words, out, "--resume")
    assert everything(out) == everything(tmp_path / "whole")


WRITE_FOREVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from agents.checkpoint import write_checkpoint
(folder,) = map(Path, sys.argv)
for k in itertools.count():
    write_checkpoint(folder, {"k": k}, {"k": np.full(10_000, k)}, {"k": np.full(10_000, k)})
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(
    forks: Forks, tmp_path: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(10):
        folder = tmp_path / str(number)
        writer = forks.start(WRITE_FOREVER, folder)

        def has_written(writer: int = writer, folder: Path = folder) -> bool:
            os.kill(writer, 0)
            return folder.exists()

        wait_until(has_written)
        # Not to wait for anything, but to strike at another moment each time.
        time.sleep(float(rng.uniform(0.0, 0.02)))
        os.kill(writer, signal.SIGKILL)
        assert forks.join() == -signal.SIGKILL
        expected = {"k": Entry(np.dtype(np.int64), (10_000,))}
        config, policy, state = read_checkpoint(folder, expected, expected)
        assert np.all(policy["k"] == config["k"])
        assert np.all(state["k"] == config["k"])


def test_what_was_normal_at_baseline_is_still_known_after_loading(tmp_path: Path) -> None:
    model = make_learner("error-mlp-bp", gym.make(GRAB), seed=5)
    for _ in range(200):
        model.baseline.add(np.array([0.01, -0.02]), np.zeros(3))
    model.end_baseline()
    model.save(tmp_path / "kept")
    again = load_learner(tmp_path / "kept", gym.make(GRAB), resume=True)
    np.testing.assert_array_equal(again.baseline.expected, model.baseline.expected)
    np.testing.assert_allclose(again.baseline.expected, [0.01, -0.02])


def test_a_learner_with_enough_to_replay_learns_at_once_when_its_steps_are_counted_anew() -> None:
    model = make_learner("reward-sac-mlp-bp", gym.make(GRAB), seed=5, learning_starts=100)
    model.learn(160)
    before = model._n_updates
    model.learn(48)
    assert model.num_timesteps == 48
    assert model._n_updates > before > 0
