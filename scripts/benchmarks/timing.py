"""Measurements taken in turn, so that a slow moment of the machine strikes all alike, and their ratios."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

# name, value, unit, peer, ratio.
Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One thing to measure.

    Attributes:
        unit: of the value; ratios are taken of rates, and the other way round of times ("ms").
        take: measures once.
        peers: names of those to compare it with.
    """

    unit: str
    take: Callable[[], float]
    peers: tuple[str, ...] = ()


def rate(act: Callable[[], int], seconds: float) -> float:
    """What `act` counts, a second."""
    count, start = 0, perf_counter()
    while perf_counter() - start < seconds:
        count += act()
    return count / (perf_counter() - start)


def measured(acts: Mapping[str, Measurement], rounds: int) -> list[Row]:
    """Medians over rounds, a row for each name and peer that was measured; ratios are medians of ratios of a round."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    for _ in tqdm(range(rounds), desc="rounds", disable=not sys.stderr.isatty()):
        for name, one in acts.items():
            taken[name].append(one.take())
    rows: list[Row] = []
    for name, one in acts.items():
        values = np.array(taken[name])
        for peer in [other for other in one.peers if other in acts] or [None]:
            ratio = None
            if peer is not None:
                faster = np.array(taken[peer]) / values if one.unit == "ms" else values / np.array(taken[peer])
                ratio = round(float(np.median(faster)), 2)
            value = round(float(np.median(values)), 3 if one.unit == "ms" else 1)
            rows.append({"name": name, "value": value, "unit": one.unit, "peer": peer, "ratio": ratio})
    return rows
