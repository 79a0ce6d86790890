"""Stable-Baselines3's loggers for all learners."""

from __future__ import annotations

import sys
from dataclasses import replace

from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.utils import configure_logger

from agents.checkpoint import COUNT, Setting

# Settings of every learner that a checkpoint does not store.
LOG_SETTINGS = {
    "verbose": replace(COUNT, also=(False, True)),
    "tensorboard_log": Setting(also=(None,), pattern=r"(?s).+"),
}


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
