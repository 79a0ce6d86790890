"""A planar arm that reaches for a cup and grabs it, as Gymnasium environments, with the laboratory's perturbations.

Importing this package registers `reach/CupReach-v0` and `reach/CupGrab-v0`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register

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
from reach.showing import show
from reach.sim.arm import Arm
from reach.sim.state import TRIAL_STEPS

# Ids of this project -> the task of each.
ENVIRONMENTS = {"reach/CupReach-v0": "reach", "reach/CupGrab-v0": "grab"}
# "reach:reach/CupGrab-v0" makes `gym.make` import this package first.
OWN_PREFIX = "reach:"

for _env_id, _task in ENVIRONMENTS.items():
    register(
        id=_env_id,
        entry_point="reach.env:CupEnv",
        vector_entry_point="reach.vector:CupVectorEnv",
        kwargs={"task": _task},
        max_episode_steps=TRIAL_STEPS,
        # The environment itself refuses a step or a picture before the first reset.
        order_enforce=False,
    )


def twin(env: Any) -> Any:
    """The trial of `env` (a `CupEnv`, wrapped or not) without its perturbation, as a `CupEnv`; see `CupEnv.twin`."""
    return env.unwrapped.twin()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a submodule when it is first asked for: `reach.env.CupEnv` works after `import reach` alone."""
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
