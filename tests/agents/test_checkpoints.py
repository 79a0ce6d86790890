"""Checkpoints: what is refused of them, without running any of it, and the environment that they name."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from agents.checkpoint import CONFIG, POLICY, STATE, CheckpointError, write_checkpoint
from agents.learner import env_for, learner_of, load_learner, make_learner, train_trials, trained_in
from agents.registry import find

GRAB = "reach/CupGrab-v1"
FUZZED = ("error-bp", "reward-sac-mlp-shallow")
MUTANTS = 40


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of learners that have learned a little, by name."""
    root = tmp_path_factory.mktemp("kept")
    error = make_learner("error-bp", gym.make(GRAB), seed=2)
    train_trials(error, 2)
    reward = make_learner(FUZZED[1], gym.make(GRAB), seed=2, learning_starts=16, batch_size=8, buffer_size=90)
    reward.learn(64)
    for name, model in zip(FUZZED, (error, reward), strict=True):
        model.save(root / name)
    return {name: root / name for name in FUZZED}


@pytest.fixture
def copied(kept: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Gives a copy of a checkpoint, to be damaged."""
    return lambda name: Path(shutil.copytree(kept[name], tmp_path / "copied"))


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the config of a checkpoint in place."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def with_state(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the state of a checkpoint in place."""
    with np.load(folder / STATE) as stored:
        state = {name: stored[name] for name in stored.files}
    change(state)
    np.savez(folder / STATE, **state)


def npy(array: Any) -> bytes:
    """An array as an NPY file."""
    stored = BytesIO()
    np.save(stored, array)
    return stored.getvalue()


def taken_up(folder: Path) -> Any:
    """A learner as the scripts take it up."""
    return load_learner(folder, env_for(folder), resume=True)


@pytest.mark.parametrize(
    "name", ["error-dfa", "reward-ppo", "reward-sac-mlp-dfa", "reward-tqc-mlp-bp", "reward-snn-stdp"]
)
@pytest.mark.parametrize("part", [CONFIG, POLICY, STATE])
def test_a_pickle_in_a_checkpoint_is_refused_and_not_run(name: str, part: str, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path(tmp_path / "ran").write_text, ("boom",))

    env = gym.make(GRAB, **find(name).env_options)
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    (tmp_path / "kept" / part).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=part):
        load_learner(tmp_path / "kept", env)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["error-dfa", "reward-ppo", "reward-tqc-mlp-bp", "reward-snn-stdp"])
def test_a_checkpoint_that_lacks_an_entry_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    env = gym.make(GRAB, **find(name).env_options)
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / CONFIG).read_text())
    # Without these it is loaded as if it were of the usual environment, or had the exact body map or plain synapses.
    for entry in set(config) - {"format", "learner", "env", "env_options", "body_map", "synapse"}:
        less = {key: value for key, value in config.items() if key != entry}
        (tmp_path / "kept" / CONFIG).write_text(json.dumps(less))
        with pytest.raises(ValueError, match=f"checkpoint .*kept: expected .*'{entry}'.*got none"):
            load_learner(tmp_path / "kept", env, resume=True)


@pytest.mark.parametrize(
    ("setting", "value"), [("depth", 3), ("width", 64), ("body_map", "exact"), ("synapse", "two-state")]
)
def test_arrays_of_other_settings_than_the_config_has_are_refused_by_the_name_of_the_setting(
    setting: str, value: Any, tmp_path: Path
) -> None:
    make_learner("error-mlp-dfa", gym.make(GRAB), seed=2).save(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / CONFIG).read_text())
    (tmp_path / "kept" / CONFIG).write_text(json.dumps(config | {setting: value}))
    with pytest.raises(CheckpointError, match=f"checkpoint .*kept: .*; expected are those of .*{setting}={value!r}"):
        load_learner(tmp_path / "kept", gym.make(GRAB))


