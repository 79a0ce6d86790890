"""Schedules of size: how large a block's perturbation is in each trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from reach.arguments import require_number, require_whole

LARGEST_SCALE = 10.0


class ScaleSchedule(Protocol):
    """The interface of every schedule."""

    @property
    def kind(self) -> str:
        """Return the name in `SCALE_SCHEDULES`."""

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """Return the size of the perturbation in each of `trials` trials, as a multiple of the block's perturbation."""

    def describe(self) -> str:
        """Return a few words for a table of protocols; empty for the default schedule."""


def _require_scales(schedule: object, *scales: float) -> None:
    for scale in scales:
        require_number(f"{type(schedule).__name__} scale", scale, -LARGEST_SCALE, LARGEST_SCALE)


@dataclass(frozen=True)
class Abrupt:
    """The same size in every trial.

    Attributes:
        scale: -10..10; -1 is the opposite perturbation.
    """

    scale: float = 1.0
    kind: str = field(default="abrupt", init=False)

    def __post_init__(self) -> None:
        _require_scales(self, self.scale)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """Return `scale` for every trial."""
        return [float(self.scale)] * trials

    def describe(self) -> str:
        """Return the size if it is not 1."""
        return {1.0: "", -1.0: "opposite"}.get(float(self.scale), f"times {self.scale:g}")


@dataclass(frozen=True)
class Gradual:
    """A ramp in equal steps, so that no single error is noticed (Kagerer et al. 1997).

    Attributes:
        trials: length of the ramp, 1 or more; the perturbation keeps its full size after it.
    """

    trials: int
    kind: str = field(default="gradual", init=False)

    def __post_init__(self) -> None:
        require_whole("Gradual trials", self.trials, 1)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """Return 1/n, 2/n ... 1, 1."""
        return [min(1.0, n / self.trials) for n in range(1, trials + 1)]

    def describe(self) -> str:
        """Return the length of the ramp."""
        return f"ramped over {self.trials}"


@dataclass(frozen=True)
class Random:
    """A size drawn for each trial from the seed of the schedule (Scheidt, Dingwell and Mussa-Ivaldi 2001).

    Attributes:
        choices: scales to draw from with equal probability, 1 or more of -10..10; 0 is an unperturbed trial.
    """

    choices: tuple[float, ...] = (-1.0, 1.0)
    kind: str = field(default="random", init=False)

    def __post_init__(self) -> None:
        choices: Any = self.choices
        if not isinstance(choices, list | tuple) or not choices:
            raise ValueError(f"Random choices: expected 1 or more scales, got {choices!r}")
        object.__setattr__(self, "choices", tuple(choices))
        _require_scales(self, *self.choices)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """Return one draw for each trial."""
        return [float(self.choices[k]) for k in rng.integers(len(self.choices), size=trials)]

    def describe(self) -> str:
        """Return the choices."""
        return "drawn from " + ", ".join(f"{scale:g}" for scale in self.choices)


@dataclass(frozen=True)
class Flipping:
    """The perturbation and its opposite in turn (Thoroughman and Shadmehr 1999).

    Attributes:
        every: trials between two flips, 1 or more.
    """

    every: int
    kind: str = field(default="flipping", init=False)

    def __post_init__(self) -> None:
        require_whole("Flipping every", self.every, 1)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """Return 1 for `every` trials, then -1 for as many, and so on."""
        return [-1.0 if n // self.every % 2 else 1.0 for n in range(trials)]

    def describe(self) -> str:
        """Return how often the sign flips."""
        return f"flipped every {self.every}"


SCALE_SCHEDULES: dict[str, type[Abrupt] | type[Gradual] | type[Random] | type[Flipping]] = {
    "abrupt": Abrupt,
    "gradual": Gradual,
    "random": Random,
    "flipping": Flipping,
}
