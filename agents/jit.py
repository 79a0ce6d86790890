"""How the kernels of networks are compiled: cached on disk, without the interpreter's lock.

Division by zero gives infinity, as in NumPy, so that no loop needs a branch for it. No fast-math flag is set: sums are
never reordered, and the same input gives the same bits. Numba's run-time allocation is off: a kernel that would
allocate does not compile, and parts of arrays are not counted, which took more than half of the time of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numba import config, njit, typeof

from reach.sim.jit import kept_on_disk


def _decorator(**options: Any) -> Callable[[Any], Any]:
    """A decorator that compiles a function, or makes it take records where Numba does not compile."""
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
# The same for a function that runs once a trial and needs arrays of its own.
allocating_kernel: Any = _decorator(_nrt=True)
# A function that becomes part of the one that calls it, since handing arrays over takes as long as many a loop over
# them.
inlined: Any = _decorator(inline="always")
# What has decayed to this becomes zero: below 1e-38 a processor takes a hundred times longer in single precision.
SMALLEST = 1e-30

_compiled: dict[tuple[Any, str], Any] = {}


def call(function: Any, kind: str, *arguments: Any) -> Any:
    """Call a kernel whose arguments have the same types whenever `kind` is the same, without a look at their types.

    For tuples of dozens of arrays, finding out their types takes as long as a few steps of a circuit.

    Args:
        function: a kernel.
        kind: a name for the types of its arguments.
        arguments: its arguments.
    """
    found = _compiled.get((function, kind))
    if found is None:
        types = tuple(typeof(one) for one in arguments)  # type: ignore[no-untyped-call]
        # Where Numba does not compile, a kernel is the function itself.
        found = _compiled[function, kind] = function.compile(types) if hasattr(function, "compile") else function
    return found(*arguments)
