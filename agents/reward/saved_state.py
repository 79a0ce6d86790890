"""Saved state of learners from reward: entries of a checkpoint besides weights, and Stable-Baselines3's zip files.

A checkpoint holds transitions, Adam's moments and random states. A zip file of a model of Stable-Baselines3 contains
pickles, which can run any code when they are loaded. By default only its tensors are read (`weights_only`). The network
is rebuilt from their shapes and filled by `set_parameters`, so settings that shapes do not show, such as custom
activations, are lost. With `trust`, Stable-Baselines3 loads the file including pickles.
"""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import load_from_zip_file

from agents.checkpoint import CheckpointError, Entry, entries_of, in_brief, parsing, require_stored
from agents.settings import FLAG, Setting, short
from agents.trial_learner import make_logger

TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# Arrays of a hindsight buffer: first transition of each trial, and length of each trial that has ended.
TRIALS = ("ep_start", "ep_length")
UNFINISHED = "_current_ep_start"
# Actions are scaled to -1..1, up to rounding.
LARGEST_ACTION = 1.0 + 1e-5
# Size of the state of NumPy's global generator, a Mersenne twister, and the valid values of its other entries.
TWISTER_WORDS = 624
NUMPY_RANDOM = {
    "pos": Setting(0, TWISTER_WORDS, whole=True),
    "has_gauss": Setting(0, 1, whole=True),
    "gauss": Setting(-sys.float_info.max),
}
CUDA_STATE_BYTES = 16


def position_of(buffer: ReplayBuffer) -> dict[str, Any]:
    """Return the position of the next transition, as JSON values."""
    return {"pos": int(buffer.pos), "full": bool(buffer.full)}


def position_settings(buffer: ReplayBuffer) -> dict[str, Setting]:
    """Return the valid values of the result of `position_of`."""
    return {"pos": Setting(0, buffer.buffer_size - 1, whole=True), "full": FLAG}


