"""Files and folders that are not finished yet: temporary names, and files that appear whole or not at all.

From the name of an unfinished file a later writer knows what a killed one has left.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from pathlib import Path


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
    """
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


def _runs(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
