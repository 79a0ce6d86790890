"""The comparison: jobs, the engine that runs them, the store that keeps them, and the report.

A learner is known by its name and by Stable-Baselines3's model interface alone. Needs the extra `study`.
"""

from reach.study.engine import complete, missing_jobs, run_jobs, usable_cores
from reach.study.jobs import Job, plan
from reach.study.outcome import Outcome
from reach.study.shards import Shard, merge, shard_folders
from reach.study.store import FolderInUseError, Store, load
from reach.study.whole_files import DiskFullError

__all__ = [
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
