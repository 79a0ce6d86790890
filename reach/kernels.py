"""The world's kernels that compiled code of learners may call.

Import them from this module, not lazily from `reach`, because the cache of compiled code follows the imports of a
module.
"""

from reach.sim.actuators import write_action
from reach.sim.elementary import exponential, fma, hyperbolic_tangent
from reach.sim.loop import advance_and_judge
from reach.sim.truth import is_over

__all__ = ["advance_and_judge", "exponential", "fma", "hyperbolic_tangent", "is_over", "write_action"]
