"""A planar arm that reaches for a cup and grabs it, as Gymnasium environments, with the laboratory's perturbations.

Importing this package registers `reach/CupReach-v0` and `reach/CupGrab-v0`.
"""

from gymnasium.envs.registration import register

from reach.perturbations import CupJump, CurlField, HideHand, Prism, Rotation
from reach.sim.arm import Arm
from reach.sim.state import TRIAL_STEPS

register(
    id="reach/CupReach-v0",
    entry_point="reach.env:CupEnv",
    kwargs={"task": "reach"},
    max_episode_steps=TRIAL_STEPS,
)
register(
    id="reach/CupGrab-v0",
    entry_point="reach.env:CupEnv",
    kwargs={"task": "grab"},
    max_episode_steps=TRIAL_STEPS,
)

__version__ = "0.1.0"
__all__ = ["Arm", "CupJump", "CurlField", "HideHand", "Prism", "Rotation", "__version__"]
