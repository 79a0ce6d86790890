"""What a network computes and changes, counted during its run.

Names are those of NeuroBench (Yik et al. 2025, Nature Communications 16:1545) where it has them. Counted is what the
network and its rule require, not how a learner computes it: the forward pass that a step of a rate network repeats is
left out.

| name | counts |
|---|---|
| `effective_macs` | multiply-accumulates whose input is not 0, of cells with rates |
| `effective_acs` | accumulates caused by spikes |
| `dense_operations` | all connections in every pass or step, whatever their input |
| `learning_macs` | multiply-accumulates for carrying the error and computing the step |
| `eligibility_updates` | pair terms that spikes add |
| `weight_updates` | weights and biases that a step changes |
"""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Costs:
    """Counts by name, since the object was made."""

    def __init__(self) -> None:
        """Start at zero."""
        self.counts: dict[str, float] = {}

    def add(self, **counts: float) -> None:
        """Add to the counts of these names."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0.0) + float(count)


class Multiplications(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that counts the multiply-accumulates of torch's products and convolutions inside it.

    Attributes:
        count: multiply-accumulates so far.
    """

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call torch's function, and count."""
        result = func(*args, **(kwargs or {}))
        operations = flop_registry.get(func._overloadpacket)
        if operations is not None:
            # torch counts a multiplication and an addition as two.
            self.count += operations(*args, **(kwargs or {}), out_val=result) // 2
        return result
