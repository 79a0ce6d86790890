"""How kernels are compiled: cached on disk, without the interpreter's lock, with the processor's own arithmetic.

Division by zero gives infinity, as in NumPy, instead of an exception: a branch in a loop over lanes would keep the
compiler from turning the loop into vector instructions. No fast-math flag is set, so sums are never reordered and a
lane's bits do not depend on its neighbours.
"""

from __future__ import annotations

import sys
from typing import Any

from numba import njit

from reach.sim.kernel_cache import is_compiled, is_kept, kept_on_disk

# A function with a loop over the lanes of a tile, or one that works on a single row.
kernel: Any = kept_on_disk(njit(nogil=True, error_model="numpy"))
# A function of scalars that becomes part of the loop that calls it.
inlined: Any = kept_on_disk(njit(error_model="numpy", inline="always"))
# A kernel that shares its tiles among threads.
parallel_kernel: Any = kept_on_disk(njit(nogil=True, error_model="numpy", parallel=True))


def python_function(kernel: Any) -> Any:
    """The function that a kernel was compiled from, which may be called on a few numbers without compiling it."""
    return getattr(kernel, "py_func", kernel)


def say_when_compiling(kernel: Any, what: str) -> None:
    """Say on standard error, once a process, that kernels are about to be compiled, where `kernel` is not yet.

    Args:
        kernel: the one that calls the others.
        what: is compiled, and how long it takes.
    """
    if kernel in _said:
        return
    _said.add(kernel)
    if kernel is not python_function(kernel) and not is_compiled(kernel):
        print(f"reach: compiling {what}{', once for this processor' if is_kept(kernel) else ''}", file=sys.stderr)


_said: set[Any] = set()
