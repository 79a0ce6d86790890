"""Checkpoints: a folder with `config.json`, `policy.safetensors` and `state.npz`, written atomically.

The policy is what the learner needs to act; the state is what else it needs to continue learning. JSON, safetensors and
NPZ without pickled objects hold data only, so loading a checkpoint runs no code. A checkpoint may be damaged or
malicious: names, types and shapes are compared with the expected ones before an array is read, and every error about
the contents is a `CheckpointError`.
"""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from agents.settings import Setting, check_settings, short
from reach.files import unfinished_path, write_file

CONFIG = "config.json"
POLICY = "policy.safetensors"
STATE = "state.npz"
# Also increased when actions change their meaning, as those of the environments `-v1` and of SAC and TD3 did.
FORMAT = 4

# Limits far above what a learner writes.
LARGEST_CONFIG_BYTES = 2**24
LARGEST_HEADER_BYTES = 2**20
LARGEST_NPY_HEADER_BYTES = 2**10
# Upper limit for the names and headers of one array in the archive.
ENTRY_OVERHEAD_BYTES = 2**12

# Errors besides ValueError that libraries raise when they cannot build a model from the settings.
UNBUILDABLE = (ArithmeticError, AssertionError, MemoryError, RuntimeError, TypeError)

# From safetensors' names of types to NumPy's.
SAFETENSORS_TYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]
# Type string and shape.
Header = tuple[str, tuple[int, ...]]


class CheckpointError(ValueError):
    """The checkpoint is damaged or incomplete, or belongs to another learner."""


class OtherArraysError(CheckpointError):
    """The arrays do not fit a learner with the checkpoint's settings."""


class NoCheckpointError(CheckpointError, FileNotFoundError):
    """The folder holds no checkpoint."""


