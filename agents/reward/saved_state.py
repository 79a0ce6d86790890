"""Entries of a checkpoint of learners from reward besides weights: transitions, and the states of global generators."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer

from agents.checkpoint import CheckpointError, Entry, entries_of, in_brief
from agents.settings import FLAG, Setting

TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# Arrays of a hindsight buffer: first transition of each trial, and length of each trial that has ended.
TRIALS = ("ep_start", "ep_length")
UNFINISHED = "_current_ep_start"
# Actions are scaled to -1..1, up to rounding.
LARGEST_ACTION = 1.0 + 1e-5
# Size of the state of NumPy's global generator, a Mersenne twister, and the valid values of its other entries.
TWISTER_WORDS = 624
NUMPY_RANDOM = {
    "pos": Setting(0, TWISTER_WORDS, is_integer=True),
    "has_gauss": Setting(0, 1, is_integer=True),
    "gauss": Setting(-sys.float_info.max),
}
CUDA_STATE_BYTES = 16


def position_of(buffer: ReplayBuffer) -> dict[str, Any]:
    """Return the position of the next transition, as JSON values."""
    return {"pos": int(buffer.pos), "full": bool(buffer.full)}


def position_settings(buffer: ReplayBuffer) -> dict[str, Setting]:
    """Return the valid values of the result of `position_of`."""
    return {"pos": Setting(0, buffer.buffer_size - 1, is_integer=True), "full": FLAG}


def transitions_of(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """Return views of the stored transitions by name.

    Transitions are on the first axis. The arrays of a dictionary are named `name.key`.
    """
    has_trials = isinstance(buffer, HerReplayBuffer)
    arrays: dict[str, NDArray[Any]] = {}
    for name in (*TRANSITIONS, *(TRIALS if has_trials else ())):
        stored = getattr(buffer, name)
        arrays |= {f"{name}.{k}": part for k, part in stored.items()} if isinstance(stored, dict) else {name: stored}
    arrays = {name: values[: buffer.size()] for name, values in arrays.items()}
    return arrays | ({UNFINISHED: getattr(buffer, UNFINISHED)} if has_trials else {})


def buffer_entries(buffer: ReplayBuffer) -> dict[str, Entry]:
    """Return the expected form of the arrays of `transitions_of` in a checkpoint."""
    limits: dict[str, tuple[float, float]] = {
        "actions": (-LARGEST_ACTION, LARGEST_ACTION),
        "dones": (0.0, 1.0),
        "timeouts": (0.0, 1.0),
        "ep_start": (0, buffer.buffer_size - 1),
        "ep_length": (0, buffer.buffer_size),
        UNFINISHED: (0, buffer.buffer_size - 1),
    }
    return entries_of(transitions_of(buffer), limits)


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
