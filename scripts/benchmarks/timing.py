"""Measure several things in turn, so that a slow moment of the machine affects all alike, and compare them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

# name, value, unit, peer, ratio.
Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One thing to measure.

    Attributes:
        unit: of the value; a ratio says how much faster, so it is inverted for times ("ms").
        take: measures once.
        peers: names of the measurements to compare it with.
    """

    unit: str
    take: Callable[[], float]
    peers: tuple[str, ...] = ()


class Options(Protocol):
    """The flags of `benchmark.py`."""

    seconds: float
    rounds: int
    peers: Path | None


def run_peer(python: Path, name: str, number: float) -> Any:
    """Return what `peers.py` prints, run by the Python of the peer."""
    command = [str(python), str(Path(__file__).with_name("peers.py")), name, str(number)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def rate(act: Callable[[], int], seconds: float) -> float:
    """Return the sum of what `act` returns, per second."""
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        count += act()
    return count / (perf_counter() - start)


def measured(acts: Mapping[str, Measurement], rounds: int) -> list[Row]:
    """Return medians over rounds, a row for each name and measured peer; ratios are medians of those of each round."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    for _ in tqdm(range(rounds), desc="rounds", disable=not sys.stderr.isatty()):
        for name, measurement in acts.items():
            taken[name].append(measurement.take())
    rows: list[Row] = []
    for name, measurement in acts.items():
        values, is_time = np.array(taken[name]), measurement.unit == "ms"
        value = round(float(np.median(values)), 3 if is_time else 1)
        peers: list[str | None] = [peer for peer in measurement.peers if peer in acts]
        for peer in peers or [None]:
            faster = values / np.array(taken[peer or name])
            ratio = round(float(np.median(1.0 / faster if is_time else faster)), 2) if peer else None
            rows.append({"name": name, "value": value, "unit": measurement.unit, "peer": peer, "ratio": ratio})
    return rows
