"""Folders that a flag names, made before anything is learned or measured."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(flag: str, folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Args:
        flag: of the script that needs it, for the message.
        folder: to be made.

    Raises:
        SystemExit: it cannot be made, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"{flag}: {folder} is no folder and cannot be made one ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise SystemExit(f"{flag}: {folder} cannot be written to; give another folder")
