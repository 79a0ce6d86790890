"""`CupVecEnv`: the native vector environment as Stable-Baselines3 wants it.

Stable-Baselines3 refuses Gymnasium's vector environments. Its own interface resets a trial in the step that ends it and
tells of it in `infos`: the last observation, and whether the time limit ended it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import reach  # noqa: F401  (registers the environments)
from reach.arguments import require_seed, require_whole

Indices = None | int | Iterable[int]
# All ids of this project are vectorised as this one.
VECTORISED = "reach/CupGrab-v0"


class CupVecEnv(VecEnv):
    """Many trials side by side for Stable-Baselines3, compiled.

    `PPO("MlpPolicy", CupVecEnv("reach/CupGrab-v0", 64))` trains on it as on any VecEnv. `infos` of trials that are over
    hold "is_success", "terminal_observation", "TimeLimit.truncated", and "episode" with the return "r" and length "l";
    other infos are empty, which keeps a step fast.
    """

    def __init__(self, env_id: str, num_envs: int, **options: Any) -> None:
        """Make the environments.

        Args:
            env_id: a registered id of this project.
            num_envs: 1 or more.
            options: what `reach.vector.CupVectorEnv` takes.
        """
        num_envs = require_whole("num_envs", num_envs, 1)
        made: Any = gym.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", autoreset_mode="SameStep", **options
        )
        self.envs = made
        self.render_mode = made.render_mode
        self._actions: NDArray[Any] = np.zeros((num_envs, *made.single_action_space.shape))
        self._next_seed: int | None = None
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        super().__init__(num_envs, made.single_observation_space, made.single_action_space)

    def reset(self) -> Any:
        """Begin a trial in every environment, with the seeds given to `seed` and the options to `set_options`.

        Raises:
            ValueError: options that differ between environments.
        """
        if any(options != self._options[0] for options in self._options):
            raise ValueError("set_options was given other options for each environment; the same for all are allowed")
        options = self._options[0] or None
        observations, _ = self.envs.reset(seed=self._next_seed, options=options)
        self._next_seed = None
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_options()
        return observations

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed environment i with `seed + i` at the next reset; None draws a seed."""
        seed = require_seed("seed", seed)
        first = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._next_seed = first
        return [first + index for index in range(self.num_envs)]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions (num_envs, 4) of the step that `step_wait` makes."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Observations, rewards, dones (num_envs, ...) and infos of one step."""
        observations, rewards, terminated, truncated, told = self.envs.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            infos[index] = {
                "is_success": bool(told["final_info"]["is_success"][index]),
                "terminal_observation": told["final_obs"][index],
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
                "episode": {"r": float(self._returns[index]), "l": int(self._lengths[index])},
            }
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return observations, rewards.astype(np.float32), dones, infos

    def begin_trials(self, indices: Sequence[int]) -> None:
        """Begin the next trial in some environments; the trials of the others go on."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[list(indices)] = True
        self.envs.reset(options={"reset_mask": mask})
        self._returns[mask] = 0.0
        self._lengths[mask] = 0

    def close(self) -> None:
        """Let the environments go."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of each environment; "arm" differs between them, the others are of all."""
        chosen = list(self._get_indices(indices))
        if attr_name == "arm":
            return [self.envs.arms[index] for index in chosen]
        return [getattr(self.envs, attr_name)] * len(chosen)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of all environments.

        Raises:
            ValueError: only some of them were asked for.
        """
        if list(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(
                f"indices is {indices!r}; None is allowed: {attr_name} belongs to all environments together"
            )
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **options: Any) -> list[Any]:
        """Call a method of the environments, once, and give its result for each index."""
        result = getattr(self.envs, method_name)(*args, **options)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """False for each: there are no wrappers inside."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[Any]:
        """The picture of each environment."""
        return self.envs.render() or ()


def copies_of(env: gym.Env[Any, Any], seed: int, number: int) -> VecEnv:
    """So many environments like the one given.

    Those that are vectorised as this project's are, with nothing wrapped around them, are compiled side by side: each
    does as one by itself would.
    """
    spec = env.spec
    if spec is None:
        raise ValueError("env has no spec; an environment made by gym.make, its id or a VecEnv is allowed")
    ours = gym.spec(VECTORISED).vector_entry_point
    if spec.vector_entry_point == ours and not spec.additional_wrappers:
        options = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
        copies = CupVecEnv(spec.id, number, max_episode_steps=spec.max_episode_steps, **options)
        copies.seed(seed)
        return copies
    return make_vec_env(
        lambda: gym.make(spec, disable_env_checker=True),
        n_envs=number,
        seed=seed,
        monitor_kwargs={"info_keywords": ("is_success",)},
    )
