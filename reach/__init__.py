"""Gymnasium environments of a planar arm that reaches for a cup, with perturbations from motor-learning studies.

Importing this package registers `reach/CupReach-v1` and `reach/CupGrab-v1`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reach.perturbations import (
    ConstantForce,
    CupJump,
    CupMark,
    CupRemoved,
    CurlField,
    DelayChange,
    EndVision,
    ErrorClamp,
    ForceChannel,
    Gain,
    HideHand,
    Load,
    MirrorReversal,
    Nudge,
    PositionField,
    Prism,
    Rotation,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)
from reach.registration import ENVIRONMENTS, OWN_PREFIX
from reach.sim.arm import Arm
from reach.sim.layout import (
    ACTION_SIZE,
    COMMANDS,
    CONTROL_STEP_S,
    CONTROLS,
    START_AXIS_DEGREES,
    START_HAND_M,
    TRIAL_STEPS,
)

if TYPE_CHECKING:
    from reach.env import twin
    from reach.notebook import show
    from reach.sim.actuators import CommandMap, command_for_control, joint_command
    from reach.sim.retina import (
        CUP_RGB,
        HAND_RGB,
        LARGEST_RETINA_PX,
        LUMINANCE,
        MOST_LAMPS,
        SMALLEST_RETINA_PX,
        TABLE_RGB,
        hand_centre_m,
        pixel_places_m,
        rows_without_lamps,
    )
    from reach.sim.setup import Cup, Senses
    from reach.sim.tasks import GOAL_READY, GOAL_TIP_PENALTY

# Names that are imported at first use, because their modules load a compiler or parts of the study.
_LAZY = {
    "twin": "reach.env", "show": "reach.notebook",
    **dict.fromkeys(("CommandMap", "command_for_control", "joint_command"), "reach.sim.actuators"),
    "Cup": "reach.sim.setup", "Senses": "reach.sim.setup",
    "MOST_LAMPS": "reach.sim.retina", "GOAL_READY": "reach.sim.tasks", "GOAL_TIP_PENALTY": "reach.sim.tasks",
    **dict.fromkeys(("CUP_RGB", "HAND_RGB", "LUMINANCE", "TABLE_RGB", "LARGEST_RETINA_PX"), "reach.sim.retina"),
    **dict.fromkeys(("SMALLEST_RETINA_PX", "hand_centre_m", "pixel_places_m"), "reach.sim.retina"),
    "rows_without_lamps": "reach.sim.retina",
}  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a name of `_LAZY`, or a submodule: `reach.env.CupEnv` works after `import reach` alone."""
        if name in _LAZY:
            globals()[name] = value = getattr(import_module(_LAZY[name]), name)
            return value
        if not name.isidentifier() or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")


__version__ = "0.1.0"
__all__ = [
    "ACTION_SIZE", "COMMANDS", "CONTROLS", "CONTROL_STEP_S", "CUP_RGB", "ENVIRONMENTS", "GOAL_READY",
    "GOAL_TIP_PENALTY", "HAND_RGB", "LARGEST_RETINA_PX", "LUMINANCE", "MOST_LAMPS", "OWN_PREFIX", "SMALLEST_RETINA_PX",
    "START_AXIS_DEGREES", "START_HAND_M", "TABLE_RGB", "TRIAL_STEPS", "Arm", "CommandMap", "ConstantForce", "Cup",
    "CupJump", "CupMark", "CupRemoved", "CurlField", "DelayChange", "EndVision", "ErrorClamp", "ForceChannel", "Gain",
    "HideHand", "Load", "MirrorReversal", "Nudge", "PositionField", "Prism", "Rotation", "Senses", "Slip",
    "StiffnessChange", "ToolLength", "VelocityField", "__version__", "command_for_control", "hand_centre_m",
    "joint_command", "pixel_places_m", "rows_without_lamps", "show", "twin",
]  # fmt: skip
