"""Comparison of learners: the jobs of a study, the engine that runs them, the store of results, and the report.

This package uses only the name of a learner and Stable-Baselines3's model interface. It needs the extra `study`.

Names are imported at first use, because workers must not load the libraries that store and summarise results, some of
which start threads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reach.files import DamagedError, DiskFullError
    from reach.study.engine.jobs import Job, Outcome, plan
    from reach.study.engine.scheduler import complete, missing_jobs, run_jobs, usable_cores
    from reach.study.engine.store import FolderInUseError, Shard, Store, load, merge, shard_folders

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
    "reach.files": ("DamagedError", "DiskFullError"),
    "reach.study.engine.jobs": ("Job", "Outcome", "plan"),
    "reach.study.engine.scheduler": ("complete", "missing_jobs", "run_jobs", "usable_cores"),
    "reach.study.engine.store": ("FolderInUseError", "Shard", "Store", "load", "merge", "shard_folders"),
}
HOME = {name: module for module, names in MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOME[name]), name)
