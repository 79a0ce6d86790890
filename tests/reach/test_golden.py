"""The trajectories of the present version, so that a change of the world is seen and comes with a new version.

`python tests/reach/test_golden.py` writes the file again.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import reach

FILE = Path(__file__).with_suffix(".npz")
STEPS = 60
CASES = {
    f"{env_id} {control} {name}": (env_id, control, perturbation)
    for env_id, control, name, perturbation in (
        ("reach/CupReach-v1", "posture", "plain", ()),
        ("reach/CupGrab-v1", "posture", "plain", ()),
        ("reach/CupReach-v1", "posture", "seen", (reach.Rotation(30.0), reach.CupJump(0.05, 0.0, 0.3))),
        ("reach/CupReach-v1", "posture", "pushed", (reach.CurlField(13.0), reach.Load(0.5))),
        ("reach/CupGrab-v1", "torque", "plain", ()),
        ("reach/CupGrab-v1", "muscle", "plain", ()),
    )
}


def trajectory(env_id: str, control: str, perturbation: tuple[reach.perturbations.Perturbation, ...]) -> np.ndarray:
    """Return the observations and rewards (STEPS, 20) of a trial with smooth random actions."""
    env = gym.make(env_id, control=control, perturbation=perturbation)
    env.reset(seed=31)
    drawn = np.random.default_rng(31).normal(size=(STEPS, 4))
    rows = []
    for action in 0.5 * np.tanh(np.cumsum(drawn, axis=0) / 4.0):
        observation, reward, *_ = env.step(action)
        rows.append([*observation, reward])
    return np.array(rows)


@pytest.mark.parametrize("case", CASES)
def test_the_world_moves_as_this_version_did_when_it_was_named(case: str) -> None:
    with np.load(FILE) as golden:
        np.testing.assert_allclose(trajectory(*CASES[case]), golden[case], rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    np.savez_compressed(FILE, **{case: trajectory(*arguments) for case, arguments in CASES.items()})
