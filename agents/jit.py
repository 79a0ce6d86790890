"""How the kernels of agents are compiled: cached on disk, without the interpreter's lock.

Division by zero gives infinity, as in NumPy, so that no loop needs a branch for it. No fast-math flag is set: sums are
never reordered, and the same input gives the same bits. Numba's run-time allocation is off: a kernel that allocates
does not compile, and array slices are not reference-counted, which took more than half of the time of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numba import config, njit, typeof

from reach.jit import kept_on_disk


def _decorator(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function; if Numba is disabled, one that lets it take records."""
    is_compiled = not config.DISABLE_JIT  # type: ignore[attr-defined]
    return kept_on_disk(njit(nogil=True, error_model="numpy", **options)) if is_compiled else _taking_records


def _taking_records(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function read the fields of records as attributes, as compiled code does."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        return function(*map(_with_attributes, arguments))

    return called


def _with_attributes(argument: Any) -> Any:
    has_fields = isinstance(argument, np.ndarray) and argument.dtype.names is not None
    return argument.view(np.recarray) if has_fields else argument


# A function with loops over cells or synapses.
kernel: Any = _decorator(_nrt=False)
# A function that allocates arrays; for code that runs once a trial or is called from Python.
allocating_kernel: Any = _decorator(_nrt=True)
# A function that becomes part of its caller: passing arrays takes as long as many a loop over them.
inlined: Any = _decorator(inline="always")
# Decaying values below this become zero: single-precision numbers below 1e-38 are a hundred times slower.
SMALLEST = 1e-30

_compiled: dict[tuple[Any, str], Any] = {}


def call(function: Any, kind: str, *arguments: Any) -> Any:
    """Call a kernel without inspecting the types of its arguments, which must be the same for the same `kind`.

    For tuples of dozens of arrays, inspecting types takes as long as a few steps of a circuit.

    Args:
        function: a kernel.
        kind: a name for the types of its arguments.
        arguments: its arguments.
    """
    compiled = _compiled.get((function, kind))
    if compiled is None:
        types = tuple(typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]
        # If Numba is disabled, a kernel is the function itself.
        compiled = function.compile(types) if hasattr(function, "compile") else function
        _compiled[function, kind] = compiled
    return compiled(*arguments)
