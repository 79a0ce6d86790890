"""Which learners from reward there are: the registry of algorithms, by the names of the learners they make."""

from __future__ import annotations

from agents.teachers.off_policy import RewardSAC, RewardTD3, RewardTQC
from agents.teachers.on_policy import RewardLSTM, RewardPPO
from agents.teachers.reward import RewardLearner

ALGORITHMS: dict[str, type[RewardLearner]] = {
    name: algorithm
    for algorithm in (RewardPPO, RewardSAC, RewardTD3, RewardLSTM, RewardTQC)
    for name in algorithm.names()
}
