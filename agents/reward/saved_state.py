"""State that a checkpoint of a learner from reward holds besides weights: replay buffer, Adam moments, random states.

The functions read this state from a learner, describe the expected entries of a checkpoint, and restore it.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer

from agents import checkpoint
from agents.checkpoint import CheckpointError, Entry, in_brief, read_settings
from agents.settings import FLAG, Setting, short

TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# First transition of each trial in a hindsight buffer, and the length of each trial that has ended.
TRIALS = ("ep_start", "ep_length")
UNFINISHED = "_current_ep_start"
# Actions are scaled to -1..1, up to rounding.
LARGEST_ACTION = 1.0 + 1e-5
# State of NumPy's global generator, a Mersenne twister.
TWISTER_WORDS = 624
NUMPY_RANDOM = {
    "pos": Setting(0, TWISTER_WORDS, whole=True),
    "has_gauss": Setting(0, 1, whole=True),
    "gauss": Setting(-sys.float_info.max),
}
CUDA_STATE_BYTES = 16


def _arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """Return the arrays of a buffer by name, with transitions on the first axis.

    The arrays of a dictionary are named `name.key`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name in (*TRANSITIONS, *(TRIALS if isinstance(buffer, HerReplayBuffer) else ())):
        stored = getattr(buffer, name)
        if isinstance(stored, dict):
            arrays |= {f"{name}.{key}": values for key, values in stored.items()}
        else:
            arrays[name] = stored
    return arrays


def kept_arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """Return the transitions stored so far, by name."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    transitions = {name: values[:filled] for name, values in _arrays(buffer).items()}
    return transitions | ({UNFINISHED: getattr(buffer, UNFINISHED)} if isinstance(buffer, HerReplayBuffer) else {})


def kept_place(buffer: ReplayBuffer) -> dict[str, Any]:
    """Return the position of the next transition, as JSON values."""
    return {"pos": int(buffer.pos), "full": bool(buffer.full)}


def check_place(buffer: ReplayBuffer, place: Any, source: Any) -> dict[str, Any]:
    """Validate and return the position that `kept_place` returned; `source` is the path of the checkpoint.

    Raises:
        CheckpointError: not a position in this buffer.
    """
    if not isinstance(place, dict):
        raise CheckpointError(f"checkpoint {source}: buffer: expected a mapping, got {short(place)}")
    return read_settings(place, {"pos": Setting(0, buffer.buffer_size - 1, whole=True), "full": FLAG}, source)


def entries_of_buffer(buffer: ReplayBuffer, place: dict[str, Any]) -> dict[str, Entry]:
    """Return the expected arrays of a buffer whose next transition goes to `place`."""
    filled = buffer.buffer_size if place["full"] else place["pos"]
    limits: dict[str, tuple[float, float]] = {
        "actions": (-LARGEST_ACTION, LARGEST_ACTION),
        "dones": (0.0, 1.0),
        "timeouts": (0.0, 1.0),
        "ep_start": (0, buffer.buffer_size - 1),
        "ep_length": (0, buffer.buffer_size),
    }
    unlimited = (-np.inf, np.inf)
    entries = {
        name: Entry(values.dtype, (filled, *values.shape[1:]), *limits.get(name, unlimited))
        for name, values in _arrays(buffer).items()
    }
    if isinstance(buffer, HerReplayBuffer):
        unfinished = getattr(buffer, UNFINISHED)
        entries[UNFINISHED] = Entry(unfinished.dtype, unfinished.shape, 0, buffer.buffer_size - 1)
    return entries


def fill(buffer: ReplayBuffer, saved: dict[str, NDArray[Any]], place: dict[str, Any]) -> None:
    """Fill a buffer with the results of `kept_arrays` and `kept_place`. The arrays must fit `entries_of_buffer`."""
    for name, values in _arrays(buffer).items():
        values[: len(saved[name])] = saved[name]
    if isinstance(buffer, HerReplayBuffer):
        getattr(buffer, UNFINISHED)[...] = saved[UNFINISHED]
    buffer.pos, buffer.full = place["pos"], place["full"]


def end_trials(buffer: ReplayBuffer) -> None:
    """Mark the last transition as a trial's end by the time limit, so that the next one begins a new trial."""
    if buffer.pos == 0 and not buffer.full:
        return
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            # Stable-Baselines3 warns that the trial is truncated, which is intended.
            warnings.simplefilter("ignore", UserWarning)
            buffer.truncate_last_trajectory()
    else:
        last = buffer.pos - 1
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], np.logical_not(buffer.dones[last]))


def adam_entries(value: torch.Tensor) -> dict[str, Entry]:
    """Return the expected entries of Adam's state for a parameter that it has updated."""
    dtype, shape = value.detach().numpy(force=True).dtype, tuple(value.shape)
    return {
        "step": Entry(np.dtype(np.float32), (), low=1.0),
        "exp_avg": Entry(dtype, shape),
        "exp_avg_sq": Entry(dtype, shape, low=0.0),
    }


def check_torch_states(model: Any, state: dict[str, NDArray[Any]], path: Any) -> None:
    """Validate the states of torch's generators by setting them on new generators.

    Raises:
        CheckpointError: torch refuses a state.
    """
    devices = {"random/torch": "cpu"} | ({"random/cuda": model.device} if model.device.type == "cuda" else {})
    for name, device in devices.items():
        try:
            if name in state:
                torch.Generator(device).set_state(torch.from_numpy(np.array(state[name])))
        except RuntimeError as error:
            raise CheckpointError(
                f"checkpoint {path}: expected {name} to be the state of a torch generator, got one that torch refuses: "
                f"{in_brief(error)}"
            ) from error


def like_own(own: dict[str, NDArray[Any]], saved: dict[str, NDArray[Any]], path: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint with the dtypes of the learner's own arrays. "commands" may differ in length.

    Raises:
        CheckpointError: other names or shapes, or values that are not finite.
    """
    commands = saved.get("commands", np.zeros(0))
    steps = len(commands) if commands.ndim else 0
    filled = {name: array.copy() for name, array in own.items()}
    filled["commands"] = np.zeros((steps, *own["commands"].shape[1:]), dtype=own["commands"].dtype)
    checkpoint.fill(filled, saved, path)
    return filled


def set_global_states(model: Any, numpy_random: dict[str, Any], state: dict[str, NDArray[Any]]) -> None:
    """Set the states of the global generators of torch and NumPy, from which Stable-Baselines3 draws.

    Args:
        model: the learner; its device decides whether the generator of CUDA is set.
        numpy_random: position and Gaussian cache of NumPy's generator.
        state: arrays of the checkpoint.
    """
    torch.set_rng_state(torch.from_numpy(np.array(state["random/torch"])))
    if model.device.type == "cuda" and "random/cuda" in state:
        torch.cuda.set_rng_state(torch.from_numpy(np.array(state["random/cuda"])), model.device)
    np.random.set_state(  # noqa: NPY002
        {
            "bit_generator": "MT19937",
            "state": {"key": state["random/numpy"], "pos": numpy_random["pos"]},
            "has_gauss": numpy_random["has_gauss"],
            "gauss": numpy_random["gauss"],
        }
    )