@dataclass(frozen=True)
class Entry:
    """The expected form of an array in a checkpoint.

    Attributes:
        dtype, shape: expected type and shape.
        low, high: range of valid values; NaN and infinity are never valid.
        is_shorter_valid: whether the first axis may be shorter than in `shape`.
        is_optional: whether the array may be missing.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    is_shorter_valid: bool = False
    is_optional: bool = False

    @property
    def largest_bytes(self) -> int:
        """Return the size of the largest valid array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def fits(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Return whether an array has the right type and shape."""
        is_shorter = bool(shape) and shape[1:] == self.shape[1:] and shape[0] <= self.shape[0]
        return dtype == self.dtype.str and (shape == self.shape or (self.is_shorter_valid and is_shorter))


Entries = Mapping[str, Entry]


def entries_of(arrays: Arrays, limits: Mapping[str, tuple[float, float]] | None = None) -> dict[str, Entry]:
    """Return the expected entries for the arrays of a learner.

    Args:
        arrays: arrays by name.
        limits: lowest and highest value by name of array; other arrays may hold any finite numbers.
    """
    limits = limits or {}
    return {name: Entry(array.dtype, array.shape, *limits.get(name, ())) for name, array in arrays.items()}


def write_checkpoint(folder: Path, config: Mapping[str, Any], policy: Arrays, state: Arrays) -> None:
    """Write a checkpoint atomically: a reader finds either the old or the new checkpoint.

    Args:
        folder: the checkpoint folder; an existing checkpoint is replaced.
        config: JSON values by name.
        policy, state: numeric arrays by name.

    Raises:
        ValueError: an array of Python objects.
        FileExistsError: `folder` exists and is not a checkpoint.
    """
    # Imported here so that `agents.vec_env` works without safetensors.
    from safetensors.numpy import save

    for name, array in [*policy.items(), *state.items()]:
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r}: expected numbers, got dtype {array.dtype}")
    if folder.exists() and not (folder / CONFIG).is_file():
        raise FileExistsError(f"{folder}: expected a new folder or a checkpoint, got something else")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished_path(folder)
    part.mkdir()
    try:
        write_file(part / CONFIG, json.dumps({"format": FORMAT, **config}, indent=1).encode())
        write_file(part / POLICY, save({name: np.ascontiguousarray(array) for name, array in policy.items()}))
        stored = BytesIO()
        np.savez(stored, **dict(state))  # type: ignore[arg-type]
        write_file(part / STATE, stored.getvalue())
        _put_in_place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _put_in_place(part: Path, folder: Path) -> None:
    """Move a finished checkpoint to its folder; keep the previous checkpoint under another name until then."""
    aside = _aside(folder)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    part.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def _present(folder: Path) -> Path:
    """Return `folder`, or the previous checkpoint if a writer was killed between the two renames."""
    return folder if folder.exists() or not _aside(folder).exists() else _aside(folder)


def holds_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a checkpoint."""
    return (_present(folder) / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config (`config.json`) of a checkpoint.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: the file is not a JSON object, or its format is unknown.
    """
    path = _present(folder) / CONFIG
    with parsing(path, "is not JSON"):
        if not path.is_file():
            raise NoCheckpointError(f"{folder} holds no checkpoint ({CONFIG} is missing)")
        stored_bytes = path.stat().st_size
        if stored_bytes > LARGEST_CONFIG_BYTES:
            raise CheckpointError(f"{path}: expected at most {LARGEST_CONFIG_BYTES} bytes, got {stored_bytes}")
        config = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        learner = short(config["learner"]) if isinstance(config, dict) and "learner" in config else "NAME"
        raise CheckpointError(
            f"{path}: expected a checkpoint of format {FORMAT}, of the environments -v1, got {short(config)}; "
            f"train it again with: python scripts/train.py --learner {learner} --out FOLDER"
        )
    return config


def read_checkpoint(
    folder: Path, policy: Entries, state: Entries
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return config, policy and state of a checkpoint without running code from it.

    Args:
        folder: the checkpoint folder.
        policy, state: the expected arrays, compared with the headers of the files before an array is read.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: a file is damaged, or its arrays are not the expected ones.
    """
    config = read_config(folder)
    present = _present(folder)
    arrays = _read_policy(present / POLICY, policy, folder), _read_state(present / STATE, state, folder)
    for values, expected in zip(arrays, (policy, state), strict=True):
        require_values(values, expected, folder)
    return config, *arrays


def _read_policy(path: Path, expected: Entries, folder: Path) -> dict[str, NDArray[Any]]:
    from safetensors import safe_open

    with parsing(path, "cannot be read as safetensors"):
        _require_file(path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > LARGEST_HEADER_BYTES:
            raise CheckpointError(
                f"{path}: expected a header of at most {LARGEST_HEADER_BYTES} bytes, got {header_bytes}"
            )
        with safe_open(path, framework="numpy") as stored:
            parts = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118  (a file, not a mapping)
            kinds = {name: part.get_dtype() for name, part in parts.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
            require_fit({k: (SAFETENSORS_TYPES.get(kinds[k], kinds[k]), shapes[k]) for k in parts}, expected, folder)
            return {name: stored.get_tensor(name) for name in parts}


def _read_state(path: Path, expected: Entries, folder: Path) -> dict[str, NDArray[Any]]:
    with parsing(path, "cannot be read as an archive of plain arrays"):
        _require_file(path)
        stored_bytes = path.stat().st_size
        most = ENTRY_OVERHEAD_BYTES + sum(entry.largest_bytes + ENTRY_OVERHEAD_BYTES for entry in expected.values())
        if stored_bytes > most:
            raise CheckpointError(f"{path}: expected at most {most} bytes for this learner, got {stored_bytes}")
        with ZipFile(path) as archive:
            require_stored(archive.infolist(), stored_bytes, path)
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            require_fit({name: _header_of(archive, member, path) for name, member in members.items()}, expected, folder)
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as opened:
                    arrays[name] = npy.read_array(opened, allow_pickle=False)
            return arrays


def require_stored(members: Sequence[ZipInfo], archive_bytes: int, path: Path) -> None:
    """Check the members of an archive before any of them is read.

    Raises:
        CheckpointError: a member is compressed or occurs twice, or the members are larger than the archive.
    """
    occurrences = Counter(member.filename for member in members)
    for member in members:
        if member.compress_type != ZIP_STORED or member.file_size != member.compress_size:
            raise CheckpointError(f"{path}: expected stored members, got compressed {short(member.filename)}")
        if occurrences[member.filename] > 1:
            raise CheckpointError(f"{path}: expected one member of each name, got two members {short(member.filename)}")
    total = sum(member.file_size for member in members)
    if total > archive_bytes:
        raise CheckpointError(f"{path}: expected members of at most {archive_bytes} bytes, got {total}")


def _header_of(archive: ZipFile, member: ZipInfo, path: Path) -> Header:
    """Return type and shape of an array from its header; check that they fit the size of its data."""
    with archive.open(member) as opened:
        version = npy.read_magic(opened)
        if version not in ((1, 0), (2, 0)):
            raise CheckpointError(f"{path}: {short(member.filename)}: expected NPY version 1.0 or 2.0, got {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(opened, max_header_size=LARGEST_NPY_HEADER_BYTES)
        data_bytes = member.file_size - opened.tell()
    if dtype.hasobject or any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != data_bytes:
        raise CheckpointError(
            f"{path}: {short(member.filename)}: expected {data_bytes} bytes of numbers, got dtype {short(dtype)} and "
            f"shape {short(shape)}"
        )
    return dtype.str, shape


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a regular file, got none")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected finite numbers, got {name}")


@contextmanager
def parsing(path: Path, complaint: str) -> Iterator[None]:
    """Raise every error of a parser as a `CheckpointError` "<path> <complaint>: <error>".

    On damaged bytes, parsers of JSON, ZIP, NPY, safetensors and pickles raise errors of a dozen types, such as
    RecursionError and MemoryError.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} {complaint}: {in_brief(error)}") from error


def in_brief(error: Exception) -> str:
    """Return the text of an error as one line, cut to 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def loading(path: str | Path) -> Iterator[None]:
    """Raise errors about the contents of a checkpoint as `CheckpointError` with its path.

    Settings that are valid one by one may not fit together; building the model then raises an error.
    """
    try:
        yield
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    except UNBUILDABLE as error:
        raise CheckpointError(f"checkpoint {path}: {type(error).__name__}: {in_brief(error)}") from error


def require_entries(saved: Mapping[str, Any], names: Iterable[str], path: str | Path) -> None:
    """Check that a checkpoint has all required entries.

    Args:
        saved: the checkpoint's config, or its arrays by name.
        names: names of the required entries.
        path: path of the checkpoint, for the message.

    Raises:
        CheckpointError: entries are missing.
    """
    missing = sorted(set(names) - set(saved))
    if missing:
        raise CheckpointError(f"checkpoint {path}: expected {missing}, which `save` writes, got none")


def read_settings(saved: Any, known: Mapping[str, Setting], path: str | Path) -> dict[str, Any]:
    """Validate and return the known entries of a checkpoint's config, all of which must be present.

    Raises:
        CheckpointError: a missing or invalid entry; the message names it.
    """
    require_entries(saved, known, path)
    with loading(path):
        return check_settings({name: saved[name] for name in known}, known)


def mapping_of(config: Mapping[str, Any], name: str, path: str | Path) -> dict[str, Any]:
    """Return an entry of a checkpoint's config that must be a mapping.

    Raises:
        CheckpointError: the entry is missing or not a mapping.
    """
    require_entries(config, [name], path)
    entry = config[name]
    if not isinstance(entry, dict):
        raise CheckpointError(f"checkpoint {path}: {name}: expected a mapping, got {short(entry)}")
    return entry


# Valid state of a PCG64, the generator that all learners use. Its increment must be odd, which is checked separately.
PCG64 = {
    "bit_generator": Setting(allowed=("PCG64",)),
    "has_uint32": Setting(0, 1, is_integer=True),
    "uinteger": Setting(0, 2**32 - 1, is_integer=True),
}
PCG64_STATE = {"state": Setting(0, 2**128 - 1, is_integer=True), "inc": Setting(1, 2**128 - 1, is_integer=True)}


def generator_state(config: Mapping[str, Any], name: str, path: str | Path) -> dict[str, Any]:
    """Validate and return the entry of a checkpoint's config that holds the state of a NumPy generator.

    Raises:
        CheckpointError: the entry is not the state of a PCG64.
    """
    saved = mapping_of(config, name, path)
    words = read_settings(mapping_of(saved, "state", path), PCG64_STATE, path)
    if words["inc"] % 2 == 0:
        raise CheckpointError(f"checkpoint {path}: {name}: expected an odd increment, got an even increment")
    return read_settings(saved, PCG64, path) | {"state": words}


def require_fit(headers: Mapping[str, Header], expected: Entries, path: str | Path) -> None:
    """Compare names, types and shapes of a checkpoint's arrays with the expected ones.

    Raises:
        OtherArraysError: they differ; the message names the checkpoint and the array.
    """
    missing = sorted(name for name, entry in expected.items() if not entry.is_optional and name not in headers)
    if missing:
        raise OtherArraysError(f"checkpoint {path}: expected {missing}, which `save` writes, got none")
    unknown = sorted(set(headers) - set(expected))
    if unknown:
        raise OtherArraysError(f"checkpoint {path}: expected the arrays of this learner, got others: {short(unknown)}")
    for name, (dtype, shape) in headers.items():
        entry = expected[name]
        if not entry.fits(dtype, shape):
            most = " at most" if entry.is_shorter_valid else ""
            raise OtherArraysError(
                f"checkpoint {path}: array {name!r}: expected dtype {entry.dtype.str!r} and shape {entry.shape}{most}, "
                f"got {short(dtype)} and {short(shape)}"
            )


def require_values(saved: Arrays, expected: Entries, path: str | Path) -> None:
    """Check that all values are finite and in range.

    Raises:
        CheckpointError: a value is not finite or out of range; the message names the checkpoint and the arrays.
    """
    wrong = sorted(name for name, array in saved.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if wrong:
        raise CheckpointError(f"checkpoint {path}: expected finite numbers, got NaN or infinity in {wrong}")
    for name, array in saved.items():
        low, high = expected[name].low, expected[name].high
        # A bool is stored as a byte that must be 0 or 1.
        values, top = (array.view(np.uint8), 1) if array.dtype.kind == "b" else (array, high)
        if values.size and not (low <= values.min() and values.max() <= top):
            raise CheckpointError(f"checkpoint {path}: array {name!r}: expected {low:g} to {top:g}, got values outside")


def fill(arrays: Arrays, saved: Arrays) -> None:
    """Copy arrays of a checkpoint, checked by `read_checkpoint`, into the arrays of a learner."""
    for name, array in arrays.items():
        array[...] = saved[name]
