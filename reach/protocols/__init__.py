"""Protocols of the motor-learning laboratory as data, and the wrapper that runs any learner through one.

A protocol is a list of blocks: so many trials, what is perturbed, what probe follows each reach, whether learning is
on. `ProtocolWrapper` turns each `reset` into the next trial of the schedule and records a row of measures for it.
Whatever trains on a Gymnasium environment can be put through it; nothing of the schedule reaches the learner.
"""

from reach.protocols.blocks import (
    BASELINE,
    BLOCK_NAMES,
    CLAMP,
    OPPOSITE,
    PERTURBED,
    PROBED,
    RELEARNED,
    TARGETS,
    UNSEEN,
    WASHOUT,
    Block,
    Protocol,
    ScheduledTrial,
    cup_at,
    schedule_of,
)
from reach.protocols.presets import PROTOCOLS, protocol_table, read_protocol
from reach.protocols.schedules import SCALE_SCHEDULES, Abrupt, Flipping, Gradual, Random
from reach.protocols.wrapper import ProtocolWrapper

__all__ = [
    "BASELINE",
    "BLOCK_NAMES",
    "CLAMP",
    "OPPOSITE",
    "PERTURBED",
    "PROBED",
    "PROTOCOLS",
    "RELEARNED",
    "SCALE_SCHEDULES",
    "TARGETS",
    "UNSEEN",
    "WASHOUT",
    "Abrupt",
    "Block",
    "Flipping",
    "Gradual",
    "Protocol",
    "ProtocolWrapper",
    "Random",
    "ScheduledTrial",
    "cup_at",
    "protocol_table",
    "read_protocol",
    "schedule_of",
]