@pytest.mark.parametrize("name", ["error-dfa", "error-stdp", "reward-ppo", "reward-snn-stdp"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    env = gym.make(GRAB)
    make_learner(name, env, seed=2).save(tmp_path / "kept")
    policy = load_file(tmp_path / "kept" / POLICY)
    first = next(part for part, array in policy.items() if array.dtype.kind == "f" and array.size)
    policy[first].flat[0] = value
    save_file(policy, tmp_path / "kept" / POLICY)
    with pytest.raises(ValueError, match=r"checkpoint .*kept: expected finite numbers, got NaN or infinity"):
        load_learner(tmp_path / "kept", env)


@pytest.mark.parametrize("name", ["error-dfa", "reward-ppo", "reward-sac-mlp-dfa", "reward-snn-stdp"])
def test_a_learner_is_loaded_into_the_environment_that_it_was_trained_in(name: str, tmp_path: Path) -> None:
    for env_id in (GRAB, "reach/CupReach-v1"):
        make_learner(name, gym.make(env_id, **find(name).env_options), seed=2).save(tmp_path / "kept")
        assert trained_in(tmp_path / "kept") == env_for(tmp_path / "kept").spec.id == env_id


def test_a_folder_without_a_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_learner(tmp_path, gym.make(GRAB))


@pytest.mark.parametrize("learner", FUZZED)
def test_a_name_in_a_checkpoint_imports_no_module(
    learner: str, copied: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(learner)
    (tmp_path / "named_in_a_file.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for named in (f"named_in_a_file:{GRAB}", "CartPole-v1", f"reach:named_in_a_file:{GRAB}", 3):
        rewritten(folder, lambda config, named=named: config.update(env=named))
        for call in (env_for, trained_in):
            with pytest.raises(CheckpointError, match="environment"):
                call(folder)
    assert "named_in_a_file" not in sys.modules
    rewritten(folder, lambda config: config.update(env=f"reach:{GRAB}"))
    assert trained_in(folder) == env_for(folder).spec.id == GRAB
    # The user may name any environment.
    rewritten(folder, lambda config: config.update(env="theirs/Own-v0"))
    assert env_for(folder, f"reach:{GRAB}").spec.id == GRAB


@pytest.mark.parametrize("name", ["reward-ppo", "reward-td3-mlp-bp", "reward-snn-stdp"])
def test_settings_that_are_no_part_of_a_learner_are_neither_kept_nor_read(name: str, tmp_path: Path) -> None:
    env = gym.make(GRAB)
    make_learner(name, env, seed=2, tensorboard_log=str(tmp_path / "log"), verbose=0).save(tmp_path / "kept")
    config = (tmp_path / "kept" / CONFIG).read_text()
    assert str(tmp_path) not in config
    for setting, value in (
        ("tensorboard_log", str(tmp_path / "elsewhere")),
        ("verbose", 1),
        ("device", "cuda"),
        ("policy", "MlpPolicy"),
        ("policy_kwargs", {}),
        ("_init_setup_model", False),
        ("learning_rate", "1"),
        ("rate", float(2**60)),
    ):
        changed = json.loads(config)
        changed["settings"][setting] = value
        (tmp_path / "kept" / CONFIG).write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=setting):
            load_learner(tmp_path / "kept", env)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "option", [{"render_mode": "human"}, {"control": "levers"}, {"retina_px": 10**9}, {"arm": "x"}]
)
def test_options_of_the_environment_are_only_those_that_a_learner_keeps(option: Any, copied: Any) -> None:
    folder = copied("error-bp")
    rewritten(folder, lambda config: config.update(env_options=option))
    with pytest.raises(CheckpointError, match=next(iter(option))):
        env_for(folder)


MOMENT = "critic.optimizer/4/exp_avg_sq"


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    """A change of one array."""
    return lambda state: state.update({name: change(state[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(MOMENT), MOMENT),
        (lambda state: [state.pop(name) for name in list(state) if "optimizer" in name], MOMENT),
        (lambda state: state.update({"critic.optimizer/0/exp_avg": np.zeros((128, 23), np.float32)}), "got others"),
        (changed(MOMENT, lambda array: array * np.nan), MOMENT),
        (changed(MOMENT, lambda array: array - 1.0), MOMENT),
        (changed(MOMENT, lambda array: array.astype(np.float64)), MOMENT),
        (changed(MOMENT, lambda array: array[:, 1:]), MOMENT),
        (changed("critic.optimizer/4/step", lambda array: array * 0), "critic.optimizer/4/step"),
        (changed("variable/log_ent_coef", lambda array: array + np.float32(np.inf)), "log_ent_coef"),
        (changed("random/numpy", lambda array: array[1:]), "random/numpy"),
        (changed("random/torch", lambda array: array * 0), "random/torch"),
        (lambda state: state.pop("random/torch"), "random/torch"),
        (changed("buffer/rewards", lambda array: array[:-1]), "buffer/rewards"),
        (changed("buffer/observations", lambda array: array + np.float32(np.inf)), "buffer/observations"),
        (changed("buffer/dones", lambda array: array + 2), "buffer/dones"),
        (changed("buffer/actions", lambda array: array + 9), "buffer/actions"),
    ],
)
def test_a_damaged_state_of_a_learner_from_reward_is_refused_by_the_name_of_the_entry(
    change: Any, message: str, copied: Any
) -> None:
    folder = copied(FUZZED[1])
    with_state(folder, change)
    with pytest.raises(CheckpointError, match=message):
        taken_up(folder)


@pytest.mark.parametrize("name", FUZZED)
@pytest.mark.parametrize("error", [AssertionError, MemoryError, TypeError, OverflowError, RuntimeError, ValueError])
def test_whatever_stops_a_model_from_being_built_is_one_error(
    name: str, error: type[Exception], copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(name)

    def fail(*_: Any, **__: Any) -> None:
        raise error("no model\nfits these")

    monkeypatch.setattr("agents.error.learner.make_feedforward", fail)
    monkeypatch.setattr("agents.reward.off_policy.RewardSAC._default_noise", fail)
    with pytest.raises(CheckpointError, match=f"checkpoint {re.escape(str(folder))}: .*no model") as refused:
        taken_up(folder)
    assert isinstance(refused.value.__cause__, error)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("buffer", "pos"), 10**12, r"pos: expected .*, got 1000000000000"),
        (("buffer", "pos"), -1, r"pos: expected .*, got -1"),
        (("buffer", "pos"), 3, "buffer/"),
        (("buffer", "full"), True, "buffer/"),
        (("buffer", "full"), "yes", r"full: expected .*, got 'yes'"),
        (("buffer",), None, "buffer: expected a mapping, got None"),
        (("num_timesteps",), -1, r"num_timesteps: expected .*, got -1"),
        (("num_timesteps",), 1.5, r"num_timesteps: expected .*, got 1.5"),
        (("trials",), True, r"trials: expected .*, got True"),
        (("updates",), 10**400, r"updates: expected .*, got 1000"),
        (("updates",), 0, "optimizer"),
        (("numpy_random", "pos"), 625, r"pos: expected .*, got 625"),
        (("numpy_random", "gauss"), "0", r"gauss: expected .*, got '0'"),
        (("numpy_random", "gauss"), 10**400, r"gauss: expected .*, got 1000"),
        (("action_space", "bit_generator"), "MT19937", r"bit_generator: expected .*, got 'MT19937'"),
        (("action_space", "state", "inc"), 2, "even increment"),
        (("action_space", "state", "state"), 2**128, r"state: expected .*, got 34"),
        (("random_states", 0, "streams", 0), -1, r"streams: expected .*, got -1"),
        (("random_states", 0, "seeded", 0), "yes", r"seeded: expected .*, got 'yes'"),
        (("random_states", 0, "generator"), None, r"generator: expected .*, got None"),
        (("random_states",), [], "random_states: expected"),
        (("settings", "buffer_size"), 10**8, r"buffer_size: expected .*, got 100000000"),
        (("settings", "batch_size"), 2**30, r"batch_size: expected .*, got 1073741824"),
        (("settings", "n_steps"), 2**20, r"n_steps: expected .*, got 1048576"),
    ],
)
def test_a_damaged_config_of_a_learner_from_reward_is_refused_by_the_name_of_the_entry(
    path: Any, value: Any, message: str, copied: Any
) -> None:
    folder = copied(FUZZED[1])

    def change(config: Any) -> None:
        for part in path[:-1]:
            config = config[part]
        config[path[-1]] = value

    rewritten(folder, change)
    with pytest.raises(CheckpointError, match=message):
        taken_up(folder)


def test_kernels_are_given_no_delay_or_mask_out_of_range(tmp_path: Path) -> None:
    make_learner("error-stdp", gym.make(GRAB), seed=2).save(tmp_path / "kept")
    whole = load_file(tmp_path / "kept" / POLICY)
    for name, value in (("synapses.delay_steps", -1), ("synapses.delay_steps", 2**31 - 1), ("synapses.connected", 2)):
        policy = {part: array.copy() for part, array in whole.items()}
        policy[name][0] = value
        save_file(policy, tmp_path / "kept" / POLICY)
        with pytest.raises(CheckpointError, match=f"{name}.* outside"):
            taken_up(tmp_path / "kept")


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive, whose members may have the same name."""
    stored = BytesIO()
    with zipfile.ZipFile(stored, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stored.getvalue()


def safetensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "deep JSON": (CONFIG, b"[" * 100_000),
    "deep objects": (CONFIG, b'{"a":' * 100_000),
    "a huge number": (CONFIG, b'{"format": 1' + b"0" * 10_000 + b"}"),
    "no text": (CONFIG, b"\xff\xfe\x00"),
    "no finite number": (CONFIG, b'{"format": 4, "learner": "error-bp", "seed": NaN}'),
    "a list": (CONFIG, b"[]"),
    "a long name": (CONFIG, json.dumps({"format": 4, "learner": "x" * 10**6}).encode()),
    "a learner that is a list": (CONFIG, b'{"format": 4, "learner": ["error-bp"]}'),
    "bf16": (POLICY, safetensors({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"ab")),
    "an unknown type": (POLICY, safetensors({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 2]}}, b"ab")),
    "a long header": (POLICY, (2**62).to_bytes(8, "little")),
    "a deep header": (POLICY, safetensors(b"[" * 100_000)),
    "offsets outside": (POLICY, safetensors({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 2**60]}}, b"ab")),
    "nothing": (POLICY, b""),
    "a member that is no array": (STATE, zipped([("random.npy", b"no array")])),
    "a member of another name": (STATE, zipped([("random.txt", npy(np.zeros(2)))])),
    "a member outside": (STATE, zipped([("../../random.npy", npy(np.zeros(2)))])),
    "a member of a long name": (STATE, zipped([("x" * 60_000 + ".npy", npy(np.zeros(2)))])),
    "an array of objects": (STATE, zipped([("error_weights.npy", npy(np.array([{}])))])),
    "an array of text": (STATE, zipped([("error_weights.npy", npy(np.array(["a"])))])),
    "a negative shape": (STATE, zipped([("error_weights.npy", npy(np.eye(3)).replace(b"(3, 3)", b"(-3,3)"))])),
    "a deep NPY header": (STATE, zipped([("a.npy", b"\x93NUMPY\x01\x00\xff\x7f" + b"(" * 32767)])),
    "an unfinished NPY header": (STATE, zipped([("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f8,'")])),
    "another NPY version": (STATE, zipped([("a.npy", b"\x93NUMPY\x09\x00\x10\x00" + b" " * 16)])),
    "a compressed member": (STATE, zipped([("error_weights.npy", npy(np.eye(3)))], zipfile.ZIP_DEFLATED)),
    "no archive": (STATE, b"PK\x05\x06"),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("learner", FUZZED)
def test_what_a_stranger_may_have_written_is_refused_with_one_error(learner: str, what: str, copied: Any) -> None:
    folder = copied(learner)
    file, data = HOSTILE[what]
    (folder / file).write_bytes(data)
    with pytest.raises(CheckpointError) as refused:
        taken_up(folder)
    assert str(folder) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 3000


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_members_of_one_name_is_refused(copied: Any) -> None:
    folder = copied("error-bp")
    (folder / STATE).write_bytes(zipped([("error_weights.npy", npy(np.eye(3)))] * 2))
    with pytest.raises(CheckpointError, match=r"two members 'error_weights\.npy'"):
        taken_up(folder)


@pytest.mark.parametrize("part", [CONFIG, POLICY, STATE])
@pytest.mark.parametrize("what", ["folder", "pipe", "link to itself", "nothing"])
def test_what_is_no_file_in_a_checkpoint_is_refused(part: str, what: str, copied: Any) -> None:
    path = copied("error-bp") / part
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link to itself":
        path.symlink_to(path)
    with pytest.raises(CheckpointError, match=part):
        taken_up(path.parent)


def test_nothing_is_unpacked_before_it_is_known_to_fit(copied: Any) -> None:
    folder = copied("error-bp")
    large = np.zeros(64 * 2**20, np.uint8)
    with_state(folder, lambda state: state.update(error_weights=large, random=large))
    for name, data in (
        ("large", (folder / STATE).read_bytes()),
        ("packed", zipped([("error_weights.npy", npy(large))], zipfile.ZIP_DEFLATED)),
    ):
        (folder / STATE).write_bytes(data)
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=STATE):
            taken_up(folder)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < len(large) / 4, name


def mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with a few bits turned, or with a part missing, doubled or overwritten."""
    changed = bytearray(data)
    kind = rng.integers(5)
    first, last = sorted(rng.integers(len(data) + 1, size=2).tolist())
    if kind == 0:
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            changed[place] ^= 1 << rng.integers(8)
    elif kind == 1:
        # In the headers of the first arrays.
        changed[rng.integers(min(len(data), 600))] ^= 1 << rng.integers(8)
    elif kind == 2:
        del changed[first:]
    elif kind == 3:
        del changed[first:last]
    else:
        changed[first:last] = data[: last - first]
    return bytes(changed)


ODD = (None, True, -1, 0, 2**64, 10**30, 1.5, 1e308, "", "x" * 1000, "\ud800", [], {}, [[]], {"": None})


def odd_config(data: bytes, rng: np.random.Generator) -> bytes:
    """A config with one value replaced or missing."""
    whole = json.loads(data)
    inside: Any = whole
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = keys[rng.integers(len(keys))]
        if not (isinstance(inside[key], dict | list) and inside[key]) or rng.random() < 0.3:
            break
        inside = inside[key]
    if rng.random() < 0.2:
        del inside[key]
    else:
        inside[key] = ODD[rng.integers(len(ODD))]
    return json.dumps(whole).encode()


@pytest.mark.parametrize("learner", FUZZED)
@pytest.mark.parametrize("part", [CONFIG, POLICY, STATE, "values"])
def test_whatever_is_done_to_a_checkpoint_it_is_loaded_or_refused_with_one_error(
    learner: str, part: str, copied: Any
) -> None:
    folder = copied(learner)
    path = folder / (CONFIG if part == "values" else part)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(len(learner) + len(part)), 0
    for _ in range(MUTANTS):
        path.write_bytes((odd_config if part == "values" else mutant)(whole, rng))
        try:
            taken_up(folder)
        except CheckpointError:
            refused += 1
    assert refused > MUTANTS / 3


LEFT_BEHIND = """
import os, sys
from pathlib import Path
import numpy as np
from agents.checkpoint import write_checkpoint
os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
write_checkpoint(Path(sys.argv[1]), {}, {"k": np.zeros(1)}, {})
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    subprocess.run([sys.executable, "-c", LEFT_BEHIND, kept], check=False)
    (left,) = tmp_path.iterdir()
    number = left.name.split("-")[-2]
    others = {".kept.abcdefgh", ".kept.mine", ".kept.part-mine", left.name.replace(number, str(os.getpid()))}
    for name in others:
        (tmp_path / name).mkdir()
    write_checkpoint(kept, {}, {"k": np.zeros(1)}, {})
    assert {path.name for path in tmp_path.iterdir()} == others | {"kept"}


@pytest.mark.parametrize("name", ["error-mlp-bp", "reward-ppo", "reward-snn-stdp"])
def test_learning_leaves_nothing_in_the_folder_for_temporary_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = make_learner(name, gym.make("reach/CupGrab-v1"))
    model.learn(1)
    # Torch keeps a cache of its own there.
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")] == []


def test_a_checkpoint_of_another_version_is_refused_with_the_command_that_trains_it(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("error-bp")
    rewritten(folder, lambda config: config.update(format=2))
    with pytest.raises(CheckpointError, match=r"format 4, .*--learner 'error-bp'"):
        learner_of(folder)
