"""Print EnvPool's steps per second on Reacher-v5; run by the Python of `make peers`, which shares nothing with ours."""

import sys
import time

import envpool
import numpy as np

NUM_ENVS = 64
THREADS = 2


def main(seconds: float) -> None:
    """Step under random actions for `seconds`."""
    env = envpool.make_gymnasium("Reacher-v5", num_envs=NUM_ENVS, num_threads=THREADS, seed=0)
    env.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (50, NUM_ENVS, *env.action_space.shape))
    for action in actions:
        env.step(action)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.step(actions[steps % 50])
        steps += 1
    print(steps * NUM_ENVS / (time.perf_counter() - start))


if __name__ == "__main__":
    main(float(sys.argv[1]))
