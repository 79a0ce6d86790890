"""Write files and folders atomically, never through a link, and detect damage when they are read.

A writer first writes to a temporary file in the folder of the target, then renames it. If a writer is killed, the next
writer of the same target recognises the temporary file by its name and removes it. A file may contain its own SHA-256,
called a seal. The SHA-256 of a file that cannot contain it, such as a film, is stored in another, sealed file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
WINDOWS_DRIVE = re.compile(r"[A-Za-z]:")
DIGEST_DIGITS = 64
# Placeholder for the seal in data that are not sealed yet.
UNSEALED = "sha256:" + "0" * DIGEST_DIGITS
SEAL = re.compile(rb"sha256:([0-9a-f]{%d})" % DIGEST_DIGITS)


class DamagedError(ValueError):
    """A stored file is not as it was written: it is altered, truncated, missing, or from another job."""


class DiskFullError(OSError):
    """The disk is full; files written before are complete."""


def unfinished_path(target: Path, suffix: str = "") -> Path:
    """Return an unused path for the temporary file of `target`, in the same folder.

    Unfinished files of the same target are removed if their process ran on this machine and has ended.
    """
    beginning = f".{target.name[:100]}.part-{socket.gethostname()[:60]}-"
    temporary = re.compile(re.escape(beginning) + r"(\d+)-\w{8}(\.\w+)?")
    for path in target.parent.iterdir() if os.name == "posix" else ():
        match = temporary.fullmatch(path.name)
        if match is None or _is_running(int(match[1])):
            continue
        remove(path)
    return target.with_name(f"{beginning}{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: a reader sees the old file or the new one.

    A link at `path` is replaced, and its target is not changed. A missing folder is created.

    Raises:
        DiskFullError: the disk is full.
    """
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = unfinished_path(path)
        descriptor = _create_new(temporary)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files atomically: a reader sees all files or no folder.

    Args:
        folder: the folder to write.
        files: contents of the files, by path in the folder.

    Raises:
        DiskFullError: the disk is full.
        OSError: the folder exists and is not empty.
        ValueError: a path is invalid, see `path_inside`; nothing is written.
    """
    for name in files:
        path_inside(folder, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished_path(folder)
    temporary.mkdir()
    try:
        for name, data in files.items():
            write_file(path_inside(temporary, name), data)
        temporary.replace(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the contents of the files of a folder, by path in the folder, as `write_folder` takes them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, on systems that can open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Raise the error of a full disk as a `DiskFullError` with instructions."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL and not isinstance(error, DiskFullError):
            help_text = "finished files are intact. Free some space and repeat the command"
            raise DiskFullError(errno.ENOSPC, f"No space left on the disk; {help_text}", str(path)) from error
        raise


def replace_by_empty(path: Path) -> int:
    """Replace a file by an empty one; return its descriptor, open for writing.

    A link is replaced, and its target is not changed.

    Raises:
        OSError: a folder has this name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return _create_new(path)


def _create_new(path: Path) -> int:
    """Create a file, without following links; return its descriptor, open for writing.

    Raises:
        FileExistsError: a file, folder or link has this name.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)


def open_regular(path: Path) -> int:
    """Open a file without truncating it, or create it; return its descriptor.

    Raises:
        OSError: the path is a link, folder, pipe, device or hard link; the message names it.
    """
    reason = "expected a regular file with one link; remove it"
    refusal = OSError(errno.EINVAL, reason, str(path))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise refusal from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise refusal
    return descriptor


def check_regular(path: Path) -> None:
    """Check that `path` is a regular file or does not exist.

    Raises:
        DamagedError: the path is a link, folder, pipe or device.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise DamagedError(f"{path}: expected a regular file, got a link, folder, pipe or device")


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`.

    Args:
        folder: the folder of the file.
        name: path of the file relative to `folder`, with "/" between components.

    Raises:
        ValueError: the name is absolute, or has a backslash, a drive, or a component that is empty, "." or "..".
    """
    is_relative = not any(part in ("", ".", "..") for part in name.split("/"))
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        is_relative = False
    if not is_relative or WINDOWS_DRIVE.match(name) or "\\" in name or "\0" in name:
        raise ValueError(f"expected a relative path inside {folder}, without '..', backslash or drive, got {name!r}")
    return folder / name


def make_folder(folder: Path, argument: str) -> None:
    """Create a folder and its parents, unless they exist, and check that it is writable.

    Args:
        folder: the folder to create.
        argument: name of the argument that gave the folder, for the message.

    Raises:
        OSError: the folder cannot be created or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{argument}: expected a folder that can be written, got {folder} ({error.strerror})") from error


def rename_damaged(path: Path) -> Path:
    """Rename a file or folder to <name>.damaged, or <name>.damaged-2 and so on; return the new path."""
    number, renamed = 1, path.with_name(f"{path.name}.damaged")
    while os.path.lexists(renamed):
        number += 1
        renamed = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(renamed)
    return renamed


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def seal(data: bytes) -> bytes:
    """Return `data` with their SHA-256 in place of `UNSEALED`.

    Raises:
        ValueError: `data` do not contain `UNSEALED`.
    """
    before, place, after = data.partition(UNSEALED.encode())
    if not place:
        raise ValueError("expected data that hold UNSEALED in place of their seal, got data without it")
    return b"".join((before, b"sha256:", sha256_of(data).encode(), after))


def is_sealed(data: bytes) -> bool:
    """Return whether `data` are bit-identical to the result of `seal`."""
    return any(
        sha256_of(data[: match.start()] + UNSEALED.encode() + data[match.end() :]) == match[1].decode()
        for match in SEAL.finditer(data)
    )


def check_seal(data: bytes, path: Path) -> None:
    """Check that the bytes of the file at `path` are unchanged since they were sealed.

    Raises:
        DamagedError: the bytes were changed.
    """
    if not is_sealed(data):
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one that is stored in it")
