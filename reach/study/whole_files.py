"""Files that are there whole or not at all, and a full disk that says so."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".part-"  # how the name of a file begins that is not yet whole
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


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


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        DiskFullError: there is no room for it.
    """
    part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with disk_full(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
