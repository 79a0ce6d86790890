"""Perturbations of the motor-learning laboratory, as frozen values that compose: a tuple of them acts together.

Each says what it changes and when. `onset_s` None means that it is there before the trial begins (goggles are put on
between trials); a number is a time in the trial.
"""

from reach.perturbations.base import (
    PERTURBATIONS,
    Perturbation,
    as_perturbations,
    can_be_scaled,
    for_each_environment,
    has_size,
    is_perturbation,
    register,
    scaled,
    write_perturbations,
)
from reach.perturbations.kinds import (
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
    VisualMap,
)

__all__ = [
    "PERTURBATIONS", "ConstantForce", "CupJump", "CupRemoved", "CurlField", "DelayChange", "EndVision", "ErrorClamp",
    "ForceChannel", "Gain", "HideHand", "Load", "Nudge", "Perturbation", "Prism", "Rotation", "Slip", "StiffnessChange",
    "ToolLength", "VelocityField", "VisualMap", "as_perturbations", "can_be_scaled", "for_each_environment", "has_size",
    "is_perturbation", "register", "scaled", "write_perturbations",
]  # fmt: skip
