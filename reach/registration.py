"""Registration of this project's environments with Gymnasium."""

from __future__ import annotations

from gymnasium.envs.registration import register

from reach.sim.layout import TRIAL_STEPS

# Task of each environment, by id.
ENVIRONMENTS = {"reach/CupReach-v1": "reach", "reach/CupGrab-v1": "grab"}
# Mean dense return at which about 95 % of the trials succeed, by task.
REWARD_THRESHOLDS = {"reach": 12.4, "grab": 20.0}
# Prefix of an id, as in "reach:reach/CupGrab-v1", with which `gym.make` imports this package first.
OWN_PREFIX = "reach:"

for _env_id, _task in ENVIRONMENTS.items():
    register(
        id=_env_id,
        entry_point="reach.env:CupEnv",
        vector_entry_point="reach.vector:CupVectorEnv",
        kwargs={"task": _task},
        max_episode_steps=TRIAL_STEPS,
        reward_threshold=REWARD_THRESHOLDS[_task],
        # The environment itself raises an error for a step or a picture before the first reset.
        order_enforce=False,
    )
