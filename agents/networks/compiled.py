"""How the kernels of networks are compiled: cached on disk, without the interpreter's lock.

Division by zero gives infinity, as in NumPy, so that no loop needs a branch for it. No fast-math flag is set: sums are
never reordered, and the same input gives the same bits.
"""

from __future__ import annotations

from typing import Any

from numba import njit

# A function with loops over cells or synapses.
kernel: Any = njit(cache=True, nogil=True, error_model="numpy")
# A function of scalars that becomes part of the loop that calls it.
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", inline="always")
# What has decayed to this becomes zero: below 1e-38 a processor takes a hundred times longer in single precision.
SMALLEST = 1e-30
