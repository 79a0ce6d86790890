"""The process that does one job: `python -m reach.study.worker`, started by the engine and by nothing else.

It reads the job as one line of JSON from its standard input and answers in lines of JSON on its standard
output: {"progress": 0..1} any number of times, then {"rows": [...], "films": {phase: base64}} or
{"error": traceback}. Whatever the learner prints goes to standard error. The standard input stays open as
long as the parent lives; when it closes, the worker ends at once, so that a killed parent leaves none behind.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
import traceback
from typing import Any, TextIO

from reach.study.jobs import Job

ORPHANED = 3  # exit status when the parent is gone
PROGRESS_EVERY_S = 0.2


def leave_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def plain(value: Any) -> Any:
    """A NumPy number as a Python one, for JSON."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a trial row may hold numbers, text and truth values; got {value!r}")


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

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, default=plain) + "\n")
        answers.flush()

    def on_progress(done: float) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_EVERY_S:
            said = time.monotonic()
            answer({"progress": float(done)})

    try:
        from reach.study.run import perform

        result = perform(job, on_progress)
        films = {phase: base64.b64encode(data).decode() for phase, data in result.films.items()}
        answer({"rows": result.rows, "films": films})
    except Exception:
        answer({"error": traceback.format_exc()})


if __name__ == "__main__":
    main()
