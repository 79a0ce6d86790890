"""Checkpoints: `config.json`, `policy.safetensors` and `state.npz` in a folder, written whole or not at all.

The policy is what a learner acts by. The state is what else it needs to learn on. Safetensors, NPZ without pickled
objects and JSON hold data only, so loading a checkpoint runs no code of it. A checkpoint may come from a stranger:
names, types and shapes are compared with what the learner expects before an array is read, and every error about the
contents is a `CheckpointError`.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import shutil
import sys
import tempfile
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

from reach.files import unfinished_prefix

CONFIG = "config.json"
POLICY = "policy.safetensors"
STATE = "state.npz"
FORMAT = 2

# Far more than a learner writes.
LARGEST_CONFIG_BYTES = 2**24
LARGEST_HEADER_BYTES = 2**20
LARGEST_NPY_HEADER_BYTES = 2**10
# For names and headers of one array in the archive.
ENTRY_OVERHEAD_BYTES = 2**12
LARGEST_COUNT = 2**53

# What libraries raise, besides ValueError, where no model can be built from settings.
UNBUILDABLE = (ArithmeticError, AssertionError, MemoryError, RuntimeError, TypeError)

SAFETENSORS_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]
# A type as the file names it, and a shape.
Header = tuple[str, tuple[int, ...]]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 12


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: it is damaged, incomplete, or not of the learner that was asked for."""


class NoCheckpointError(CheckpointError, FileNotFoundError):
    """There is no checkpoint in the folder."""


@dataclass(frozen=True)
class Setting:
    """What a setting that a checkpoint holds may be.

    Attributes:
        low, high: range of a number; None for a setting that is no number.
        whole: whether the number is whole.
        also: further values, such as None or "auto".
        pattern: regular expression for further words.
    """

    low: float | None = None
    high: float = sys.float_info.max
    whole: bool = False
    also: tuple[Any, ...] = ()
    pattern: str | None = None

    def check(self, name: str, value: Any) -> Any:
        """Return a valid value; NumPy's scalars as Python's, which JSON can hold.

        Raises:
            ValueError: the value is not valid; the message has the name, the value and what is expected.
        """
        plain = value.item() if isinstance(value, np.generic) else value
        if any(type(plain) is type(other) and plain == other for other in self.also):
            return plain
        if isinstance(plain, str) and self.pattern is not None and re.fullmatch(self.pattern, plain):
            return plain
        is_number = isinstance(plain, int if self.whole else int | float) and not isinstance(plain, bool)
        if self.low is None or not is_number or not self.low <= plain <= self.high:
            raise ValueError(f"{name} is {short(value)}; expected {self}")
        return plain

    def __str__(self) -> str:
        parts = [repr(value) for value in self.also]
        if self.pattern is not None:
            parts.append(f"text like {self.pattern!r}")
        if self.low is not None:
            upper = f" to {self.high:g}" if self.high < sys.float_info.max else " or more"
            parts.insert(0, f"a {'whole ' if self.whole else ''}number of {self.low:g}{upper}")
        return " or ".join(parts)


FLAG = Setting(also=(True, False))
COUNT = Setting(0, LARGEST_COUNT, whole=True)


@dataclass(frozen=True)
class Entry:
    """What an array of a checkpoint must be.

    Attributes:
        dtype, shape: of the array.
        low, high: range of its values; numbers that are not finite are never valid.
        is_shorter_valid: whether the first axis may be shorter than in `shape`.
        is_optional: whether it may be missing.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    is_shorter_valid: bool = False
    is_optional: bool = False

    @property
    def largest_bytes(self) -> int:
        """Size of the largest valid array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def fits(self, dtype: str, shape: tuple[int, ...]) -> bool:
        """Whether an array has the right type and shape."""
        if dtype != self.dtype.str:
            return False
        if not self.is_shorter_valid:
            return shape == self.shape
        return shape[1:] == self.shape[1:] and len(shape) == len(self.shape) and shape[0] <= self.shape[0]


Entries = Mapping[str, Entry]


def entries_of(own: Arrays, limits: Mapping[str, tuple[float, float]] | None = None) -> dict[str, Entry]:
    """Entries for arrays like a learner's own.

    Args:
        own: the learner's arrays, by name.
        limits: lowest and highest value, by name; of arrays that are not named any finite number is valid.
    """
    limits = limits or {}
    return {
        name: Entry(array.dtype, array.shape, *limits.get(name, (-math.inf, math.inf))) for name, array in own.items()
    }


def short(value: Any) -> str:
    """Return `repr(value)`, cut where it is long."""
    return _SHORT.repr(value)


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
    part = Path(tempfile.mkdtemp(prefix=unfinished_prefix(folder), dir=folder.parent))
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


