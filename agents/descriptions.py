"""What a reader of a report is told about each learner, in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.checkpoint import COUNT, read_config, read_settings
from agents.error.networks import HIDDEN, NONE, full_name, is_error_learner, rule_of
from agents.learner import POSTURE, baseline_steps, baseline_trials, env_options, is_trial_learner
from agents.reward.algorithms import ALGORITHMS
from agents.reward.learner import full_name as reward_name

# Of a learner taught by its seen error, by its rule; by network and rule where the network makes a difference.
ERROR_NOTES = {
    "none": "feedback only, nothing is learned",
    "bp": "the seen error is carried back through the network by back-propagation",
    "fa": "the seen error is carried back through the network by fixed random weights",
    "dfa": "the seen error is sent to every layer directly, through fixed random weights",
    "ifa": "the seen error is sent to the first layer through fixed random weights, and its effect travels forward",
    "shallow": "the seen error reaches the read-out alone; hidden cells stay as they were drawn",
    "stdp": "spiking cells; synapses change by the timing of spikes, gated by the broadcast error",
    "hebb": "spiking cells; synapses change by the timing of spikes, whatever the error",
    "structural-stdp": "spiking cells; synapses change by the timing of spikes, gated by the broadcast error; those "
    "that stay near zero vanish, and as many form elsewhere",
    "sparse-stdp": "spiking cells with half of the sensory synapses; these change by the timing of spikes, gated by "
    "the broadcast error",
    "lstm-bp": "cells with memory; the seen error is carried back through the network and through the reach's past",
    "lstm-eprop": "cells with memory; the seen error is sent to each by fixed random weights, to meet synapses' traces",
    "memory-bp": "after training no synapse changes: cells with memory, practised by back-propagation through time on "
    "imagined perturbations, keep the seen error from reach to reach",
    "memory-shallow": "after training no synapse changes: cells with memory that stay as they were drawn keep the seen "
    "error from reach to reach, and a read-out practised on imagined perturbations tells of it",
    "lstm-shallow": "cells with memory that stay as they were drawn; the seen error reaches the read-out alone",
}
HIDDEN_NOTE = "; under the perturbation its read-out does not learn, only hidden cells do"
PIXELS_NOTE = "; it sees pixels"
CONTROL_NOTES = {POSTURE: "", "torque": "; it commands torques", "muscle": "; it commands muscles"}
SPIKING_REWARD_NOTES = {
    "reward-snn-stdp": "a spiking actor and critic without visual feedback; synapses change by the timing of spikes, "
    "gated by the reward less what was expected",
    "reward-snn-hebb": "a spiking actor without visual feedback; synapses change by the timing of spikes, whatever is "
    "earned",
}
ALGORITHM_NOTES = {
    "RewardPPO": "learns from reward alone, by PPO",
    "RewardLSTM": "cells with memory; learns from reward alone, by PPO and back-propagation through time",
    "RewardSAC": "learns from reward alone, by SAC",
    "RewardTD3": "learns from reward alone, by TD3",
    "RewardTQC": "learns from sparse reward alone, by TQC with hindsight",
}


def note_on(learner: str, trained: Sequence[Path] = (), control: str = POSTURE) -> str:
    """What a reader is told about a learner and of its training; nothing of one that is not ours.

    Args:
        learner: its name.
        trained: its checkpoint folders after training, one a seed, by which trials are counted of one that is given a
            number of control steps.
        control: what its joints are commanded by: "posture", "torque" or "muscle".
    """
    note = _how_it_learns(learner)
    if not note:
        return ""
    note += CONTROL_NOTES[control]
    if learner == NONE:
        return note
    if is_trial_learner(learner):
        return f"{note}; trained in {baseline_trials(learner):,} unperturbed trials"
    note = f"{note}; trained in {baseline_steps(learner):,} unperturbed control steps"
    if not trained:
        return note
    trials = [read_settings(read_config(folder), {"trials": COUNT}, folder)["trials"] for folder in trained]
    least, most = (f"{number:,}" for number in (min(trials), max(trials)))
    return f"{note}, which were {least} trials" if least == most else f"{note}, which were {least} to {most} trials"


def _how_it_learns(learner: str) -> str:
    if is_error_learner(learner):
        pair = full_name(learner).removesuffix(HIDDEN).removeprefix("error-")
        note = ERROR_NOTES.get(pair) or ERROR_NOTES.get(rule_of(learner), "learns from its seen error")
        sight = PIXELS_NOTE if env_options(learner).get("observation") == "retina" else ""
        return note + sight + (HIDDEN_NOTE if learner.endswith(HIDDEN) else "")
    if learner in SPIKING_REWARD_NOTES:
        return SPIKING_REWARD_NOTES[learner]
    algorithm = ALGORITHMS.get(reward_name(learner))
    return "" if algorithm is None else ALGORITHM_NOTES.get(algorithm.__name__, "learns from reward alone")
