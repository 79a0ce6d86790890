"""Checkpoints: a folder with `config.json`, `policy.safetensors` and `state.npz`, written atomically.

The policy is what the learner needs to act; the state is what else it needs to continue learning. JSON, safetensors and
NPZ without pickled objects hold data only, so loading a checkpoint runs no code. A checkpoint may be damaged or
malicious: names, types and shapes are compared with the expected ones before an array is read, and every error about
the contents is a `CheckpointError`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from agents.settings import Setting, check_settings, short
from reach.files import unfinished_path

CONFIG = "config.json"
POLICY = "policy.safetensors"
STATE = "state.npz"
FORMAT = 2

# Limits far above what a learner writes.
LARGEST_CONFIG_BYTES = 2**24
LARGEST_HEADER_BYTES = 2**20
LARGEST_NPY_HEADER_BYTES = 2**10
# Names and headers of one array in the archive.
ENTRY_OVERHEAD_BYTES = 2**12

# Errors of libraries, besides ValueError, when no model can be built from the settings.
UNBUILDABLE = (ArithmeticError, AssertionError, MemoryError, RuntimeError, TypeError)

SAFETENSORS_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]
# Type string and shape.
Header = tuple[str, tuple[int, ...]]


class CheckpointError(ValueError):
    """The checkpoint is damaged, incomplete, or of another learner."""


class NoCheckpointError(CheckpointError, FileNotFoundError):
    """The folder holds no checkpoint."""


@dataclass(frozen=True)
class Entry:
    """The expected form of an array in a checkpoint.

    Attributes:
        dtype, shape: type and shape.
        low, high: range of the values; NaN and infinity are never valid.
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
        if dtype != self.dtype.str:
            return False
        if not self.is_shorter_valid:
            return shape == self.shape
        return shape[1:] == self.shape[1:] and len(shape) == len(self.shape) and shape[0] <= self.shape[0]


Entries = Mapping[str, Entry]


def entries_of(own: Arrays, limits: Mapping[str, tuple[float, float]] | None = None) -> dict[str, Entry]:
    """Return the expected entries for arrays like the learner's own.

    Args:
        own: the learner's arrays by name.
        limits: lowest and highest value by name; other arrays may hold any finite numbers.
    """
    limits = limits or {}
    return {
        name: Entry(array.dtype, array.shape, *limits.get(name, (-math.inf, math.inf))) for name, array in own.items()
    }


