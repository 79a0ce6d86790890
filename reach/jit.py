"""Decorators that compile kernels with Numba, and the cache of their compiled code on disk.

Kernels release Python's global interpreter lock. Division by zero gives infinity, as in NumPy: a check for an exception
would be a branch, which prevents the vectorisation of loops over lanes (see `reach.sim.layout`). No fast-math flag is
set, so sums are never reordered, and the result of a lane is bit-identical whatever its neighbours are.

Numba's own cache is valid until the file that defines a kernel changes. But a kernel also contains the kernels and
constants that it uses from other files. `KernelCache` is valid until any of these files changes. Kernels also work
without a cache. A damaged cache is replaced. There is none if no folder is writable or if NUMBA_DISABLE_JIT is set.

Functions that are part of a loop are inlined by LLVM, not by Numba: Numba then types each of them once instead of
wherever it is called, which takes half the time, and the loop still becomes vector instructions.

Threads are Python's. Those of Numba need a kernel of their own, which takes longer to compile than all others together,
and share a setting with the networks of torch.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, njit, typeof
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from reach.sources import sources_of

# mypy: allow-untyped-calls


def cached_on_disk(decorate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the Numba decorator `decorate` with a `KernelCache` in place of the cache of `cache=True`."""

    def decorated(function: Any) -> Any:
        dispatcher = decorate(function)
        if hasattr(dispatcher, "_cache"):  # Numba compiles
            try:
                dispatcher._cache = KernelCache(function)
            except RuntimeError:  # Numba finds no writable folder
                dispatcher._cache = NoCache()
        return dispatcher

    return decorated


def is_cached(dispatcher: Any) -> bool:
    """Return whether the compiled code of a kernel is cached on disk."""
    return isinstance(dispatcher._cache, KernelCache)


def is_compiled(dispatcher: Any) -> bool:
    """Return whether a kernel has compiled code, in this process or on disk."""
    return bool(dispatcher.signatures) or (is_cached(dispatcher) and dispatcher._cache.is_filled())


class KernelCache(FunctionCache):
    """The cache of one kernel, in the folder that Numba chooses."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = _source_digest(function.__module__, Path(function.__code__.co_filename))
        self._cache_file = ChecksummedFiles(self._cache_path, self._impl.filename_base, stamp)

    def is_filled(self) -> bool:
        """Return whether the cache holds compiled code for at least one signature."""
        return bool(self._cache_file._load_index())

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self.disable()
            _warn_not_cached(f"{self.cache_path} is not writable: {error.strerror}")


class NoCache(NullCache):
    """The cache of a kernel if no folder is writable: it stores nothing and prints a warning once."""

    def save_overload(self, sig: Any, data: Any) -> None:
        _warn_not_cached("no folder is writable")


@cache
def _warn_not_cached(why: str) -> None:
    """Print to standard error, once per process, that compiled code is not cached."""
    print(
        f"reach: compiled code is not cached ({why}), so every process compiles again; "
        "set NUMBA_CACHE_DIR to a writable folder",
        file=sys.stderr,
    )


class ChecksummedFiles(IndexDataCacheFile):
    """Numba's index and data files, each preceded by a checksum of its content, Numba's version and the source code.

    A wrong checksum means that the file is damaged or belongs to other source code. Such a file is treated as missing
    and is never unpickled.
    """

    def _load_index(self) -> dict[Any, str]:
        try:
            index: dict[Any, str] = pickle.loads(self._read(self._index_path))
        except OSError:
            return {}
        return index

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, overloads)

    def _load_data(self, name: str) -> Any:
        """Return the data.

        Raises:
            OSError: a wrong checksum. `IndexDataCacheFile.load` treats it like a missing file.
        """
        return pickle.loads(self._read(self._data_path(name)))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> bytes:
        content = Path(path).read_bytes()
        data = content[hashlib.sha256().digest_size :]
        if content != self._with_checksum(data):
            raise OSError(f"{path} is damaged or belongs to other source code")
        return data

    def _write(self, path: str, value: Any) -> None:
        with self._open_for_write(path) as file:
            file.write(self._with_checksum(self._dump(value)))

    def _with_checksum(self, data: bytes) -> bytes:
        return hashlib.sha256(f"{self._version} {self._source_stamp} ".encode() + data).digest() + data


@cache
def _source_digest(module: str, file: Path) -> str:
    """Return the hash of all source files that the kernels of a module use."""
    try:
        sources = sources_of([module], only_globals=True)
    except ModuleNotFoundError:  # a script
        sources = sources_of([file], only_globals=True)
    return hashlib.sha256(b"".join(path.read_bytes() for _, path in sorted(sources.files.items()))).hexdigest()


def _with_field_attributes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a Python function read the fields of structured arrays as attributes, as compiled code does."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        is_structured = [isinstance(value, np.ndarray) and value.dtype.names is not None for value in arguments]
        pairs = zip(arguments, is_structured, strict=True)
        return function(*(value.view(np.recarray) if structured else value for value, structured in pairs))

    return called


# Numba would also compile a form of each kernel for callers in C.
WITHOUT_C_WRAPPER: Any = {"no_cfunc_wrapper": True}


def _decorator(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function with Numba; under NUMBA_DISABLE_JIT the function stays Python."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return _with_field_attributes
    return cached_on_disk(njit(nogil=True, error_model="numpy", **WITHOUT_C_WRAPPER, **options))


# A function with loops over lanes, cells or synapses. It is compiled without Numba's run time, so it cannot allocate
# arrays, and array slices are not reference-counted.
kernel: Any = _decorator(_nrt=False)
# A kernel that may allocate arrays, for code that runs once per trial or is called from Python.
allocating_kernel: Any = _decorator()
# A function that LLVM inlines into the kernel that calls it.
inlined: Any = _decorator(_nrt=False, forceinline=True)


def python_function_of(kernel: Any) -> Any:
    """Return the Python function of a kernel, for calls with a few numbers that are not worth compiling."""
    return getattr(kernel, "py_func", kernel)


def compiled_for(kernel: Any, *arguments: Any) -> Any:
    """Return a kernel compiled for the types of some arguments, to be called with others of the same types.

    A call of the kernel itself inspects the types each time. For tuples of dozens of arrays, this takes as long as a
    few steps of a circuit.
    """
    # If Numba is disabled, a kernel is the function itself.
    return kernel.compile(tuple(typeof(value) for value in arguments)) if hasattr(kernel, "compile") else kernel


def say_when_compiling(kernel: Any, what: str) -> None:
    """Print to standard error, once per process, that `kernel` will be compiled, if it has no compiled code.

    Args:
        kernel: the kernel that calls all others.
        what: name of the compiled part, with the duration of compilation, for the message.
    """
    if kernel in _announced:
        return
    _announced.add(kernel)
    if kernel is not python_function_of(kernel) and not is_compiled(kernel):
        print(f"reach: compiling {what}{', once for this processor' if is_cached(kernel) else ''}", file=sys.stderr)


_announced: set[Any] = set()


def max_threads() -> int:
    """Return the largest number of threads for kernels."""
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def run_in_threads(run: Callable[[int, int], Any], number: int, threads: int) -> None:
    """Call `run(first, end)` on `threads` equal shares of the range of `number`, each in a thread of its own."""
    shares = list(pairwise(number * k // threads for k in range(threads + 1)))
    others = [_pool(threads - 1, os.getpid()).submit(run, *share) for share in shares[1:]]
    run(*shares[0])
    for other in others:
        other.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a forked one has none of its parent's."""
    return ThreadPoolExecutor(threads)
