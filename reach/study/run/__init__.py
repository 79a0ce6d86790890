"""One run of a learner through a protocol, and the measures of many runs.

The measures (`reach.study.run.measures`) need pandas and are not imported here: a process that only runs does without.
"""

from reach.study.run.protocol_run import (
    UNLEARNED_LAUNCH_ERROR,
    Model,
    Result,
    act_through_trial,
    made_for,
    run_measured,
    run_protocol,
    unlearned_launch_errors,
)

__all__ = [
    "UNLEARNED_LAUNCH_ERROR",
    "Model",
    "Result",
    "act_through_trial",
    "made_for",
    "run_measured",
    "run_protocol",
    "unlearned_launch_errors",
]
