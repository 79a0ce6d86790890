"""How kernels are compiled: cached on disk, without the interpreter's lock, with the processor's own arithmetic.

Division by zero gives infinity, as in NumPy, instead of an exception: a branch in a loop over lanes would keep the
compiler from turning the loop into vector instructions. No fast-math flag is set, so sums are never reordered and a
lane's bits do not depend on its neighbours.
"""

from __future__ import annotations

import sys
from typing import Any

from numba import njit

from reach.sim.sources import forgotten_with_sources

# A function with a loop over the lanes of a tile, or one that works on a single row.
kernel: Any = forgotten_with_sources(njit(cache=True, nogil=True, error_model="numpy"))
# A function of scalars that becomes part of the loop that calls it.
inlined: Any = forgotten_with_sources(njit(cache=True, error_model="numpy", inline="always"))
# A kernel that shares its tiles among threads.
parallel_kernel: Any = forgotten_with_sources(njit(cache=True, nogil=True, error_model="numpy", parallel=True))


def say_when_compiling(dispatcher: Any, what: str) -> None:
    """Say on standard error, once a process, that kernels are about to be compiled, where no cache holds `dispatcher`.

    Args:
        dispatcher: the kernel that calls the others.
        what: is compiled, and how long it takes.
    """
    function = dispatcher.py_func
    if function in _said:
        return
    _said.add(function)
    if not dispatcher._cache._cache_file._load_index() and not dispatcher.signatures:
        print(f"reach: compiling {what}, once for this processor", file=sys.stderr)


_said: set[Any] = set()
