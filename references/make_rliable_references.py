"""Stratified interquartile means, profiles and probabilities of improvement as rliable 1.2.0 computes them.

    python references/make_rliable_references.py FILE          compare with a stored file; fails where they differ
    python references/make_rliable_references.py --write FILE  store anew

It draws scores of two learners in three tasks and keeps them with what rliable makes of them; the tests compare ours.
rliable cannot be imported beside pandas 3, so it has an environment of its own (`make references`). It ignores the seed
it is given, so two runs differ by what its draws differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rliable import library, metrics

RUNS, TASKS, REPEATS = 10, 3, 50_000
THRESHOLDS = (0.2, 0.4, 0.6, 0.8, 1.0)
DIGITS = 5
TOLERANCE = 0.01  # of intervals that are some tenths wide


def references() -> dict[str, Any]:
    rng = np.random.default_rng(20260101)
    tasks = np.linspace(0.3, 0.7, TASKS)
    scores = {
        "slow": np.round(tasks + 0.2 * rng.standard_normal((RUNS, TASKS)) + 0.1, DIGITS),
        "fast": np.round(tasks + 0.2 * rng.standard_exponential((RUNS, TASKS)) - 0.1, DIGITS),
    }
    means, intervals = library.get_interval_estimates(
        scores, lambda one: np.array([metrics.aggregate_iqm(one)]), reps=REPEATS
    )
    pair = {"fast,slow": (scores["slow"], scores["fast"])}  # P(slow > fast): fast is the lower
    improvement, _ = library.get_interval_estimates(pair, metrics.probability_of_improvement, reps=100)
    profiles, bands = library.create_performance_profile(scores, np.array(THRESHOLDS), reps=REPEATS)
    return {
        "scores": {name: one.T.tolist() for name, one in scores.items()},
        "iqm": {name: [float(means[name][0]), *map(float, intervals[name][:, 0])] for name in scores},
        "improvement": float(improvement["fast,slow"]),
        "thresholds": list(THRESHOLDS),
        "profiles": {name: [profiles[name].tolist(), *bands[name].tolist()] for name in scores},
    }


def numbers(value: Any) -> list[float]:
    """All numbers of nested lists and mappings, in order."""
    if isinstance(value, dict):
        return [one for item in value.values() for one in numbers(item)]
    return [one for item in value for one in numbers(item)] if isinstance(value, list) else [float(value)]


def main(arguments: list[str]) -> int:
    file, found = Path(arguments[-1]), references()
    if arguments[0] == "--write":
        file.write_text(json.dumps(found) + "\n")
        return 0
    stored = json.loads(file.read_text())
    apart = float(np.max(np.abs(np.subtract(numbers(found), numbers(stored)))))
    print(f"{file}: differs by {apart:.1e} at most; {TOLERANCE} is allowed")
    return int(apart > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
