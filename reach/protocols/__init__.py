"""Protocols of the motor-learning laboratory as data, and the wrapper that runs any learner through one.

A protocol is a list of blocks: how many trials, what is perturbed, which probe follows a reach, whether learning is on.
`ProtocolWrapper` turns each `reset` into the next trial and records a row of measures for it. It works with anything
that trains on a Gymnasium environment; the learner is told nothing of the schedule.
"""

from reach.protocols.blocks import (
    BASELINE,
    BLOCK_NAMES,
    CLAMP,
    OPPOSITE,
    OTHER,
    PERTURBED,
    PROBED,
    RELEARNED,
    SCALE_SCHEDULES,
    TARGETS,
    UNSEEN,
    WASHOUT,
    Abrupt,
    Block,
    Cup,
    Flipping,
    Gradual,
    Parity,
    Protocol,
    Random,
    ScaleSchedule,
    ScheduledTrial,
    cup_at,
    schedule_of,
)
from reach.protocols.presets import PROTOCOLS, context_protocol, describe_block, protocol_table, read_protocol
from reach.protocols.wrapper import WASHOUT_ONSET_LAUNCH_ERROR, ProtocolWrapper, Recording

__all__ = [
    "BASELINE", "BLOCK_NAMES", "CLAMP", "OPPOSITE", "OTHER", "PERTURBED", "PROBED", "PROTOCOLS", "RELEARNED",
    "SCALE_SCHEDULES", "TARGETS", "UNSEEN", "WASHOUT", "WASHOUT_ONSET_LAUNCH_ERROR", "Abrupt", "Block", "Cup",
    "Flipping", "Gradual", "Parity", "Protocol", "ProtocolWrapper", "Random", "Recording", "ScaleSchedule",
    "ScheduledTrial", "context_protocol", "cup_at", "describe_block", "protocol_table", "read_protocol", "schedule_of",
]  # fmt: skip
