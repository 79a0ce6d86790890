"""Models that Stable-Baselines3 has written as a zip file, read without running any code of theirs.

Such a file holds pickles, which may do anything when they are loaded. Only its tensors are read (`weights_only`), the
network is built anew from their shapes, and `set_parameters` fills it; what shapes do not tell, such as activations
other than the algorithm's own, is lost. `trust` loads the file as Stable-Baselines3 does, with all it holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.save_util import load_from_zip_file


def load_zip(path: str | Path, env: Any, *, trust: bool = False) -> Any:
    """The model of a zip file of Stable-Baselines3's PPO, SAC or TD3 with an "MlpPolicy".

    Args:
        path: of the file.
        env: whose observations and actions the model takes.
        trust: run the code that the file may hold.

    Raises:
        ValueError: no such file, or one whose network cannot be built from its shapes.
    """
    path = Path(path)
    # Stable-Baselines3 would look for a second .zip at its end.
    if not path.is_file():
        raise ValueError(f"{path} is no model of Stable-Baselines3: there is no such file")
    try:
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
    except Exception as error:
        raise ValueError(f"{path} is no model of Stable-Baselines3: {error}") from None
    if "policy" not in parameters:
        raise ValueError(f"{path} holds {sorted(parameters)}; a model with a policy is allowed")
    kind: Any = PPO
    prefix = "mlp_extractor.policy_net"
    if "actor.optimizer" in parameters:
        kind, prefix = (
            (SAC, "actor.latent_pi") if (variables or {}).get("log_ent_coef") is not None else (TD3, "actor.mu")
        )
    if trust:
        return kind.load(path, env=env, device="cpu")
    policy: Any = parameters["policy"]
    shapes = {name: tuple(value.shape) for name, value in policy.items()}
    hidden = _cells(shapes, prefix)
    if kind is TD3:
        # The last layer of its actor is the command.
        hidden = hidden[:-1]
    arch: Any = hidden
    if kind is PPO:
        arch = {"pi": hidden, "vf": _cells(shapes, "mlp_extractor.value_net")}
    elif (critic := _cells(shapes, "critic.qf0")[:-1]) != hidden:
        arch = {"pi": hidden, "qf": critic}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": arch}, device="cpu")
    own = {name: tuple(value.shape) for name, value in model.policy.state_dict().items()}
    if own != shapes:
        raise ValueError(
            f"{path} holds a policy of {shapes}; an MlpPolicy for this environment would be {own}. Loaded with trust, "
            "the file itself says what it is"
        )
    model.set_parameters(path, device="cpu")
    return model


def _cells(shapes: dict[str, tuple[int, ...]], prefix: str) -> list[int]:
    """Cells of each layer of a chain, from the first on."""
    places = sorted(
        int(name.removeprefix(f"{prefix}.").split(".")[0])
        for name in shapes
        if name.startswith(f"{prefix}.") and name.endswith(".weight")
    )
    return [shapes[f"{prefix}.{place}.weight"][0] for place in places]
