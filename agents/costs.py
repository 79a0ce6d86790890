"""What a network computes and changes, counted as it goes.

Names are those of NeuroBench (Yik et al. 2025, Nature Communications 16:1545) where it has them. A learner's own choice
of how to compute does not count, what its network and rule ask for does: the forward pass that a step of a rate network
repeats is left out.

| name | counts |
|---|---|
| `effective_macs` | multiply-accumulates whose input is not 0, of cells with rates |
| `effective_acs` | accumulates that spikes bring about |
| `dense_operations` | all connections in every pass or step, whatever they carry |
| `learning_macs` | multiply-accumulates by which a rule carries the error and forms its step |
| `eligibility_updates` | pair terms that spikes add |
| `weight_updates` | numbers, weights and biases, that a step changes |
"""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Costs:
    """Counts since it was made, by name."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.counts: dict[str, float] = {}

    def add(self, **counts: float) -> None:
        """Add to the counts of these names."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0.0) + float(count)


class Multiplications(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-accumulates of torch's products and convolutions while it is entered.

    Attributes:
        count: so far.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as torch does, and count."""
        done = func(*args, **(kwargs or {}))
        operations = flop_registry.get(func._overloadpacket)
        if operations is not None:
            # torch counts a multiplication and an addition as two.
            self.count += operations(*args, **(kwargs or {}), out_val=done) // 2
        return done
