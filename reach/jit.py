"""Decorators that compile kernels with Numba, and the cache of their compiled code on disk.

Kernels release Python's global interpreter lock. Division by zero gives infinity, as in NumPy: raising an exception
would need a branch, which prevents the vectorisation of loops over lanes (see `reach.sim.layout`). No fast-math flag is
set, so sums are never reordered, and the result of a lane is bit-identical for any neighbouring lanes.

Numba's own cache is valid until the file that defines a kernel changes. But a kernel also contains the kernels and
constants that it uses from other files. `KernelCache` is valid until any of these files changes. A damaged cache is
replaced. Kernels work without a cache if no folder is writable or NUMBA_DISABLE_JIT is set.

Functions that are part of a loop are inlined by LLVM instead of Numba. Numba then infers the types of each function
once instead of at every call, which halves the time of compilation, and the loop still vectorises.

Threads are Python's. Numba's threads would need a parallel kernel, which takes longer to compile than all other kernels
together, and share a setting with torch.
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
    """Return the Numba decorator `decorate` with a `KernelCache` in place of Numba's own cache."""

    def decorated(function: Any) -> Any:
        dispatcher = decorate(function)
        if hasattr(dispatcher, "_cache"):  # Numba compiles
            try:
                dispatcher._cache = KernelCache(function)
            except RuntimeError:  # Numba finds no writable folder
                dispatcher._cache = NoCache()
        return dispatcher

    return decorated


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
            OSError: the checksum is wrong. `IndexDataCacheFile.load` treats this like a missing file.
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
        files, _ = sources_of([module], only_globals=True)
    except ModuleNotFoundError:  # a script
        files, _ = sources_of([file], only_globals=True)
    return hashlib.sha256(b"".join(path.read_bytes() for _, path in sorted(files.items()))).hexdigest()


def _with_field_attributes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a Python function read the fields of structured arrays as attributes, as compiled code does."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        is_structured = [isinstance(value, np.ndarray) and value.dtype.names is not None for value in arguments]
        pairs = zip(arguments, is_structured, strict=True)
        return function(*(value.view(np.recarray) if structured else value for value, structured in pairs))

    return called


# Do not compile a wrapper of each kernel for callers in C.
WITHOUT_C_WRAPPER: Any = {"no_cfunc_wrapper": True}


def _decorator(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function with Numba; under NUMBA_DISABLE_JIT the function stays Python."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return _with_field_attributes
    return cached_on_disk(njit(nogil=True, error_model="numpy", **WITHOUT_C_WRAPPER, **options))


# Decorator of functions with loops over lanes, cells or synapses. They are compiled without Numba's run time, so they
# cannot allocate arrays, and array slices are not reference-counted.
kernel: Any = _decorator(_nrt=False)
# Decorator of kernels that may allocate arrays, for code that runs once per trial or is called from Python.
allocating_kernel: Any = _decorator()
# Decorator of functions that LLVM inlines into the kernel that calls them.
inlined: Any = _decorator(_nrt=False, forceinline=True)


def python_function_of(kernel: Any) -> Any:
    """Return the Python function of a kernel, for rare calls with a few numbers, for which compiling does not pay."""
    return getattr(kernel, "py_func", kernel)


def compiled_for(kernel: Any, *arguments: Any) -> Any:
    """Return a kernel compiled for the types of the arguments, for calls with other arguments of the same types.

    Calling the kernel itself would inspect the types each time. For tuples of dozens of arrays, this takes as long as a
    few steps of a circuit.
    """
    # If Numba is disabled, a kernel is the function itself.
    return kernel.compile(tuple(typeof(value) for value in arguments)) if hasattr(kernel, "compile") else kernel


@cache
def say_when_compiling(kernel: Any, what: str) -> None:
    """Print to standard error, once per process, that `kernel` will be compiled, unless it has compiled code.

    Args:
        kernel: the kernel that calls all others.
        what: name of the compiled part and duration of the compilation, for the message.
    """
    if kernel is python_function_of(kernel) or kernel.signatures:
        return
    is_cached = isinstance(kernel._cache, KernelCache)
    if not (is_cached and kernel._cache.is_filled()):
        print(f"reach: compiling {what}{', once for this processor' if is_cached else ''}", file=sys.stderr)


def max_threads() -> int:
    """Return the largest number of threads for kernels."""
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def run_in_threads(run: Callable[[int, int], Any], number: int, threads: int) -> None:
    """Call `run(first, end)` on `threads` equal parts of range(number), each in its own thread."""
    shares = list(pairwise(number * k // threads for k in range(threads + 1)))
    others = [_pool(threads - 1, os.getpid()).submit(run, *share) for share in shares[1:]]
    run(*shares[0])
    for other in others:
        other.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the thread pool of a process; a forked process needs its own, because it has no threads of its parent."""
    return ThreadPoolExecutor(threads)
