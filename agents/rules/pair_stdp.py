"""Pair-based spike-timing-dependent plasticity, by one trace for each axon and one for each target.

A spike that arrives before the cell fires adds A+ exp(-D / pre_trace_ms), one that arrives after it takes
A- exp(-D / post_trace_ms) away (Bi and Poo 1998; Song, Miller and Abbott 2000); the traces make each spike's work that
of one row or column (Morrison, Diesmann and Gerstner 2008, Biological Cybernetics 98:459). The terms gather in an
eligibility that decays within a second (Izhikevich 2007, Cerebral Cortex 17:2443) and waits for a third factor; without
one they change the weight at once.

The eligibility is stored as e exp(+t / eligibility_ms): its decay is one number for the whole projection, folded in
when the third factor arrives, and only spikes touch it. Traces are stored in the same way. Within a step the
presynaptic part comes before the postsynaptic, so a coincidence counts as pre before post. An axon's delay moves its
whole presynaptic part. The work itself is in `pair_kernel`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.networks.checks import SHORTEST_MS, require_choice, require_number

FIXED, ELIGIBLE, UNGATED = 0, 1, 2
# Stored eligibilities and traces are brought back to their true sizes when they have grown by e^30, far inside single
# precision; what is left of a trace that is then below 1e-20 goes, so that no product of the two falls out of it.
LARGEST_GROWTH = 30.0
FAINTEST_TRACE = 1e-20


@dataclass(frozen=True)
class PairSTDP:
    """Settings of the plasticity of one projection.

    Attributes:
        rate: weight change for a unit of modulator x eligibility, 0 or more.
        potentiation: A+, 0 or more.
        depression: A- / A+, 0 or more. Learning from a signed error needs potentiation to dominate (below 1): the
            textbook's slight excess of depression makes the mean eligibility of uncorrelated cells negative, and the
            error pushes the wrong way.
        pre_trace_ms, post_trace_ms: tau+ and tau-, ms.
        pairs: "all" counts every pair of spikes, "nearest" for each spike only the last one of the other cell.
        eligibility_ms: time constant of the eligibility, ms. None: no eligibility, pairs change the weight at once, as
            with a modulator of 1.
        modulator_ms: None where the third factor is an impulse, dw = rate m e at the moment it arrives. Otherwise it
            is a concentration that decays with this time constant, and dw/dt = rate m e; every step then touches every
            synapse, which costs some ten times more.
        bounds: "hard" clips a weight at its bounds; "soft" scales a change by the share of the range that is left in
            its direction (van Rossum, Bi and Turrigiano 2000, J. Neurosci. 20:8812) and clips what still goes beyond.
    """

    rate: float = 1.0
    potentiation: float = 1.0
    depression: float = 0.0
    pre_trace_ms: float = 20.0
    post_trace_ms: float = 20.0
    pairs: Literal["all", "nearest"] = "all"
    eligibility_ms: float | None = 500.0
    modulator_ms: float | None = None
    bounds: Literal["hard", "soft"] = "hard"

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: a setting outside what its line allows.
        """
        for name in ("rate", "potentiation", "depression"):
            require_number(self, name, 0.0)
        for name in ("pre_trace_ms", "post_trace_ms"):
            require_number(self, name, SHORTEST_MS)
        for name in ("eligibility_ms", "modulator_ms"):
            if getattr(self, name) is not None:
                require_number(self, name, SHORTEST_MS)
        if self.eligibility_ms is None and self.modulator_ms is not None:
            raise ValueError(
                f"PairSTDP modulator_ms is {self.modulator_ms!r}; only None is allowed where eligibility_ms is None"
            )
        require_choice(self, "pairs", ("all", "nearest"))
        require_choice(self, "bounds", ("hard", "soft"))

    @property
    def largest_change(self) -> float:
        """Change by one pair of spikes for a modulator of 1."""
        return max(1.0, self.rate) * self.potentiation * max(1.0, self.depression)


class Plasticity(NamedTuple):
    """The settings of all projections, for the kernels; arrays (projections,).

    Attributes:
        kind: FIXED, ELIGIBLE or UNGATED.
        rate: as in `PairSTDP`.
        potentiation, depression: A+ and A-, the latter with its sign positive.
        keep: 1 where every pair counts, 0 where a trace starts anew with each spike.
        pre_per_step, post_per_step, decay_per_step: step over pre_trace_ms, post_trace_ms and eligibility_ms; the last
            is 0 where there is no eligibility.
        modulator_decay: factor of a step, 0 for impulses.
        modulator_gain: integral over one step of the product of eligibility and modulator, each 1 at its start, ms.
        soft: 1 for soft bounds, 0 for hard ones.
    """

    kind: NDArray[np.int8]
    rate: NDArray[Any]
    potentiation: NDArray[Any]
    depression: NDArray[Any]
    keep: NDArray[Any]
    pre_per_step: NDArray[np.float64]
    post_per_step: NDArray[np.float64]
    decay_per_step: NDArray[np.float64]
    modulator_decay: NDArray[Any]
    modulator_gain: NDArray[np.float64]
    soft: NDArray[np.int8]


def plasticity_of(rules: list[PairSTDP | None], step_ms: float, dtype: Any) -> Plasticity:
    """Arrays of the settings of each projection; None is one that does not change."""
    rows = []
    for rule in rules:
        one = rule or PairSTDP()
        decay = 0.0 if one.eligibility_ms is None else 1.0 / one.eligibility_ms
        together = decay + (0.0 if one.modulator_ms is None else 1.0 / one.modulator_ms)
        rows.append(
            (
                FIXED if rule is None else UNGATED if one.eligibility_ms is None else ELIGIBLE,
                one.rate,
                one.potentiation,
                one.potentiation * one.depression,
                float(one.pairs == "all"),
                step_ms / one.pre_trace_ms,
                step_ms / one.post_trace_ms,
                step_ms * decay,
                0.0 if one.modulator_ms is None else math.exp(-step_ms / one.modulator_ms),
                0.0 if one.modulator_ms is None else -math.expm1(-step_ms * together) / together,
                int(one.bounds == "soft"),
            )
        )
    kinds: dict[str, Any] = {"kind": np.int8, "soft": np.int8, "modulator_gain": np.float64}
    kinds |= dict.fromkeys(("pre_per_step", "post_per_step", "decay_per_step"), np.float64)
    columns = zip(*rows, strict=True) if rows else [()] * len(Plasticity._fields)
    return Plasticity(
        *(np.array(c, dtype=kinds.get(n, dtype)) for n, c in zip(Plasticity._fields, columns, strict=True))
    )