def holds_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint in `folder`, or aside where a writer was killed between two renames."""
    return (_standing(folder) / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: it is no JSON object, or of an unknown format.
    """
    path = _standing(folder) / CONFIG
    with _parsing(path, "is no JSON"):
        if not path.is_file():
            raise NoCheckpointError(f"{folder} holds no checkpoint ({CONFIG} is missing)")
        stored_bytes = path.stat().st_size
        if stored_bytes > LARGEST_CONFIG_BYTES:
            raise CheckpointError(f"{path} has {stored_bytes} bytes; {LARGEST_CONFIG_BYTES} at most are expected")
        config = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT}")
    return config


def read_checkpoint(
    folder: Path, policy: Entries | None = None, state: Entries | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return config, policy and state of a checkpoint; nothing in it is executed.

    Args:
        folder: the checkpoint.
        policy, state: the expected arrays, which are compared with the files' headers before an array is read; None
            takes what is there.

    Raises:
        NoCheckpointError: there is no checkpoint.
        CheckpointError: a part is damaged, or its arrays are not as expected.
    """
    config = read_config(folder)
    stood = _standing(folder)
    return config, _read_policy(folder, stood / POLICY, policy), _read_state(folder, stood / STATE, state)


def _read_policy(folder: Path, path: Path, wanted: Entries | None) -> dict[str, NDArray[Any]]:
    with _parsing(path, "cannot be read as safetensors"):
        _require_file(path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > LARGEST_HEADER_BYTES:
            raise CheckpointError(
                f"{path} has a header of {header_bytes} bytes; {LARGEST_HEADER_BYTES} at most are expected"
            )
        with safe_open(path, framework="numpy") as stored:
            headers = {}
            for name in stored.keys():  # noqa: SIM118  (a file, no mapping)
                part = stored.get_slice(name)
                headers[name] = _type_named(part.get_dtype(), path), tuple(part.get_shape())
            if wanted is not None:
                require_fit(headers, wanted, folder)
            arrays = {name: stored.get_tensor(name) for name in headers}
    if wanted is not None:
        require_values(arrays, wanted, folder)
    return arrays


def _type_named(name: str, path: Path) -> str:
    if name not in SAFETENSORS_TYPES:
        raise CheckpointError(f"{path} has an array of type {name}; {list(SAFETENSORS_TYPES)} can be read")
    return np.dtype(SAFETENSORS_TYPES[name]).str


def _read_state(folder: Path, path: Path, wanted: Entries | None) -> dict[str, NDArray[Any]]:
    with _parsing(path, "cannot be read as an archive of plain arrays"):
        _require_file(path)
        stored_bytes = path.stat().st_size
        if wanted is not None:
            most = sum(entry.largest_bytes + ENTRY_OVERHEAD_BYTES for entry in wanted.values()) + ENTRY_OVERHEAD_BYTES
            if stored_bytes > most:
                raise CheckpointError(f"{path} has {stored_bytes} bytes; this learner's has {most} at most")
        with path.open("rb") as file, ZipFile(file) as archive:
            members = _members(archive, stored_bytes, path)
            headers = {name: _header_of(archive, member, path) for name, member in members.items()}
            if wanted is not None:
                require_fit(headers, wanted, folder)
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as opened:
                    arrays[name] = npy.read_array(opened, allow_pickle=False)
    if wanted is not None:
        require_values(arrays, wanted, folder)
    return arrays


def require_stored(members: Iterable[ZipInfo], archive_bytes: int, path: Path) -> None:
    """Refuse an archive that holds more than its own size, or a name twice, before anything of it is read.

    Raises:
        CheckpointError: a member is compressed, occurs twice, or all of them are larger than the archive.
    """
    names: set[str] = set()
    total = 0
    for member in members:
        if member.compress_type != ZIP_STORED or member.file_size != member.compress_size:
            raise CheckpointError(f"{path} has a compressed member {short(member.filename)}; plain ones are expected")
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
            raise CheckpointError(f"{path} has a member {short(member.filename)}; names that end in .npy are expected")
    return {member.filename.removesuffix(".npy"): member for member in archive.infolist()}


def _header_of(archive: ZipFile, member: ZipInfo, path: Path) -> Header:
    """Read type and shape of an array, whose data must be just as long as they say."""
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
        raise CheckpointError(f"{path} is missing, or no regular file")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"a number is {name}; finite numbers are expected")


@contextmanager
def _parsing(path: Path, complaint: str) -> Iterator[None]:
    """Raise whatever a parser raises on damaged bytes as a `CheckpointError`.

    Parsers of JSON, ZIP, NPY and safetensors raise errors of a dozen types, RecursionError and MemoryError among them.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} {complaint}: {in_brief(error)}") from error


