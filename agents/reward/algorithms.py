"""Which learners from reward there are: the registry of algorithms, by the names of the learners they make."""

from __future__ import annotations

from agents.reward.learner import RewardLearner
from agents.reward.off_policy import RewardSAC, RewardTD3, RewardTQC
from agents.reward.on_policy import RewardLSTM, RewardPPO

ALGORITHMS: dict[str, type[RewardLearner]] = {
    name: algorithm
    for algorithm in (RewardPPO, RewardSAC, RewardTD3, RewardLSTM, RewardTQC)
    for name in algorithm.names()
}
