"""Files and folders that are not finished yet: temporary names, and files that appear whole or not at all.

From the name of an unfinished file a later writer knows what a killed one has left.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
DRIVE = re.compile(r"[A-Za-z]:")  # how a path begins that Windows reads as one on another drive


class DiskFullError(OSError):
    """There is no room for a result; what was written before is whole."""


def unfinished_prefix(target: Path) -> str:
    """Return how the name of an unfinished `target` begins, for `tempfile`; first remove what killed writers left.

    Only what processes of this machine left that no longer run is removed.
    """
    beginning = f".{target.name[:100]}.part-{socket.gethostname()[:60]}-"
    ours = re.compile(re.escape(beginning) + r"(\d+)-\w{8}(\.\w+)?")
    for path in target.parent.iterdir() if os.name == "posix" else ():
        match = ours.fullmatch(path.name)
        if match is None or _runs(int(match[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return f"{beginning}{os.getpid()}-"


def unfinished_path(target: Path) -> Path:
    """Return a free name for an unfinished `target`, beside it; first remove what killed writers left of it."""
    return target.with_name(f"{unfinished_prefix(target)}{secrets.token_hex(4)}")


def create_new(path: Path) -> int:
    """Create a file that is not there yet, without following links; return its descriptor, open for writing.

    Raises:
        FileExistsError: something has this name, be it a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    A link at `path` is replaced and its target left alone. The folder is made if it is missing.

    Raises:
        DiskFullError: there is no room for it.
    """
    with disk_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = unfinished_path(path)
        opened = create_new(part)
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder, where the system can open one."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
            write_file(below(part, name), data)
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


def _runs(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
