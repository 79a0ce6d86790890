"""A planar arm that reaches for a cup and grabs it, as Gymnasium environments, with the laboratory's perturbations.

Importing this package registers `reach/CupReach-v0` and `reach/CupGrab-v0`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reach.perturbations import (
    ConstantForce,
    CupJump,
    CupRemoved,
    CurlField,
    DelayChange,
    EndVision,
    ErrorClamp,
    ForceChannel,
    Gain,
    HideHand,
    Load,
    Nudge,
    Prism,
    Rotation,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)
from reach.registration import ENVIRONMENTS, OWN_PREFIX
from reach.sim.arm import Arm

if TYPE_CHECKING:
    from reach.env import twin
    from reach.notebook import show

# Names whose modules take long to import, or need what an installation may lack: imported when first asked for.
_LAZY = {
    "show": "reach.notebook",
    "twin": "reach.env",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a name of `_LAZY`, or a submodule (`reach.env.CupEnv` works after `import reach` alone)."""
        if name in _LAZY:
            globals()[name] = value = getattr(import_module(_LAZY[name]), name)
            return value
        if not name.isidentifier() or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")


__version__ = "0.1.0"
__all__ = [
    "ENVIRONMENTS",
    "OWN_PREFIX",
    "Arm",
    "ConstantForce",
    "CupJump",
    "CupRemoved",
    "CurlField",
    "DelayChange",
    "EndVision",
    "ErrorClamp",
    "ForceChannel",
    "Gain",
    "HideHand",
    "Load",
    "Nudge",
    "Prism",
    "Rotation",
    "Slip",
    "StiffnessChange",
    "ToolLength",
    "VelocityField",
    "__version__",
    "show",
    "twin",
]
