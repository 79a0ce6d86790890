"""The threads that kernels share, and how many other libraries of this process go on using.

numba's OpenMP threads count by the same setting of the runtime as torch's: without care, a network that computes with
one thread would compute with all of them, and give other last bits, once a vector of environments has been stepped.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from numba import get_num_threads, set_num_threads


def most_threads() -> int:
    """Threads that kernels may share at most."""
    with _others_kept():
        return get_num_threads()


@contextmanager
def sharing(threads: int) -> Iterator[None]:
    """Kernels that share their work do so among this many threads, 1 to `most_threads()`, until the end."""
    with _others_kept():
        before = get_num_threads()
        set_num_threads(threads)
        try:
            yield
        finally:
            set_num_threads(before)


@contextmanager
def _others_kept() -> Iterator[None]:
    """OpenMP's setting is at the end what it was at the beginning."""
    runtime = _shared_runtime()
    if runtime is None:
        yield
        return
    kept = runtime.omp_get_max_threads()
    try:
        yield
    finally:
        runtime.omp_set_num_threads(kept)


@cache
def _shared_runtime() -> Any:
    """The OpenMP runtime that a library loaded before has brought for all, and that numba takes then; None if none."""
    everyones = ctypes.CDLL(None) if os.name == "posix" else None
    return everyones if hasattr(everyones, "omp_get_max_threads") else None
