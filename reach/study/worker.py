"""The process that does one job: started by the engine and by nothing else.

It reads the job as one line of JSON from its standard input and answers in lines of JSON on its standard
output: {"progress": 0..1} any number of times, then {"rows": [...], "traces": [...], "cost": {...},
"films": {phase: base64}} or {"error": traceback}, with "cpu_seconds". Whatever the learner prints goes to standard
error. The standard input stays open as long as the parent lives; when it closes, the worker ends at once, so that a
killed parent leaves none behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from typing import Any, TextIO

from reach.study.jobs import Job
from reach.study.outcome import answer, cpu_seconds, plain

ORPHANED = 3  # exit status when the parent is gone
PROGRESS_EVERY_S = 0.2


def leave_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def read_line() -> str:
    """The first line of standard input, unbuffered, so that the rest is left to the watchdog."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            os._exit(ORPHANED)
        line += piece
    return line.decode()


def main() -> None:
    answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    job = Job.from_json(read_line())
    threading.Thread(target=leave_with_parent, daemon=True).start()
    said = time.monotonic()

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, default=plain) + "\n")
        answers.flush()

    def on_progress(done: float) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_EVERY_S:
            said = time.monotonic()
            say({"progress": float(done)})

    try:
        from reach.study.perform import perform

        told = answer(perform(job, on_progress))
        say({**told, "cpu_seconds": cpu_seconds()})
    except Exception:
        say({"error": traceback.format_exc(), "cpu_seconds": cpu_seconds()})


if __name__ == "__main__":
    main()
