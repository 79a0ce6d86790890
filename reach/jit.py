"""How kernels are compiled, and how their compiled code is kept on disk.

Kernels run without the interpreter's lock. Division by zero gives infinity, as in NumPy, instead of an exception: a
branch in a loop over lanes would keep the compiler from turning the loop into vector instructions. No fast-math flag is
set, so sums are never reordered and a lane's bits do not depend on its neighbours.

Numba keeps compiled code until the file that defines the kernel changes. Other kernels and constants become part of a
kernel too, so here all files that it is made of count. A cache is never needed: a damaged one is compiled again, and
kernels work without one where no folder can be written or Numba is told not to compile (NUMBA_DISABLE_JIT).

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
from numba import config, njit
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from reach.sources import sources_of

# mypy: allow-untyped-calls


def kept_on_disk(decorate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator of Numba whose compiled code is kept on disk by `KernelCache` instead of `cache=True`."""

    def decorated(function: Any) -> Any:
        dispatcher = decorate(function)
        if hasattr(dispatcher, "_cache"):  # Numba compiles
            try:
                dispatcher._cache = KernelCache(function)
            except RuntimeError:  # Numba finds no folder that can be written
                dispatcher._cache = NoFolder()
        return dispatcher

    return decorated


def is_kept(dispatcher: Any) -> bool:
    """Return whether the compiled code of a kernel is kept on disk."""
    return isinstance(dispatcher._cache, KernelCache)


def is_compiled(dispatcher: Any) -> bool:
    """Return whether a kernel has compiled code, in this process or on disk."""
    return bool(dispatcher.signatures) or (is_kept(dispatcher) and dispatcher._cache.is_filled())


class KernelCache(FunctionCache):
    """The cache of one kernel, in the folder that Numba chooses."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = _source_digest(function.__module__, Path(function.__code__.co_filename))
        self._cache_file = SealedFiles(self._cache_path, self._impl.filename_base, stamp)

    def is_filled(self) -> bool:
        """Return whether it holds compiled code for any argument types."""
        return bool(self._cache_file._load_index())

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self.disable()
            _say_not_kept(f"{self.cache_path} cannot be written: {error.strerror}")


class NoFolder(NullCache):
    """No cache, where there is no folder for one."""

    def save_overload(self, sig: Any, data: Any) -> None:
        _say_not_kept("no folder for it can be written")


@cache
def _say_not_kept(why: str) -> None:
    """Print to standard error, once a process, that the next process compiles again."""
    print(
        f"reach: compiled code is not kept ({why}), so every process compiles again; "
        "set NUMBA_CACHE_DIR to a folder for it",
        file=sys.stderr,
    )


class SealedFiles(IndexDataCacheFile):
    """Numba's index and data files, each preceded by a hash of its content, Numba's version and the source.

    A file with another hash is damaged or of other code. It is never unpickled and counts as absent.
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
        """Return the data; raise OSError, which `load` treats as an absent file, if it is damaged."""
        return pickle.loads(self._read(self._data_path(name)))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> bytes:
        content = Path(path).read_bytes()
        data = content[hashlib.sha256().digest_size :]
        if content != self._sealed(data):
            raise OSError(f"{path} is damaged or of other code")
        return data

    def _write(self, path: str, value: Any) -> None:
        with self._open_for_write(path) as file:
            file.write(self._sealed(self._dump(value)))

    def _sealed(self, data: bytes) -> bytes:
        return hashlib.sha256(f"{self._version} {self._source_stamp} ".encode() + data).digest() + data


@cache
def _source_digest(module: str, file: Path) -> str:
    """Return the hash of all files that the kernels in a module are made of."""
    try:
        sources = sources_of([module], only_globals=True)
    except ModuleNotFoundError:  # a script
        sources = sources_of([file], only_globals=True)
    return hashlib.sha256(b"".join(path.read_bytes() for _, path in sorted(sources.files.items()))).hexdigest()


def _taking_records(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function read the fields of records as attributes, as compiled code does."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        has_fields = [isinstance(value, np.ndarray) and value.dtype.names is not None for value in arguments]
        pairs = zip(arguments, has_fields, strict=True)
        return function(*(value.view(np.recarray) if is_record else value for value, is_record in pairs))

    return called


# Numba would also compile a form of each kernel for callers in C.
WITHOUT_C_WRAPPER: Any = {"no_cfunc_wrapper": True}


def _decorator(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function; if Numba is disabled, one that lets it take records."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return _taking_records
    return kept_on_disk(njit(nogil=True, error_model="numpy", **WITHOUT_C_WRAPPER, **options))


# A function with loops over lanes, cells or synapses. It cannot allocate: it is compiled without Numba's run time, so
# array slices are not reference-counted either.
kernel: Any = _decorator(_nrt=False)
# A kernel that allocates arrays, for code that runs once a trial or is called from Python.
allocating_kernel: Any = _decorator()
# A function that becomes part of the loop that calls it.
inlined: Any = _decorator(_nrt=False, forceinline=True)


def python_version_of(kernel: Any) -> Any:
    """Return the Python function of a kernel, to call it on a few numbers without compiling."""
    return getattr(kernel, "py_func", kernel)


def say_when_compiling(kernel: Any, what: str) -> None:
    """Print to standard error, once a process, that kernels will be compiled, unless `kernel` has compiled code.

    Args:
        kernel: the one that calls the others.
        what: what is compiled, and how long it takes.
    """
    if kernel in _said:
        return
    _said.add(kernel)
    if kernel is not python_version_of(kernel) and not is_compiled(kernel):
        print(f"reach: compiling {what}{', once for this processor' if is_kept(kernel) else ''}", file=sys.stderr)


_said: set[Any] = set()


def most_threads() -> int:
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
