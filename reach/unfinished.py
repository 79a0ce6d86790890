"""Names of files and folders that are not finished yet, from which a later writer knows what a killed one has left."""

from __future__ import annotations

import os
import re
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


def _runs(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
