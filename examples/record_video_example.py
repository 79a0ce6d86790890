"""Films of single trials by Gymnasium's `RecordVideo`, which needs the package moviepy.

moviepy needs pillow below 12. With a newer pillow, use `python scripts/watch.py --video FILE`.

    python examples/record_video_example.py --out videos
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import tyro
from gymnasium.wrappers import RecordVideo


def main(out: Path = Path("videos"), env: str = "reach:reach/CupGrab-v1", episodes: int = 2, seed: int = 0) -> None:
    """Film random actions, and print a summary.

    Args:
        out: folder of the films.
        env: id of an environment; "module:id" imports the module first.
        episodes: trials to film, each into a file of its own.
        seed: of the environment and of the actions.
    """
    world = RecordVideo(gym.make(env, render_mode="rgb_array"), str(out), episode_trigger=lambda episode: True)
    world.action_space.seed(seed)
    for episode in range(episodes):
        world.reset(seed=seed + episode)
        over, steps = False, 0
        while not over:
            _, _, terminated, truncated, _ = world.step(world.action_space.sample())
            over = terminated or truncated
            steps += 1
        print(f"{steps} steps of {env} filmed at {world.frames_per_sec} pictures a second")
    world.close()


if __name__ == "__main__":
    tyro.cli(main)
