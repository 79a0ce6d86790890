"""What a compiled kernel is made of.

Numba keeps a kernel on disk until the file that defines it changes. Other kernels and constants become part of it too,
and would go on doing so in silence, as they were, when the files that define them change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# Of the top level of a file, since what a kernel uses is global.
_IMPORT = re.compile(r"^from ([\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)
_NAME = re.compile(r"\w+")


def forgotten_with_sources(decorate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator of Numba whose kernels are taken from disk only as long as no file they are made of has changed.

    These are the file of the kernel and all that it imports, directly or not, from its own package or this one.
    """

    def decorated(function: Any) -> Any:
        dispatcher = decorate(function)
        kept = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        # Without the compiler nothing is kept.
        if kept is not None:
            kept._source_stamp = _digest(Path(function.__code__.co_filename), function.__module__)
        return dispatcher

    return decorated


@cache
def _digest(file: Path, module: str) -> str:
    levels = module.count(".") + (file.name == "__init__.py")
    packages = {module.partition(".")[0]: file.parents[levels], "reach": Path(__file__).parents[2]}
    waiting, found = [file], {file}
    while waiting:
        for name, names in _imports(waiting.pop()):
            if (top := name.partition(".")[0]) in packages:
                new = set(_files(packages[top].joinpath(*name.split(".")), names)) - found
                found |= new
                waiting += new
    return hashlib.sha256(b"".join(one.read_bytes() for one in sorted(found))).hexdigest()


@cache
def _imports(file: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Modules and what is imported from each."""
    return [(module, tuple(_NAME.findall(names))) for module, names in _IMPORT.findall(file.read_text("utf-8"))]


def _files(place: Path, names: tuple[str, ...]) -> list[Path]:
    """Files of the modules among `names`, or else of the one at `place`, without its ending."""
    inner = [file for name in names if (file := place / f"{name}.py").exists()]
    return inner or [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()]
