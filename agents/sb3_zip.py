"""Stable-Baselines3 without side effects: load zip files without running their code, make loggers without a folder.

A zip file of a model contains pickles, which can run any code when they are loaded. By default only the tensors are
read (`weights_only`). The network is rebuilt from their shapes and filled by `set_parameters`, so settings that shapes
do not show, such as custom activations, are lost. With `trust`, Stable-Baselines3 loads the file including pickles.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.utils import configure_logger

from agents.checkpoint import CheckpointError, parsing, require_stored
from agents.settings import short

COMPLAINT = "is not a model of Stable-Baselines3"


def load_zip(path: str | Path, env: Any, *, trust: bool = False) -> Any:
    """Load a model of Stable-Baselines3's PPO, SAC or TD3 with an "MlpPolicy".

    Args:
        path: path of the zip file.
        env: environment with the observation and action spaces of the model.
        trust: whether to load pickles, which can run any code.

    Raises:
        CheckpointError: the file is missing or damaged, or its network cannot be rebuilt from shapes.
    """
    path = Path(path)
    with parsing(path, COMPLAINT):
        _require_plain(path)
        _, parameters, variables = load_from_zip_file(path, load_data=False, device="cpu")
        policy = _policy_of(parameters, path)
    kind: Any = PPO
    prefix = "mlp_extractor.policy_net"
    if "actor.optimizer" in parameters:
        is_soft = isinstance(variables, dict) and variables.get("log_ent_coef") is not None
        kind, prefix = (SAC, "actor.latent_pi") if is_soft else (TD3, "actor.mu")
    if trust:
        with parsing(path, COMPLAINT):
            return kind.load(path, env=env, device="cpu")
    shapes = {name: tuple(value.shape) for name, value in policy.items()}
    sizes = [math.prod(space.shape or ()) for space in (env.observation_space, env.action_space)]
    hidden = _cells(shapes, prefix, sizes[0])
    if kind is TD3:
        # The last layer of this actor is the output, not a hidden layer.
        hidden = hidden[:-1]
    if kind is PPO:
        arch = {"pi": hidden, "vf": _cells(shapes, "mlp_extractor.value_net", sizes[0])}
    else:
        arch = {"pi": hidden, "qf": _cells(shapes, "critic.qf0", sum(sizes))[:-1]}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": arch}, device="cpu")
    expected = {name: tuple(value.shape) for name, value in model.policy.state_dict().items()}
    if expected != shapes:
        raise CheckpointError(
            f"{path}: expected an MlpPolicy for this environment with shapes {short(expected)}, got {short(shapes)}. "
            "If you trust the file, load it with trust=True"
        )
    with parsing(path, COMPLAINT):
        model.set_parameters(parameters, device="cpu")
    model.set_logger(make_logger(0, None))
    return model


def _require_plain(path: Path) -> None:
    """Check that the file and the archives of tensors inside it are not compressed."""
    with ZipFile(path) as whole:
        require_stored(whole.infolist(), path.stat().st_size, path)
        for member in whole.infolist():
            if member.filename.endswith(".pth"):
                with whole.open(member) as opened, ZipFile(opened) as tensors:
                    require_stored(tensors.infolist(), member.file_size, path)


def _policy_of(parameters: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the policy after checking that they are plain and finite."""
    policy = parameters.get("policy")
    if not isinstance(policy, dict):
        raise CheckpointError(f"{path}: expected a model with a policy, got {short(sorted(parameters))}")
    for name, value in policy.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise CheckpointError(f"{path}: {short(name)}: expected a plain tensor, got {type(value).__name__}")
        # An expanded view can be larger than the file.
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            shape = tuple(value.shape)
            raise CheckpointError(f"{path}: {short(name)}: expected no more numbers than are stored, got shape {shape}")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {short(name)}: expected finite numbers, got NaN or infinity")
    return policy


def _cells(shapes: dict[str, tuple[int, ...]], prefix: str, inputs: int) -> list[int]:
    """Return the number of cells of each layer of a chain, up to one whose inputs do not match the previous layer."""
    layers = {
        int(place): shape
        for name, shape in shapes.items()
        if name.startswith(f"{prefix}.") and name.endswith(".weight") and len(shape) == 2
        if (place := name.removeprefix(f"{prefix}.").split(".")[0]).isdecimal()
    }
    sizes: list[int] = []
    for _, (cells, layer_inputs) in sorted(layers.items()):
        if cells < 1 or layer_inputs != (sizes[-1] if sizes else inputs):
            break
        sizes.append(cells)
    return sizes


def make_logger(verbose: int, tensorboard_log: str | None, name: str = "run", new_run: bool = True) -> Logger:
    """Return a logger like Stable-Baselines3's `configure_logger`, without its empty temporary folder.

    Args:
        verbose: 1 or more logs to standard output.
        tensorboard_log: folder for TensorBoard, or None.
        name: name of the run in TensorBoard.
        new_run: whether to begin a new run.
    """
    if tensorboard_log is not None:
        return configure_logger(verbose, tensorboard_log, name, new_run)
    return Logger(folder=None, output_formats=[HumanOutputFormat(sys.stdout)] if verbose else [])
