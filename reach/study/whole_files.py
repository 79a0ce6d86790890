"""Write files whole or not at all, never through a link, and detect damage when they are read.

A file may hold its own SHA-256 (a seal). A file that only ever is copied, such as a film, has its SHA-256 in a sealed
file beside it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reach.unfinished import create_new, sync_folder, unfinished_path, write_file

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
DIGEST_DIGITS = 64
# Stands in a file where its seal belongs until it is sealed.
UNSEALED = "sha256:" + "0" * DIGEST_DIGITS
DRIVE = re.compile(r"[A-Za-z]:")  # how a path begins that Windows reads as one on another drive
SEAL = re.compile(rb"sha256:([0-9a-f]{%d})" % DIGEST_DIGITS)


class DamagedError(ValueError):
    """A stored file is not as it was written: altered, cut short, missing, or that of another job."""


class DiskFullError(OSError):
    """There is no room for a result; what was written before is whole."""


@contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Turn what a full disk raises inside into a `DiskFullError` that says what to do."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if full or getattr(error, "errno", None) in NO_ROOM:
            raise DiskFullError(
                errno.ENOSPC,
                "No space left on the disk; what was finished before is kept, whole. Free some space and give the "
                "same command again",
                str(path),
            ) from error
        raise


def replace_by_empty(path: Path) -> int:
    """Create an empty file in place of the one that is there; return its descriptor, open for writing.

    A link is replaced and its target left alone.

    Raises:
        OSError: a folder has this name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return create_new(path)


def open_regular(path: Path) -> int:
    """Open a file for reading and writing, create it if it is missing; return its descriptor. Nothing is truncated.

    Raises:
        OSError: it is a link, a folder, a pipe or anything else but a file of its own; the message names it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        opened = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_regular(path) from error
        raise
    found = os.fstat(opened)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(opened)
        raise _not_regular(path)
    return opened


def _not_regular(path: Path) -> OSError:
    return OSError(
        errno.EINVAL, "not a regular file (a link, folder, pipe or device), and so left alone; remove it", str(path)
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    A link at `path` is replaced and its target left alone.

    Raises:
        DiskFullError: there is no room for it.
    """
    with disk_full(path):
        write_file(path, data)


def below(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`.

    Args:
        folder: that the file is in.
        name: its path relative to `folder`, with "/" between components.

    Raises:
        ValueError: an absolute path, or one with a backslash, a drive, or a component that is empty, "." or "..".
    """
    is_relative = not any(part in ("", ".", "..") for part in name.split("/"))
    if not is_relative or DRIVE.match(name) or "\\" in name or "\0" in name or not _can_be_encoded(name):
        raise ValueError(
            f"{name!r} is not a file name inside {folder}; a relative path is allowed, without '..', backslash or drive"
        )
    return folder / name


def _can_be_encoded(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files, by their paths in it, so that a reader sees all of them or no folder.

    Raises:
        OSError: the folder is there already and holds something.
        ValueError: a path that `below` refuses; nothing is written.
    """
    for name in files:
        below(folder, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = unfinished_path(folder)
    part.mkdir()
    try:
        for name, data in files.items():
            write_whole(below(part, name), data)
        part.replace(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def set_aside(path: Path) -> Path:
    """Rename a file or folder to a name that is free; return that name."""
    number, aside = 1, path.with_name(f"{path.name}.damaged")
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(aside)
    return aside


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def seal(data: bytes) -> bytes:
    """Put the SHA-256 of `data` into it, where `UNSEALED` stands.

    Raises:
        ValueError: there is no place for it.
    """
    before, place, after = data.partition(UNSEALED.encode())
    if not place:
        raise ValueError("the data holds no UNSEALED to put the seal in its place")
    return b"".join((before, b"sha256:", sha256_of(data).encode(), after))


def is_sealed(data: bytes) -> bool:
    """Return whether `data` is as `seal` made it, to the last bit."""
    return any(
        sha256_of(data[: found.start()] + UNSEALED.encode() + data[found.end() :]) == found[1].decode()
        for found in SEAL.finditer(data)
    )


def check_seal(data: bytes, path: Path) -> None:
    """Check that the bytes of the file at `path` are as they were sealed.

    Raises:
        DamagedError: they are not.
    """
    if not is_sealed(data):
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one that is stored in it")


def make_folder(folder: Path, argument: str) -> None:
    """Make a folder, unless it is there, and see that files can be written in it.

    Args:
        folder: to make, with those that it lies in.
        argument: that named it, for the message.

    Raises:
        OSError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{argument} {folder}: no folder that can be written to ({error.strerror}); one that is there, or that can "
            "be made, is allowed"
        ) from error
