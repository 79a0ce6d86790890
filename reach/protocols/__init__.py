"""Protocols of motor-learning studies as data, and the wrapper that runs any learner through a protocol.

A protocol is a list of blocks. A block defines the number of trials, the perturbation, the probes after reaches, and
whether learning is on. `ProtocolWrapper` makes each `reset` the next trial and records a row of measures for it. It
works with any learner that trains on a Gymnasium environment; the learner has no information about the schedule.
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
