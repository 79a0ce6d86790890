"""What all scripts do around their work: read flags, say in a line what went wrong, and end quietly when interrupted.

Import it before anything slow: an interruption is then answered in a line from the first import on.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SCRIPT = Path(getattr(sys.modules["__main__"], "__file__", None) or "")


def run(
    main: Callable[[T], int | None],
    options: type[T],
    *,
    expected: tuple[type[Exception], ...] = (),
    interrupted: str = "Interrupted.",
) -> None:
    """Read the flags and do the work, then end the process.

    Args:
        main: does the work; returns the exit code, 0 or None for success.
        options: the dataclass of the flags.
        expected: errors whose message is all that a user needs, besides those of files, values and environments.
        interrupted: what is said on Ctrl-C; the exit code is then 130.
    """
    import gymnasium as gym
    import tyro

    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Ends by an exception, so that unfinished files are removed.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(main(tyro.cli(options)))
    except KeyboardInterrupt:
        _interrupt(interrupted)
    except (gym.error.Error, OSError, ValueError, *expected) as error:
        sys.exit(f"{SCRIPT.name}: {error}")


@contextmanager
def workers(number: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of `number` processes, which end at once if this process is interrupted."""
    with ProcessPoolExecutor(number, initializer=_end_by_signals) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _end_by_signals() -> None:
    """Let SIGINT and SIGTERM end a worker silently: its parent says what is to be said."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _interrupt(said: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(said, file=sys.stderr)
    sys.exit(128 + signal.SIGINT)


def _interrupt_at_once(number: int, frame: FrameType | None) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(128 + number)


def _begin() -> None:
    """Answer interruptions during the imports that follow, and write what the terminal cannot show as "?"."""
    # Libraries may catch a KeyboardInterrupt while they are imported.
    signal.signal(signal.SIGINT, _interrupt_at_once)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


# Tests and workers import scripts too.
if SCRIPT.parent.resolve() == Path(__file__).parent.resolve():
    _begin()
