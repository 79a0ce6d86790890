"""What of a replay buffer is kept, as plain arrays, and how one is filled from them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer

from agents.checkpoint import FLAG, CheckpointError, Entry, Setting, read_settings, short

TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# Where the trials of a buffer for hindsight begin, and how long those are that are over.
TRIALS = ("ep_start", "ep_length")
UNFINISHED = "_current_ep_start"
# Actions are scaled to -1..1, but for the last bits.
LARGEST_ACTION = 1.0 + 1e-5


def _arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """The arrays of a buffer by name, each with the transitions along its first axis; a dictionary's by its parts'."""
    found: dict[str, NDArray[Any]] = {}
    for name in (*TRANSITIONS, *(TRIALS if isinstance(buffer, HerReplayBuffer) else ())):
        own = getattr(buffer, name)
        found |= {f"{name}.{part}": values for part, values in own.items()} if isinstance(own, dict) else {name: own}
    return found


def kept_arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """What the buffer holds so far, by name."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    kept = {name: values[:filled] for name, values in _arrays(buffer).items()}
    return kept | ({UNFINISHED: getattr(buffer, UNFINISHED)} if isinstance(buffer, HerReplayBuffer) else {})


def kept_place(buffer: ReplayBuffer) -> dict[str, Any]:
    """Where the next transition goes, as JSON values."""
    return {"pos": int(buffer.pos), "full": bool(buffer.full)}


def check_place(buffer: ReplayBuffer, place: Any, source: Any) -> dict[str, Any]:
    """Return what `kept_place` gave after validating it; `source` is the checkpoint that it comes from.

    Raises:
        CheckpointError: it is no place in this buffer.
    """
    if not isinstance(place, dict):
        raise CheckpointError(f"checkpoint {source}: buffer is {short(place)}; a mapping is expected")
    return read_settings(place, {"pos": Setting(0, buffer.buffer_size - 1, whole=True), "full": FLAG}, source)


def entries_of_buffer(buffer: ReplayBuffer, place: dict[str, Any]) -> dict[str, Entry]:
    """What the arrays of a buffer must be where the next transition goes to `place`."""
    filled = buffer.buffer_size if place["full"] else place["pos"]
    limits: dict[str, tuple[float, float]] = {
        "actions": (-LARGEST_ACTION, LARGEST_ACTION),
        "dones": (0.0, 1.0),
        "timeouts": (0.0, 1.0),
        "ep_start": (0, buffer.buffer_size - 1),
        "ep_length": (0, buffer.buffer_size),
    }
    anything = (-np.inf, np.inf)
    found = {
        name: Entry(values.dtype, (filled, *values.shape[1:]), *limits.get(name, anything))
        for name, values in _arrays(buffer).items()
    }
    if isinstance(buffer, HerReplayBuffer):
        unfinished = getattr(buffer, UNFINISHED)
        found[UNFINISHED] = Entry(unfinished.dtype, unfinished.shape, 0, buffer.buffer_size - 1)
    return found


def fill(buffer: ReplayBuffer, kept: dict[str, NDArray[Any]], place: dict[str, Any]) -> None:
    """Let a buffer hold what `kept_arrays` and `kept_place` gave, which fit `entries_of_buffer`."""
    for name, own in _arrays(buffer).items():
        own[: len(kept[name])] = kept[name]
    if isinstance(buffer, HerReplayBuffer):
        getattr(buffer, UNFINISHED)[...] = kept[UNFINISHED]
    buffer.pos, buffer.full = place["pos"], place["full"]


def end_trials(buffer: ReplayBuffer) -> None:
    """Let the trials that are under way end with the last transition, as by their time limit: what follows is new."""
    if buffer.pos == 0 and not buffer.full:
        return
    if isinstance(buffer, HerReplayBuffer):
        with warnings.catch_warnings():
            # Of what is asked for here.
            warnings.simplefilter("ignore", UserWarning)
            buffer.truncate_last_trajectory()
    else:
        last = buffer.pos - 1
        buffer.timeouts[last] = np.logical_or(buffer.timeouts[last], np.logical_not(buffer.dones[last]))
