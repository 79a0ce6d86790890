"""Command lines: parse the flags, print errors in one line, and exit cleanly on Ctrl-C.

Import this module first, so that Ctrl-C is handled during the slow imports too.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
# Width of the list of learners where nobody reads it from a terminal.
LIST_COLUMNS = 120
SCRIPT = Path(getattr(sys.modules["__main__"], "__file__", None) or "")


def run(
    main: Callable[[T], int | None],
    options: type[T],
    *,
    expected: tuple[type[Exception], ...] = (),
    interrupted: str = "Interrupted.",
) -> None:
    """Parse the flags, run `main`, and exit.

    Args:
        main: returns the exit code; 0 or None for success.
        options: dataclass of the flags.
        expected: exceptions to print without a traceback, besides those of files, values and environments.
        interrupted: message on Ctrl-C; the exit code is then 130.
    """
    import gymnasium as gym
    import tyro

    failures: tuple[type[Exception], ...] = (gym.error.Error, OSError, ValueError, *expected)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Exit by an exception, so that unfinished files are removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        takes_learners = not {"learner", "learners"}.isdisjoint(options.__annotations__)
        if sys.argv[1:] == ["--list"] and takes_learners and not hasattr(options, "list"):
            print_learners()
            sys.exit()
        sys.exit(main(tyro.cli(options)))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(interrupted, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except failures as error:
        sys.exit(f"{SCRIPT.name}: {error}")


def require_at_least(least: float, options: object, *flags: str) -> None:
    """End the process with a message on the first of the flags, fields of `options`, that is below `least`."""
    for flag in flags:
        value = getattr(options, flag)
        if value is not None and not value >= least:
            raise SystemExit(f"--{flag.replace('_', '-')}: expected {least:g} or more, got {value:g}")


def require_preset(protocol: str) -> None:
    """End the process with a message if --protocol is not the name of a preset protocol."""
    from reach.protocols import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise SystemExit(f"--protocol: expected one of {' '.join(sorted(PROTOCOLS))}, got {protocol}")


def require_learners(flag: str, names: Iterable[str]) -> None:
    """End the process with a message on the first name that is not that of a learner, or has a wrong setting."""
    from agents.registry import find

    for name in names:
        try:
            learner = find(name)
            if learner.spec.settings:
                from agents.learner import checked_settings

                checked_settings(learner)
        except ValueError as error:
            raise SystemExit(f"{flag}: {error}") from None


def print_learners() -> None:
    """Print the names of all learners, with their other names and descriptions."""
    from rich.console import Console
    from rich.table import Column, Table

    from agents.registry import aliases, learners

    table = Table(Column("learner", no_wrap=True), Column("also", no_wrap=True), "what it is")
    for name, learner in learners().items():
        others = [alias for alias, full in aliases().items() if full == name]
        table.add_row(name, ", ".join(others), learner.description)
    # A file or a pipe has no width.
    Console(width=None if sys.stdout.isatty() else LIST_COLUMNS).print(table)
    print("Error learners may end in -hidden: after training, the read-out is fixed. Settings follow a name:")
    print("  error-mlp-bp,hidden_rate=0.5,plastic=hidden")


@contextmanager
def workers(number: int) -> Iterator[ProcessPoolExecutor]:
    """Provide a pool of `number` processes, which are terminated if this process is interrupted."""
    with ProcessPoolExecutor(number, initializer=_end_by_signals) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _end_by_signals() -> None:
    """Let SIGINT and SIGTERM end a worker silently; its parent prints the message."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _interrupt_at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(128 + number)


def _begin() -> None:
    """Handle Ctrl-C during the imports that follow, and print "?" for letters that the terminal cannot show."""
    # Libraries may catch a KeyboardInterrupt while they are imported.
    signal.signal(signal.SIGINT, _interrupt_at_once)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


# Not where tests and workers import a script.
if SCRIPT.parent.resolve() == Path(__file__).parent.resolve():
    _begin()
