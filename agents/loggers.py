"""The loggers of learners: Stable-Baselines3's, which make no folder unless TensorBoard needs one."""

from __future__ import annotations

import sys
from dataclasses import replace

from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.utils import configure_logger

from agents.checkpoint import COUNT, Setting

# What every learner takes besides its own settings; a checkpoint does not hold it.
LOG_SETTINGS = {
    "verbose": replace(COUNT, also=(False, True)),
    "tensorboard_log": Setting(also=(None,), pattern=r"(?s).+"),
}


def make_logger(verbose: int, tensorboard_log: str | None, name: str = "run", new_run: bool = True) -> Logger:
    """Return a logger as Stable-Baselines3's `configure_logger` does.

    Without TensorBoard that one makes an empty folder in the folder for temporary files; this one makes none.

    Args:
        verbose: 1 or more to write to the standard output.
        tensorboard_log: folder for TensorBoard, or None.
        name: of the run in TensorBoard.
        new_run: whether a new run begins there.
    """
    if tensorboard_log is not None:
        return configure_logger(verbose, tensorboard_log, name, new_run)
    return Logger(folder=None, output_formats=[HumanOutputFormat(sys.stdout)] if verbose else [])
