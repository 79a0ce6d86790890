"""A policy that acts by the average of the weights it had of late.

An actor that learns from its critic wanders about what is best; the average of where it has been is nearer to it
(Polyak and Juditsky 1992).
"""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib.tqc.policies import MultiInputPolicy

# Share of the latest weights in the average, an update.
LATEST_SHARE = 0.002


class AveragedTQCPolicy(MultiInputPolicy):
    """TQC's policy for dictionaries; without exploration it acts by an average of its actor's weights.

    Attributes:
        averaged_actor: the actor with the averaged weights, which are kept with the policy's own.
    """

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.averaged_actor = self.make_actor()
        self.averaged_actor.requires_grad_(False)
        self.begin_average()

    def begin_average(self) -> None:
        """Let the average be of the weights as they are."""
        self.averaged_actor.load_state_dict(self.actor.state_dict())

    @torch.no_grad()
    def average(self, updates: int) -> None:
        """Take up the weights that the actor has after so many updates more."""
        share = 1.0 - (1.0 - LATEST_SHARE) ** updates
        for average, latest in zip(self.averaged_actor.parameters(), self.actor.parameters(), strict=True):
            average.lerp_(latest, share)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        actor = self.averaged_actor if deterministic else self.actor
        commands: torch.Tensor = actor(observation, deterministic)
        return commands
