"""Models that Stable-Baselines3 has written as a zip file, read without running any code of theirs.

Such a file holds pickles, which may do anything when they are loaded. Only its tensors are read (`weights_only`), the
network is built anew from their shapes, and `set_parameters` fills it; what shapes do not tell, such as activations
other than the algorithm's own, is lost. `trust` loads the file as Stable-Baselines3 does, with all it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.save_util import load_from_zip_file

from agents.checkpoint import CheckpointError, in_brief, require_stored, short
from agents.loggers import make_logger


def load_zip(path: str | Path, env: Any, *, trust: bool = False) -> Any:
    """The model of a zip file of Stable-Baselines3's PPO, SAC or TD3 with an "MlpPolicy".

    Args:
        path: of the file.
        env: whose observations and actions the model takes.
        trust: run the code that the file may hold.

    Raises:
        CheckpointError: no such file, a damaged one, or one whose network cannot be built from its shapes.
    """
    path = Path(path)
    # Stable-Baselines3 would look for a second .zip at its end.
    if not path.is_file():
        raise CheckpointError(f"{path} is no model of Stable-Baselines3: there is no such file")
    with _reading(path):
        _require_plain(path)
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
        policy = _policy_of(parameters, path)
    kind: Any = PPO
    prefix = "mlp_extractor.policy_net"
    if "actor.optimizer" in parameters:
        is_soft = isinstance(variables, dict) and variables.get("log_ent_coef") is not None
        kind, prefix = (SAC, "actor.latent_pi") if is_soft else (TD3, "actor.mu")
    if trust:
        with _reading(path):
            return kind.load(path, env=env, device="cpu")
    shapes = {name: tuple(value.shape) for name, value in policy.items()}
    sizes = [math.prod(space.shape or ()) for space in (env.observation_space, env.action_space)]
    hidden = _cells(shapes, prefix, sizes[0])
    if kind is TD3:
        # The last layer of its actor is the command.
        hidden = hidden[:-1]
    arch: Any = hidden
    if kind is PPO:
        arch = {"pi": hidden, "vf": _cells(shapes, "mlp_extractor.value_net", sizes[0])}
    elif (critic := _cells(shapes, "critic.qf0", sum(sizes))[:-1]) != hidden:
        arch = {"pi": hidden, "qf": critic}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": arch}, device="cpu")
    own = {name: tuple(value.shape) for name, value in model.policy.state_dict().items()}
    if own != shapes:
        raise CheckpointError(
            f"{path} holds a policy of {short(shapes)}; an MlpPolicy for this environment would be {short(own)}. "
            "Loaded with trust, the file itself says what it is"
        )
    with _reading(path):
        model.set_parameters(parameters, device="cpu")
    model.set_logger(make_logger(0, None))
    return model


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise whatever Stable-Baselines3 and torch raise on a damaged file as a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} is no model of Stable-Baselines3: {in_brief(error)}") from error


def _require_plain(path: Path) -> None:
    """Refuse a file that holds more than its own size, in itself or in the archives of tensors within it."""
    with ZipFile(path) as whole:
        require_stored(whole.infolist(), path.stat().st_size, path)
        for member in whole.infolist():
            if member.filename.endswith(".pth"):
                with whole.open(member) as opened, ZipFile(opened) as tensors:
                    require_stored(tensors.infolist(), member.file_size, path)


def _policy_of(parameters: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of the policy, all of them plain and finite."""
    policy = parameters.get("policy")
    if not isinstance(policy, dict):
        raise CheckpointError(f"{path} holds {short(sorted(parameters))}; a model with a policy is expected")
    for name, value in policy.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise CheckpointError(f"{path} holds {short(name)} in its policy, which is no plain tensor")
        # A view that repeats its numbers may look larger than the file.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{path} holds {short(name)} of {tuple(value.shape)}, more numbers than are stored")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path} holds NaN or infinity in {short(name)}; finite numbers are expected")
    return policy


def _cells(shapes: dict[str, tuple[int, ...]], prefix: str, inputs: int) -> list[int]:
    """Cells of each layer of a chain, from the first on, up to one that does not take what the one before gives."""
    layers = {
        int(place): shape
        for name, shape in shapes.items()
        if name.startswith(f"{prefix}.") and name.endswith(".weight") and len(shape) == 2
        if (place := name.removeprefix(f"{prefix}.").split(".")[0]).isdecimal()
    }
    found: list[int] = []
    for _, (cells, heard) in sorted(layers.items()):
        if cells < 1 or heard != (found[-1] if found else inputs):
            break
        found.append(cells)
    return found
