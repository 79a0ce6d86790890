"""What of a replay buffer is kept, as plain arrays, and how one is filled from them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer

TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
# Where the trials of a buffer for hindsight begin, and how long those are that are over.
TRIALS = ("ep_start", "ep_length")
UNFINISHED = "_current_ep_start"


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


def fill(buffer: ReplayBuffer, kept: dict[str, NDArray[Any]], place: dict[str, Any], source: Any) -> None:
    """Let a buffer hold what `kept_arrays` and `kept_place` gave.

    Raises:
        ValueError: arrays of other shapes, or of more transitions than the buffer takes; `source` is named.
    """
    wanted = _arrays(buffer) | (
        {UNFINISHED: getattr(buffer, UNFINISHED)} if isinstance(buffer, HerReplayBuffer) else {}
    )
    if set(kept) != set(wanted):
        raise ValueError(f"checkpoint {source} holds a buffer of {sorted(kept)}; {sorted(wanted)} are allowed")
    for name, own in wanted.items():
        if kept[name].shape[1:] != own.shape[1:] or len(kept[name]) > len(own):
            raise ValueError(
                f"checkpoint {source} holds a buffer of {name} {kept[name].shape}; up to {own.shape} is allowed"
            )
        own[: len(kept[name])] = kept[name]
    buffer.pos, buffer.full = int(place["pos"]), bool(place["full"])


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