def write_checkpoint(folder: Path, config: Mapping[str, Any], policy: Arrays, state: Arrays) -> None:
    """Write a checkpoint atomically: a reader finds the old one or the new one.

    Args:
        folder: the checkpoint folder; an existing checkpoint is replaced.
        config: JSON values.
        policy, state: arrays by name, without object arrays.

    Raises:
        ValueError: an object array.
        FileExistsError: `folder` exists and is not a checkpoint.
    """
    for name, array in [*policy.items(), *state.items()]:
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r}: expected numbers, got dtype {array.dtype}")
    if folder.exists() and not (folder / CONFIG).is_file():
        raise FileExistsError(f"{folder} exists and holds no checkpoint; give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished_path(folder)
    part.mkdir()
    try:
        _write_whole(part / CONFIG, json.dumps({"format": FORMAT, **config}, indent=1).encode())
        _write_whole(part / POLICY, save({name: np.ascontiguousarray(array) for name, array in policy.items()}))
        stored = BytesIO()
        np.savez(stored, **dict(state))  # type: ignore[arg-type]
        _write_whole(part / STATE, stored.getvalue())
        _put_in_place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _put_in_place(part: Path, folder: Path) -> None:
    """Move a finished checkpoint to its folder; the previous one is set aside until then."""
    aside = _aside(folder)
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    part.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def _standing(folder: Path) -> Path:
    """Return the present folder: set aside if a writer was killed between two renames."""
    return folder if folder.exists() or not _aside(folder).exists() else _aside(folder)


def _write_whole(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def holds_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a checkpoint."""
    return (_standing(folder) / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: not a JSON object, or an unknown format.
    """
    path = _standing(folder) / CONFIG
    with parsing(path, "is not JSON"):
        if not path.is_file():
            raise NoCheckpointError(f"{folder} holds no checkpoint ({CONFIG} is missing)")
        stored_bytes = path.stat().st_size
        if stored_bytes > LARGEST_CONFIG_BYTES:
            raise CheckpointError(f"{path} has {stored_bytes} bytes; expected at most {LARGEST_CONFIG_BYTES}")
        config = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}")
    return config


def read_checkpoint(
    folder: Path, policy: Entries | None = None, state: Entries | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return config, policy and state of a checkpoint; no code of it is run.

    Args:
        folder: the checkpoint folder.
        policy, state: the expected arrays, compared with the headers of the files before an array is read; None
            accepts any.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: a damaged part, or unexpected arrays.
    """
    config = read_config(folder)
    stood = _standing(folder)
    return config, _read_policy(folder, stood / POLICY, policy), _read_state(folder, stood / STATE, state)


def _read_policy(folder: Path, path: Path, expected: Entries | None) -> dict[str, NDArray[Any]]:
    with parsing(path, "cannot be read as safetensors"):
        _require_file(path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > LARGEST_HEADER_BYTES:
            raise CheckpointError(
                f"{path} has a header of {header_bytes} bytes; expected at most {LARGEST_HEADER_BYTES}"
            )
        with safe_open(path, framework="numpy") as stored:
            headers = {}
            for name in stored.keys():  # noqa: SIM118  (a file, not a mapping)
                part = stored.get_slice(name)
                headers[name] = _type_named(part.get_dtype(), path), tuple(part.get_shape())
            if expected is not None:
                require_fit(headers, expected, folder)
            arrays = {name: stored.get_tensor(name) for name in headers}
    if expected is not None:
        require_values(arrays, expected, folder)
    return arrays


def _type_named(name: str, path: Path) -> str:
    if name not in SAFETENSORS_TYPES:
        raise CheckpointError(f"{path} has an array of type {name}; expected one of {list(SAFETENSORS_TYPES)}")
    return np.dtype(SAFETENSORS_TYPES[name]).str


def _read_state(folder: Path, path: Path, expected: Entries | None) -> dict[str, NDArray[Any]]:
    with parsing(path, "cannot be read as an archive of plain arrays"):
        _require_file(path)
        stored_bytes = path.stat().st_size
        if expected is not None:
            most = sum(entry.largest_bytes + ENTRY_OVERHEAD_BYTES for entry in expected.values()) + ENTRY_OVERHEAD_BYTES
            if stored_bytes > most:
                raise CheckpointError(f"{path} has {stored_bytes} bytes; expected at most {most} for this learner")
        with path.open("rb") as file, ZipFile(file) as archive:
            members = _members(archive, stored_bytes, path)
            headers = {name: _header_of(archive, member, path) for name, member in members.items()}
            if expected is not None:
                require_fit(headers, expected, folder)
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as opened:
                    arrays[name] = npy.read_array(opened, allow_pickle=False)
    if expected is not None:
        require_values(arrays, expected, folder)
    return arrays


def require_stored(members: Iterable[ZipInfo], archive_bytes: int, path: Path) -> None:
    """Check the members of an archive before reading any.

    Raises:
        CheckpointError: a member is compressed or occurs twice, or the members are larger than the archive.
    """
    names: set[str] = set()
    total = 0
    for member in members:
        if member.compress_type != ZIP_STORED or member.file_size != member.compress_size:
            raise CheckpointError(f"{path} has a compressed member {short(member.filename)}; expected stored ones")
        if member.filename in names:
            raise CheckpointError(f"{path} has two members {short(member.filename)}")
        names.add(member.filename)
        total += member.file_size
    if total > archive_bytes:
        raise CheckpointError(f"{path} has members of {total} bytes in an archive of {archive_bytes}")


def _members(archive: ZipFile, archive_bytes: int, path: Path) -> dict[str, ZipInfo]:
    require_stored(archive.infolist(), archive_bytes, path)
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            raise CheckpointError(f"{path} has a member {short(member.filename)}; expected names that end in .npy")
    return {member.filename.removesuffix(".npy"): member for member in archive.infolist()}


def _header_of(archive: ZipFile, member: ZipInfo, path: Path) -> Header:
    """Return type and shape of an array after checking that its data has this size."""
    with archive.open(member) as opened:
        version = npy.read_magic(opened)
        if version not in ((1, 0), (2, 0)):
            raise CheckpointError(f"{path} has a member {short(member.filename)} of NPY version {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(opened, max_header_size=LARGEST_NPY_HEADER_BYTES)
        data_bytes = member.file_size - opened.tell()
    if dtype.hasobject or any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != data_bytes:
        raise CheckpointError(
            f"{path} has a member {short(member.filename)} of {data_bytes} bytes with dtype {short(dtype)} and shape "
            f"{short(shape)}, which do not fit"
        )
    return dtype.str, shape


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing or not a regular file")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"a number is {name}; expected finite numbers")


@contextmanager
def parsing(path: Path, complaint: str) -> Iterator[None]:
    """Raise every error of a parser as a `CheckpointError` "<path> <complaint>: <error>".

    Parsers of JSON, ZIP, NPY, safetensors and pickles raise errors of a dozen types on damaged bytes, RecursionError
    and MemoryError among them.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} {complaint}: {in_brief(error)}") from error


def in_brief(error: Exception) -> str:
    """Return the text of an error in one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def loading(path: str | Path) -> Iterator[None]:
    """Raise errors about the contents of a checkpoint as `CheckpointError` with its path.

    Each setting may be valid, and yet no model can be built from all of them together.
    """
    try:
        yield
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    except UNBUILDABLE as error:
        raise CheckpointError(f"checkpoint {path}: {type(error).__name__}: {in_brief(error)}") from error


def require_entries(kept: Mapping[str, Any], names: Iterable[str], path: str | Path) -> None:
    """Check that a checkpoint has all entries.

    Args:
        kept: its config, or its arrays by name.
        names: names of the required entries.
        path: path of the checkpoint, for the message.

    Raises:
        CheckpointError: some are missing.
    """
    missing = sorted(set(names) - set(kept))
    if missing:
        raise CheckpointError(f"checkpoint {path} lacks {missing}; expected a complete checkpoint as written by `save`")


def read_settings(kept: Any, known: Mapping[str, Setting], path: str | Path) -> dict[str, Any]:
    """Validate and return the known entries of a checkpoint's config, all of which must be present.

    Raises:
        CheckpointError: a missing or invalid entry; the message names it.
    """
    require_entries(kept, known, path)
    with loading(path):
        return check_settings({name: kept[name] for name in known}, known)


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


# Every generator is a PCG64, whose increment is odd.
PCG64 = {
    "bit_generator": Setting(also=("PCG64",)),
    "has_uint32": Setting(0, 1, whole=True),
    "uinteger": Setting(0, 2**32 - 1, whole=True),
}
PCG64_STATE = {"state": Setting(0, 2**128 - 1, whole=True), "inc": Setting(1, 2**128 - 1, whole=True)}


def generator_state(kept: Any, name: str, path: str | Path) -> dict[str, Any]:
    """Validate and return the state of a NumPy generator.

    Raises:
        CheckpointError: not the state of a PCG64.
    """
    state = mapping_of(mapping_of({name: kept}, name, path), "state", path)
    valid = read_settings(kept, PCG64, path) | {"state": read_settings(state, PCG64_STATE, path)}
    if valid["state"]["inc"] % 2 == 0:
        raise CheckpointError(f"checkpoint {path}: {name} has an even increment; expected an odd one")
    return valid


def require_fit(headers: Mapping[str, Header], expected: Entries, path: str | Path) -> None:
    """Compare names, types and shapes of a checkpoint's arrays with the expected ones.

    Raises:
        CheckpointError: a difference; the message names the checkpoint and the array.
    """
    require_entries(headers, (name for name, entry in expected.items() if not entry.is_optional), path)
    unknown = sorted(set(headers) - set(expected))
    if unknown:
        raise CheckpointError(f"checkpoint {path} holds arrays {short(unknown)}, which this learner does not have")
    for name, (dtype, shape) in headers.items():
        entry = expected[name]
        if not entry.fits(dtype, shape):
            most = " at most" if entry.is_shorter_valid else ""
            raise CheckpointError(
                f"checkpoint {path}: array {name!r}: expected dtype {entry.dtype.str!r} and shape {entry.shape}{most}, "
                f"got {short(dtype)} and {short(shape)}"
            )


def require_values(kept: Arrays, expected: Entries, path: str | Path) -> None:
    """Check that all values are finite and in range.

    Raises:
        CheckpointError: a value is not; the message names the checkpoint and the arrays.
    """
    wrong = sorted(name for name, array in kept.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if wrong:
        raise CheckpointError(f"checkpoint {path} holds NaN or infinity in {wrong}; expected finite numbers")
    for name, array in kept.items():
        low, high = expected[name].low, expected[name].high
        # The byte of a bool must be 0 or 1.
        values, top = (array.view(np.uint8), 1) if array.dtype.kind == "b" else (array, high)
        if values.size and not (low <= values.min() and values.max() <= top):
            raise CheckpointError(f"checkpoint {path}: array {name!r} has values outside {low:g} to {top:g}")


def fill(own: Arrays, kept: Arrays, path: str | Path, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Copy the arrays of a checkpoint into the learner's own arrays.

    Args:
        own: the learner's arrays by name.
        kept: the arrays of the checkpoint.
        path: path of the checkpoint, for the message.
        limits: as in `entries_of`.

    Raises:
        CheckpointError: other names, types or shapes, or values that are not finite or outside the limits. Nothing is
            changed then.
    """
    expected = entries_of(own, limits)
    require_fit({name: (array.dtype.str, array.shape) for name, array in kept.items()}, expected, path)
    require_values(kept, expected, path)
    for name, array in own.items():
        array[...] = kept[name]
