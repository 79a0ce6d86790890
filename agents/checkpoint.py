"""Checkpoints: `config.json`, `policy.safetensors` and `state.npz` in a folder, written whole or not at all.

The policy is what a learner acts by, the state what else it needs to learn on. Safetensors, NPZ without pickled objects
and JSON hold data only: no code of a checkpoint is run, and a pickle in place of any of them is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

CONFIG = "config.json"
POLICY = "policy.safetensors"
STATE = "state.npz"
FORMAT = 2

Arrays = Mapping[str, NDArray[Any]]


def write_checkpoint(folder: Path, config: Mapping[str, Any], policy: Arrays, state: Arrays) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a part.

    Args:
        folder: of the checkpoint; one that is there is replaced.
        config: JSON values.
        policy, state: arrays by name, no object arrays.

    Raises:
        ValueError: an object array.
        FileExistsError: `folder` is there and is no checkpoint.
    """
    for name, array in [*policy.items(), *state.items()]:
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} has dtype {array.dtype}; arrays of numbers are allowed")
    if folder.exists() and not (folder / CONFIG).is_file():
        raise FileExistsError(f"{folder} exists and holds no checkpoint; give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write_whole(part / CONFIG, json.dumps({"format": FORMAT, **config}, indent=1).encode())
        _write_whole(part / POLICY, save({name: np.ascontiguousarray(array) for name, array in policy.items()}))
        stored = BytesIO()
        np.savez(stored, **dict(state))  # type: ignore[arg-type]
        _write_whole(part / STATE, stored.getvalue())
        part.chmod(0o755)
        _put_in_place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _put_in_place(part: Path, folder: Path) -> None:
    """Rename a whole checkpoint to where it belongs; the one before stands aside until then."""
    aside = _aside(folder)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    part.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def _standing(folder: Path) -> Path:
    """Where the checkpoint is: in its folder, or aside where a writer was killed between two renames."""
    return folder if folder.exists() or not _aside(folder).exists() else _aside(folder)


def _write_whole(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is no JSON object, or of an unknown format.
    """
    path = _standing(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no checkpoint ({CONFIG} is missing)")
    try:
        config = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of format {FORMAT}")
    return config


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Config, policy and state of a checkpoint; nothing in it is executed.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: a part of it is not what it should be, a pickle among them.
    """
    config = read_config(folder)
    folder = _standing(folder)
    try:
        policy = load((folder / POLICY).read_bytes())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder / POLICY} holds no safetensors: {error}") from None
    try:
        with np.load(folder / STATE, allow_pickle=False) as stored:
            state = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, AttributeError, BadZipFile) as error:
        raise ValueError(f"{folder / STATE} is no archive of plain arrays: {error}") from None
    return config, policy, state


def require_entries(kept: Mapping[str, Any], names: Iterable[str], path: str | Path) -> None:
    """Refuse a checkpoint that lacks entries.

    Args:
        kept: its config, or its arrays by name.
        names: of the entries that are needed.
        path: of the checkpoint, for the message.

    Raises:
        ValueError: some are missing.
    """
    missing = sorted(set(names) - set(kept))
    if missing:
        raise ValueError(f"checkpoint {path} lacks {missing}; a whole one, as a learner's save writes it, is allowed")


def require_finite(kept: Arrays, path: str | Path) -> None:
    """Refuse the arrays of a checkpoint, by name, where one holds NaN or infinity.

    Raises:
        ValueError: the message names the checkpoint and the arrays.
    """
    wrong = sorted(name for name, array in kept.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if wrong:
        raise ValueError(f"checkpoint {path} holds NaN or infinity in {wrong}; finite numbers are allowed")


def fill(own: Arrays, kept: Arrays, path: str | Path) -> None:
    """Put the arrays of a checkpoint where the learner has its own, in place.

    Args:
        own: the learner's, by name.
        kept: those of the checkpoint.
        path: of the checkpoint, for the message.

    Raises:
        ValueError: they differ in names or shapes, or are not finite; nothing has been changed then.
    """
    if {name: array.shape for name, array in own.items()} != {name: array.shape for name, array in kept.items()}:
        raise ValueError(f"checkpoint {path} holds {sorted(kept)}; {sorted(own)} of the learner's shapes are allowed")
    require_finite(kept, path)
    for name, array in own.items():
        array[...] = kept[name]
