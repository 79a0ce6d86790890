"""The comparison: jobs, the engine that runs them, the store that keeps them, and the report.

A learner is known by its name and by Stable-Baselines3's model interface alone. Needs the extra `study`.

A name is imported when it is asked for: a worker needs none of the libraries that keep and sum up results, some of
which hold threads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reach.study.engine import complete, missing_jobs, run_jobs, usable_cores
    from reach.study.jobs import Job, plan
    from reach.study.outcome import Outcome
    from reach.study.shards import Shard, merge, shard_folders
    from reach.study.store import FolderInUseError, Store, load
    from reach.study.whole_files import DamagedError, DiskFullError

__all__ = [
    "DamagedError",
    "DiskFullError",
    "FolderInUseError",
    "Job",
    "Outcome",
    "Shard",
    "Store",
    "complete",
    "load",
    "merge",
    "missing_jobs",
    "plan",
    "run_jobs",
    "shard_folders",
    "usable_cores",
]
MODULES = {
    "engine": ("complete", "missing_jobs", "run_jobs", "usable_cores"),
    "jobs": ("Job", "plan"),
    "outcome": ("Outcome",),
    "shards": ("Shard", "merge", "shard_folders"),
    "store": ("FolderInUseError", "Store", "load"),
    "whole_files": ("DamagedError", "DiskFullError"),
}
HOME = {name: module for module, names in MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOME[name]}"), name)