def in_brief(error: Exception) -> str:
    """Return an error's text in one line, cut where it is long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def loading(path: str | Path) -> Iterator[None]:
    """Name the checkpoint in every error about its contents, and raise them all as `CheckpointError`.

    Settings may be valid one by one, and yet no model can be built from them together.
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
    """Refuse a checkpoint that lacks entries.

    Args:
        kept: its config, or its arrays by name.
        names: of the entries that are needed.
        path: of the checkpoint, for the message.

    Raises:
        CheckpointError: some are missing.
    """
    missing = sorted(set(names) - set(kept))
    if missing:
        raise CheckpointError(
            f"checkpoint {path} lacks {missing}; a whole checkpoint, as `save` writes it, is expected"
        )


def check_settings(given: Mapping[str, Any], known: Mapping[str, Setting]) -> dict[str, Any]:
    """Return settings after validating them; NumPy's scalars become Python's.

    Raises:
        ValueError: a setting that is not known, or a value that is not valid; the message names it.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"unknown setting {short(name)}; known are {sorted(known)}")
    return {name: known[name].check(name, value) for name, value in given.items()}


def read_settings(kept: Any, known: Mapping[str, Setting], path: str | Path) -> dict[str, Any]:
    """Return those entries of a checkpoint's config that are known, all of which must be there and valid.

    Raises:
        CheckpointError: one is missing or not valid; the message names it.
    """
    require_entries(kept, known, path)
    with loading(path):
        return check_settings({name: kept[name] for name in known}, known)


def mapping_of(config: Mapping[str, Any], name: str, path: str | Path) -> dict[str, Any]:
    """Return an entry of a checkpoint's config that must be a mapping.

    Raises:
        CheckpointError: it is missing, or something else.
    """
    require_entries(config, [name], path)
    found = config[name]
    if not isinstance(found, dict):
        raise CheckpointError(f"checkpoint {path}: {name} is {short(found)}; a mapping is expected")
    return found


# A generator is PCG64 everywhere. Its increment is odd.
PCG64 = {
    "bit_generator": Setting(also=("PCG64",)),
    "has_uint32": Setting(0, 1, whole=True),
    "uinteger": Setting(0, 2**32 - 1, whole=True),
}
PCG64_STATE = {"state": Setting(0, 2**128 - 1, whole=True), "inc": Setting(1, 2**128 - 1, whole=True)}


def generator_state(kept: Any, name: str, path: str | Path) -> dict[str, Any]:
    """Return the state of a NumPy generator after validating it.

    Raises:
        CheckpointError: it is no state of a PCG64.
    """
    state = mapping_of(mapping_of({name: kept}, name, path), "state", path)
    found = read_settings(kept, PCG64, path) | {"state": read_settings(state, PCG64_STATE, path)}
    if found["state"]["inc"] % 2 == 0:
        raise CheckpointError(f"checkpoint {path}: {name} has an even increment; an odd one is expected")
    return found


def require_fit(found: Mapping[str, Header], wanted: Entries, path: str | Path) -> None:
    """Compare the names, types and shapes of a checkpoint's arrays with those that are expected.

    Raises:
        CheckpointError: they differ; the message names the checkpoint and the array.
    """
    require_entries(found, (name for name, entry in wanted.items() if not entry.is_optional), path)
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise CheckpointError(f"checkpoint {path} holds arrays {short(unknown)}, which this learner does not have")
    for name, (dtype, shape) in found.items():
        entry = wanted[name]
        if not entry.fits(dtype, shape):
            most = " at most" if entry.is_shorter_valid else ""
            raise CheckpointError(
                f"checkpoint {path}: array {name!r} has dtype {short(dtype)} and shape {short(shape)}; expected "
                f"{entry.dtype.str!r} and {entry.shape}{most}"
            )


def require_values(kept: Arrays, wanted: Entries, path: str | Path) -> None:
    """Refuse arrays with values that are not finite, or outside their range.

    Raises:
        CheckpointError: the message names the checkpoint and the arrays.
    """
    wrong = sorted(name for name, array in kept.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if wrong:
        raise CheckpointError(f"checkpoint {path} holds NaN or infinity in {wrong}; finite numbers are expected")
    for name, array in kept.items():
        low, high = wanted[name].low, wanted[name].high
        # A byte of a bool that is neither 0 nor 1 means nothing.
        values, top = (array.view(np.uint8), 1) if array.dtype.kind == "b" else (array, high)
        if values.size and not (low <= values.min() and values.max() <= top):
            raise CheckpointError(f"checkpoint {path}: array {name!r} has values outside {low:g} to {top:g}")


def fill(own: Arrays, kept: Arrays, path: str | Path, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Put the arrays of a checkpoint where the learner has its own, in place.

    Args:
        own: the learner's, by name.
        kept: those of the checkpoint.
        path: of the checkpoint, for the message.
        limits: as for `entries_of`.

    Raises:
        CheckpointError: they differ in names, types or shapes, are not finite, or outside their limits; nothing has
            been changed then.
    """
    wanted = entries_of(own, limits)
    require_fit({name: (array.dtype.str, array.shape) for name, array in kept.items()}, wanted, path)
    require_values(kept, wanted, path)
    for name, array in own.items():
        array[...] = kept[name]
