"""The comparison: jobs, the engine that runs them, the store that keeps them, and the report.

A learner is known by its name and by Stable-Baselines3's model interface alone. Needs the extra `study`.
"""

from reach.study.engine import Outcome, complete, missing_jobs, run_jobs, usable_cores
from reach.study.jobs import Job, plan
from reach.study.store import FolderInUseError, Store, load

__all__ = [
    "FolderInUseError",
    "Job",
    "Outcome",
    "Store",
    "complete",
    "load",
    "missing_jobs",
    "plan",
    "run_jobs",
    "usable_cores",
]
