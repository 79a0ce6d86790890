"""Perturbations from motor-learning studies, as frozen dataclasses; a tuple of them acts together in a trial.

`onset_s` is the time of the onset in the trial, s. None means that the perturbation acts from before the trial, as
prism goggles that are put on between trials do.
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
from reach.perturbations.vision import (
    EndVision,
    ErrorClamp,
    Gain,
    HideHand,
    MirrorReversal,
    Prism,
    Rotation,
    VisualMap,
)
from reach.perturbations.world import (
    ConstantForce,
    CupJump,
    CupMark,
    CupRemoved,
    CurlField,
    DelayChange,
    ForceChannel,
    Load,
    Nudge,
    PositionField,
    Slip,
    StiffnessChange,
    ToolLength,
    VelocityField,
)

__all__ = [
    "PERTURBATIONS", "ConstantForce", "CupJump", "CupMark", "CupRemoved", "CurlField", "DelayChange", "EndVision",
    "ErrorClamp", "ForceChannel", "Gain", "HideHand", "Load", "MirrorReversal", "Nudge", "Perturbation",
    "PositionField", "Prism", "Rotation", "Slip", "StiffnessChange", "ToolLength", "VelocityField", "VisualMap",
    "as_perturbations", "can_be_scaled", "for_each_environment", "has_size", "is_perturbation", "register", "scaled",
    "write_perturbations",
]  # fmt: skip
