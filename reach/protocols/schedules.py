"""How large a perturbation is from trial to trial of a block: at once, ramped, drawn, or to either side in turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from reach.arguments import require_number, require_whole

LARGEST_SCALE = 10.0


class ScaleSchedule(Protocol):
    """What every course answers."""

    @property
    def kind(self) -> str:
        """The name, in `SCALE_SCHEDULES`."""

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """For each of a block's trials, the size of the perturbation as a multiple of the one given."""

    def in_words(self) -> str:
        """What is said of it in a list of protocols; empty for the usual."""


def _require_scales(owner: object, *scales: float) -> None:
    for scale in scales:
        require_number(f"{type(owner).__name__} scale", scale, -LARGEST_SCALE, LARGEST_SCALE)


@dataclass(frozen=True)
class Abrupt:
    """The whole perturbation from the first trial on.

    Attributes:
        scale: -10..10; -1 is the same perturbation to the other side.
    """

    scale: float = 1.0
    kind: str = field(default="abrupt", init=False)

    def __post_init__(self) -> None:
        _require_scales(self, self.scale)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """The same for all."""
        return [float(self.scale)] * trials

    def in_words(self) -> str:
        """Its side or size, where it is not the usual one."""
        return {1.0: "", -1.0: "to the other side"}.get(float(self.scale), f"times {self.scale:g}")


@dataclass(frozen=True)
class Gradual:
    """Ramped up in equal steps, so that no one trial brings an error that is noticed (Kagerer et al. 1997).

    Attributes:
        trials: over which it grows to the whole, 1 or more; it stays so after that.
    """

    trials: int
    kind: str = field(default="gradual", init=False)

    def __post_init__(self) -> None:
        require_whole("Gradual trials", self.trials, 1)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """1/n, 2/n ... 1, 1."""
        return [min(1.0, n / self.trials) for n in range(1, trials + 1)]

    def in_words(self) -> str:
        """How long the ramp is."""
        return f"ramped over {self.trials}"


@dataclass(frozen=True)
class Random:
    """Drawn anew for each trial from the schedule's seed (Scheidt, Dingwell and Mussa-Ivaldi 2001).

    Attributes:
        choices: the scales drawn from, each equally often, 1 or more of -10..10; 0 is a trial without it.
    """

    choices: tuple[float, ...] = (-1.0, 1.0)
    kind: str = field(default="random", init=False)

    def __post_init__(self) -> None:
        given: Any = self.choices
        if not isinstance(given, list | tuple) or not given:
            raise ValueError(f"Random choices is {self.choices!r}; 1 or more scales are allowed")
        object.__setattr__(self, "choices", tuple(given))
        _require_scales(self, *self.choices)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """One draw a trial."""
        return [float(self.choices[k]) for k in rng.integers(len(self.choices), size=trials)]

    def in_words(self) -> str:
        """What is drawn from."""
        return "drawn from " + ", ".join(f"{scale:g}" for scale in self.choices)


@dataclass(frozen=True)
class Flipping:
    """To one side and to the other in turn (alternating fields of Thoroughman and Shadmehr 1999 and others).

    Attributes:
        every: trials between two flips, 1 or more.
    """

    every: int
    kind: str = field(default="flipping", init=False)

    def __post_init__(self) -> None:
        require_whole("Flipping every", self.every, 1)

    def scales(self, trials: int, rng: np.random.Generator) -> list[float]:
        """1 for `every` trials, then -1 for as many, and so on."""
        return [-1.0 if n // self.every % 2 else 1.0 for n in range(trials)]

    def in_words(self) -> str:
        """How often it flips."""
        return f"flipped every {self.every}"


SCALE_SCHEDULES: dict[str, type[Abrupt] | type[Gradual] | type[Random] | type[Flipping]] = {
    "abrupt": Abrupt,
    "gradual": Gradual,
    "random": Random,
    "flipping": Flipping,
}
