"""The environments of this project, as Gymnasium registers them."""

from __future__ import annotations

from gymnasium.envs.registration import register

from reach.sim.layout import TRIAL_STEPS

# Ids of this project -> the task of each.
ENVIRONMENTS = {"reach/CupReach-v1": "reach", "reach/CupGrab-v1": "grab"}
# The mean dense return at which about 95 % of the trials succeed.
REWARD_THRESHOLDS = {"reach": 12.4, "grab": 20.0}
# "reach:reach/CupGrab-v1" makes `gym.make` import this package first.
OWN_PREFIX = "reach:"

for _env_id, _task in ENVIRONMENTS.items():
    register(
        id=_env_id,
        entry_point="reach.env:CupEnv",
        vector_entry_point="reach.vector:CupVectorEnv",
        kwargs={"task": _task},
        max_episode_steps=TRIAL_STEPS,
        reward_threshold=REWARD_THRESHOLDS[_task],
        # The environment itself refuses a step or a picture before the first reset.
        order_enforce=False,
    )
