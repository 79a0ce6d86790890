"""One run of a learner through a protocol, and the measures of many runs.

The measures (`reach.study.run.measures`) need pandas and are not imported here: a process that only runs does without.
"""

from reach.study.run.protocol_run import (
    LAUNCH_ERROR_WITHOUT_LEARNING,
    Model,
    Result,
    act_through_trial,
    env_of,
    launch_errors_without_learning,
    run_measured,
    run_protocol,
)

__all__ = [
    "LAUNCH_ERROR_WITHOUT_LEARNING",
    "Model",
    "Result",
    "act_through_trial",
    "env_of",
    "launch_errors_without_learning",
    "run_measured",
    "run_protocol",
]
