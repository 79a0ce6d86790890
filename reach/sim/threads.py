"""The number of threads of parallel kernels, without a side effect on other libraries.

numba and torch read the same setting of the OpenMP runtime. Without care, a network that computes with one thread would
use all of them, with other last bits, after a vector environment has been stepped.
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
    """Return the largest number of threads for kernels."""
    with _restored_setting():
        return get_num_threads()


@contextmanager
def sharing(threads: int) -> Iterator[None]:
    """Let parallel kernels use this many threads, 1 to `most_threads()`, in the body of the `with` statement."""
    with _restored_setting():
        before = get_num_threads()
        set_num_threads(threads)
        try:
            yield
        finally:
            set_num_threads(before)


@contextmanager
def _restored_setting() -> Iterator[None]:
    """Restore the OpenMP setting at the end."""
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
    """Return the OpenMP runtime that a library loaded earlier shares with numba; None if there is none."""
    everyones = ctypes.CDLL(None) if os.name == "posix" else None
    return everyones if hasattr(everyones, "omp_get_max_threads") else None