def transitions_of(buffer: ReplayBuffer, position: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Return views of the stored transitions by name, in a buffer whose next transition goes to `position`.

    Transitions are on the first axis. The arrays of a dictionary are named `name.key`.
    """
    has_trials = isinstance(buffer, HerReplayBuffer)
    arrays: dict[str, NDArray[Any]] = {}
    for name in (*TRANSITIONS, *(TRIALS if has_trials else ())):
        stored = getattr(buffer, name)
        arrays |= {f"{name}.{k}": part for k, part in stored.items()} if isinstance(stored, dict) else {name: stored}
    filled = buffer.buffer_size if position["full"] else position["pos"]
    arrays = {name: values[:filled] for name, values in arrays.items()}
    return arrays | ({UNFINISHED: getattr(buffer, UNFINISHED)} if has_trials else {})


def buffer_entries(buffer: ReplayBuffer, position: dict[str, Any]) -> dict[str, Entry]:
    """Return the expected form of the arrays of `transitions_of` in a checkpoint."""
    limits: dict[str, tuple[float, float]] = {
        "actions": (-LARGEST_ACTION, LARGEST_ACTION),
        "dones": (0.0, 1.0),
        "timeouts": (0.0, 1.0),
        "ep_start": (0, buffer.buffer_size - 1),
        "ep_length": (0, buffer.buffer_size),
        UNFINISHED: (0, buffer.buffer_size - 1),
    }
    return entries_of(transitions_of(buffer, position), limits)


def fill_buffer(buffer: ReplayBuffer, saved: dict[str, NDArray[Any]], position: dict[str, Any]) -> None:
    """Fill a buffer with the results of `transitions_of` and `position_of`, already checked by `buffer_entries`."""
    for name, values in transitions_of(buffer, position).items():
        values[...] = saved[name]
    buffer.pos, buffer.full = position["pos"], position["full"]


def end_trials(buffer: ReplayBuffer) -> None:
    """Mark the last transition as truncated by the time limit, so that the next transition begins a new trial."""
    if buffer.pos == 0 and not buffer.full:
        return
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            # The truncation, of which Stable-Baselines3 warns, is intended.
            warnings.simplefilter("ignore", UserWarning)
            buffer.truncate_last_trajectory()
    else:
        last = buffer.pos - 1
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], np.logical_not(buffer.dones[last]))


def global_states(device: torch.device) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the states of the global generators of torch and NumPy, from which Stable-Baselines3 draws.

    Returns:
        Arrays by name, and the other entries of the state of NumPy's generator as JSON values.
    """
    numpy_random: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    arrays = {"random/torch": torch.get_rng_state().numpy(), "random/numpy": numpy_random["state"]["key"]}
    if device.type == "cuda":
        arrays["random/cuda"] = torch.cuda.get_rng_state(device).numpy()
    return arrays, {
        "pos": int(numpy_random["state"]["pos"]),
        "has_gauss": int(numpy_random["has_gauss"]),
        "gauss": float(numpy_random["gauss"]),
    }


def global_entries() -> dict[str, Entry]:
    """Return the expected form of the arrays of `global_states` in a checkpoint."""
    return {
        "random/torch": Entry(np.dtype(np.uint8), tuple(torch.get_rng_state().shape)),
        "random/numpy": Entry(np.dtype(np.uint32), (TWISTER_WORDS,)),
        "random/cuda": Entry(np.dtype(np.uint8), (CUDA_STATE_BYTES,), is_optional=True),
    }


def set_global_states(
    device: torch.device, arrays: dict[str, NDArray[Any]], numpy_random: dict[str, Any], path: str | Path
) -> None:
    """Set the states that `global_states` returned; CUDA's generator is set only for a learner on a CUDA device.

    Raises:
        CheckpointError: torch rejects the state of a generator.
    """
    for name in ("random/torch", *(("random/cuda",) if device.type == "cuda" and "random/cuda" in arrays else ())):
        state = torch.from_numpy(np.array(arrays[name]))
        try:
            torch.set_rng_state(state) if name == "random/torch" else torch.cuda.set_rng_state(state, device)
        except RuntimeError as error:
            raise CheckpointError(
                f"checkpoint {path}: {name}: expected the state of a torch generator, got one that torch refuses: "
                f"{in_brief(error)}"
            ) from error
    words = {"key": arrays["random/numpy"], "pos": numpy_random["pos"]}
    np.random.set_state({**numpy_random, "bit_generator": "MT19937", "state": words})  # noqa: NPY002


COMPLAINT = "is not a model of Stable-Baselines3"


def load_zip(path: str | Path, env: Any, *, trust: bool = False) -> Any:
    """Load a model of Stable-Baselines3's PPO, SAC or TD3 with an "MlpPolicy".

    Args:
        path: path of the zip file.
        env: environment with the observation and action spaces of the model.
        trust: whether to load pickles, which can run any code.

    Raises:
        CheckpointError: the file is missing or damaged, or its network cannot be rebuilt from shapes.
    """
    path = Path(path)
    with parsing(path, COMPLAINT):
        _require_plain(path)
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
        policy = _policy_of(parameters, path)
    kind: Any = PPO
    prefix = "mlp_extractor.policy_net"
    if "actor.optimizer" in parameters:
        is_soft = isinstance(variables, dict) and variables.get("log_ent_coef") is not None
        kind, prefix = (SAC, "actor.latent_pi") if is_soft else (TD3, "actor.mu")
    if trust:
        with parsing(path, COMPLAINT):
            return kind.load(path, env=env, device="cpu")
    shapes = {name: tuple(value.shape) for name, value in policy.items()}
    sizes = [math.prod(space.shape or ()) for space in (env.observation_space, env.action_space)]
    hidden = _cells(shapes, prefix, sizes[0])
    if kind is TD3:
        # The last layer of this actor is the output, not a hidden layer.
        hidden = hidden[:-1]
    if kind is PPO:
        arch = {"pi": hidden, "vf": _cells(shapes, "mlp_extractor.value_net", sizes[0])}
    else:
        arch = {"pi": hidden, "qf": _cells(shapes, "critic.qf0", sum(sizes))[:-1]}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": arch}, device="cpu")
    expected = {name: tuple(value.shape) for name, value in model.policy.state_dict().items()}
    if expected != shapes:
        raise CheckpointError(
            f"{path}: expected an MlpPolicy for this environment with shapes {short(expected)}, got {short(shapes)}. "
            "If you trust the file, load it with trust=True"
        )
    with parsing(path, COMPLAINT):
        model.set_parameters(parameters, device="cpu")
    model.set_logger(make_logger(0, None))
    return model


def _require_plain(path: Path) -> None:
    """Check that the file and the archives of tensors inside it are not compressed."""
    with ZipFile(path) as whole:
        require_stored(whole.infolist(), path.stat().st_size, path)
        for member in whole.infolist():
            if member.filename.endswith(".pth"):
                with whole.open(member) as opened, ZipFile(opened) as tensors:
                    require_stored(tensors.infolist(), member.file_size, path)


def _policy_of(parameters: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the policy after checking that they are plain and finite."""
    policy = parameters.get("policy")
    if not isinstance(policy, dict):
        raise CheckpointError(f"{path}: expected a model with a policy, got {short(sorted(parameters))}")
    for name, value in policy.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise CheckpointError(f"{path}: {short(name)}: expected a plain tensor, got {type(value).__name__}")
        # An expanded view can be larger than the file.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            shape = tuple(value.shape)
            raise CheckpointError(f"{path}: {short(name)}: expected no more numbers than are stored, got shape {shape}")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {short(name)}: expected finite numbers, got NaN or infinity")
    return policy


def _cells(shapes: dict[str, tuple[int, ...]], prefix: str, inputs: int) -> list[int]:
    """Return the number of cells of each layer of a chain, up to one whose inputs do not match the previous layer."""
    layers = {
        int(place): shape
        for name, shape in shapes.items()
        if name.startswith(f"{prefix}.") and name.endswith(".weight") and len(shape) == 2
        if (place := name.removeprefix(f"{prefix}.").split(".")[0]).isdecimal()
    }
    sizes: list[int] = []
    for _, (cells, layer_inputs) in sorted(layers.items()):
        if cells < 1 or layer_inputs != (sizes[-1] if sizes else inputs):
            break
        sizes.append(cells)
    return sizes
