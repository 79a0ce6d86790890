"""Time another library: `python scripts/benchmarks/peers.py snnTorch 3`, a peer and its number.

Run by the Pythons of `make peers` and `make peers-learners`, which share nothing with ours. Prints one line of JSON.

EnvPool: steps per second of Reacher-v5; the number is that of seconds. All others are spiking networks that learn, and
the number is that of rounds: wall and processor time, ms, of each round, mean rates of hidden and output cells in the
last, and whether the weights are finite. The network is that of `learners.py`: Poisson sources, current-based LIF cells
held at a bias just below their threshold, reward-modulated STDP in both layers, run in closed loop.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

NUM_ENVS, THREADS = 64, 2
CALLS, CALL_MS = 50, 20
INPUTS, HIDDEN, OUTPUTS, INPUT_HZ = 100, 500, 40, 20.0
INPUT_WEIGHT_SD, OUTPUT_WEIGHT_SD, LARGEST_WEIGHT = 0.4, 0.1, 4.0
BIAS, MEMBRANE_MS, SYNAPSE_MS = 0.85, 20.0, 5.0
TRACE_MS, ELIGIBILITY_MS, DEPRESSION, RATE = 20.0, 500.0, 0.3, 1e-4
LEAK, SYNAPSE_DECAY = math.exp(-1.0 / MEMBRANE_MS), math.exp(-1.0 / SYNAPSE_MS)
# Voltage that the drive of a spike leaves after a millisecond, and the drive that holds the voltage at the bias.
RATE_DIFFERENCE = 1.0 / MEMBRANE_MS - 1.0 / SYNAPSE_MS
COUPLING = LEAK / MEMBRANE_MS * math.expm1(RATE_DIFFERENCE) / RATE_DIFFERENCE
STEADY = (1.0 - LEAK) * (1.0 - SYNAPSE_DECAY) * BIAS
# Wall and processor time, ms; numbers of spikes of hidden and output cells; whether the weights are finite.
Second = tuple[tuple[float, float], float, float, bool]


class Watch:
    """A stopwatch for wall and processor time, ms."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Return both since it was made."""
        wall, processor = self._start
        return 1000.0 * (time.perf_counter() - wall), 1000.0 * (time.process_time() - processor)


def weights() -> tuple[np.ndarray, np.ndarray]:
    """Return initial weights (inputs, hidden) and (hidden, outputs)."""
    rng = np.random.default_rng(0)
    sizes = ((INPUT_WEIGHT_SD, (INPUTS, HIDDEN)), (OUTPUT_WEIGHT_SD, (HIDDEN, OUTPUTS)))
    to_hidden, to_output = (rng.normal(0.0, sd, shape) for sd, shape in sizes)
    return to_hidden, to_output


def rewards() -> np.ndarray:
    """Return a reward for each call."""
    return np.random.default_rng(1).normal(size=CALLS)


def envpool(seconds: float) -> float:
    """Return EnvPool's steps per second on Reacher-v5 under random actions."""
    import envpool

    env = envpool.make_gymnasium("Reacher-v5", num_envs=NUM_ENVS, num_threads=THREADS, seed=0)
    env.reset()
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (50, NUM_ENVS, *env.action_space.shape))
    for action in actions:
        env.step(action)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.step(actions[steps % 50])
        steps += 1
    return steps * NUM_ENVS / (time.perf_counter() - start)


def bindsnet() -> Second:
    """Run BindsNET's MSTDPET, which gets the reward of a call in each of its steps."""
    from importlib import import_module, util

    # Its top level imports data sets and plots that are not needed here.
    if "bindsnet" not in sys.modules and (spec := util.find_spec("bindsnet")):
        sys.modules["bindsnet"] = util.module_from_spec(spec)
    # First, because its parts import each other in a circle.
    import_module("bindsnet.network")
    import torch
    from bindsnet.learning import MSTDPET
    from bindsnet.network import Network
    from bindsnet.network.monitors import Monitor
    from bindsnet.network.nodes import CurrentLIFNodes, Input
    from bindsnet.network.topology import Connection

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Network(dt=1.0)
    # The rule keeps traces of its own; those of the layers would only cost time.
    network.add_layer(Input(n=INPUTS), name="input")
    for name, size in (("hidden", HIDDEN), ("output", OUTPUTS)):
        cells = CurrentLIFNodes(
            n=size, thresh=1.0, rest=0.0, reset=0.0, refrac=2,
            tc_decay=MEMBRANE_MS, tc_i_decay=SYNAPSE_MS,
        )  # fmt: skip
        network.add_layer(cells, name=name)
    for (before, after), weight in zip((("input", "hidden"), ("hidden", "output")), weights(), strict=True):
        connection = Connection(
            source=network.layers[before], target=network.layers[after],
            w=torch.tensor(COUPLING * weight, dtype=torch.float32),
            b=torch.full((weight.shape[1],), STEADY),
            wmin=-COUPLING * LARGEST_WEIGHT, wmax=COUPLING * LARGEST_WEIGHT, update_rule=MSTDPET,
            nu=(COUPLING * RATE / CALL_MS, COUPLING * RATE / CALL_MS),
            tc_plus=TRACE_MS, tc_minus=TRACE_MS, tc_e_trace=ELIGIBILITY_MS,
        )  # fmt: skip
        network.add_connection(connection, source=before, target=after)
    monitors = {name: Monitor(network.layers[name], ["s"], time=CALL_MS) for name in ("hidden", "output")}
    for name, monitor in monitors.items():
        network.add_monitor(monitor, name=name)
    spikes = {"hidden": 0.0, "output": 0.0}
    watch = Watch()
    with torch.no_grad():
        for reward in rewards():
            train = (torch.rand(CALL_MS, 1, INPUTS) < INPUT_HZ / 1000.0).float()
            network.run({"input": train}, time=CALL_MS, reward=float(reward))
            for name, monitor in monitors.items():
                spikes[name] += float(monitor.get("s").sum())
    taken = watch.read()
    finite = all(bool(torch.isfinite(connection.w).all()) for connection in network.connections.values())
    return taken, spikes["hidden"], spikes["output"], finite


def snntorch() -> Second:
    """Run cells of snnTorch with the rule written in torch, since it has none."""
    import snntorch as snn
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    weight = [torch.tensor(values, dtype=torch.float32) for values in weights()]
    cells = [snn.Synaptic(alpha=SYNAPSE_DECAY, beta=LEAK, threshold=1.0, reset_mechanism="zero") for _ in weight]
    state = [cell.init_synaptic() for cell in cells]
    sizes = (INPUTS, HIDDEN, OUTPUTS)
    trace = [torch.zeros(size) for size in sizes]
    eligibility = [torch.zeros_like(values) for values in weight]
    fade, forget = math.exp(-1.0 / TRACE_MS), math.exp(-1.0 / ELIGIBILITY_MS)
    spikes = [torch.zeros(size) for size in sizes[1:]]
    watch = Watch()
    with torch.no_grad():
        for reward in rewards():
            for _ in range(CALL_MS):
                fired = [(torch.rand(INPUTS) < INPUT_HZ / 1000.0).float()]
                for k, cell in enumerate(cells):
                    spike, *state[k] = cell(COUPLING * (fired[k] @ weight[k]) + STEADY, *state[k])
                    fired.append(spike)
                    spikes[k] += spike
                for k in range(2):
                    eligibility[k].mul_(forget).addr_(fired[k], trace[k + 1], alpha=-DEPRESSION)
                trace = [fade * values + spike for values, spike in zip(trace, fired, strict=True)]
                for k in range(2):
                    eligibility[k].addr_(trace[k], fired[k + 1])
            for k in range(2):
                weight[k].add_(eligibility[k], alpha=RATE * float(reward)).clamp_(-LARGEST_WEIGHT, LARGEST_WEIGHT)
    taken = watch.read()
    finite = all(bool(torch.isfinite(values).all()) for values in weight)
    hidden, output = (float(values.sum()) for values in spikes)
    return taken, hidden, output, finite


def brian2(one_run: bool = False) -> Second:
    """Run Brian2 with compiled code: one `run` for each call, or a single one that applies the rewards itself."""
    import brian2 as b

    b.prefs.codegen.target = "cython"
    b.seed(0)
    b.defaultclock.dt = 1.0 * b.ms
    times = {
        "membrane": MEMBRANE_MS * b.ms, "synapse": SYNAPSE_MS * b.ms,
        "pair": TRACE_MS * b.ms, "memory": ELIGIBILITY_MS * b.ms,
    }  # fmt: skip
    space = {**times, "bias": BIAS, "dep": DEPRESSION, "largest": LARGEST_WEIGHT, "rate": RATE}
    lif = "dv/dt = (bias + g - v) / membrane : 1 (unless refractory)\ndg/dt = -g / synapse : 1"
    sources = b.PoissonGroup(INPUTS, INPUT_HZ * b.Hz)
    groups = [sources]
    for size in (HIDDEN, OUTPUTS):
        groups.append(
            b.NeuronGroup(
                size, lif, threshold="v > 1", reset="v = 0", refractory=2 * b.ms, method="exact", namespace=space
            )
        )
    synapses, counts = [], [b.SpikeMonitor(group, record=False) for group in groups[1:]]
    for before, after, weight in zip(groups[:-1], groups[1:], weights(), strict=True):
        projection = b.Synapses(
            before, after,
            "w : 1\ndpre/dt = -pre / pair : 1 (event-driven)\ndpost/dt = -post / pair : 1 (event-driven)\n"
            "deligible/dt = -eligible / memory : 1 (event-driven)",
            on_pre="g_post += w\npre += 1\neligible -= dep * post",
            on_post="post += 1\neligible += pre", namespace=space,
        )  # fmt: skip
        projection.connect()
        projection.w = weight.ravel()
        synapses.append(projection)
    network = b.Network(*groups, *synapses, *counts)
    given = iter(rewards())

    def reward_all() -> None:
        reward = next(given)
        for projection in synapses:
            age = network.t - projection.lastupdate[:]
            present = projection.eligible[:] * np.exp(-(age / times["memory"]))
            projection.w = np.clip(projection.w[:] + RATE * reward * present, -LARGEST_WEIGHT, LARGEST_WEIGHT)

    if one_run:
        network.add(b.NetworkOperation(reward_all, dt=CALL_MS * b.ms, when="end"))
    network.run(0 * b.ms)
    watch = Watch()
    if one_run:
        network.run(CALLS * CALL_MS * b.ms)
    else:
        for _ in range(CALLS):
            network.run(CALL_MS * b.ms)
            reward_all()
    taken = watch.read()
    finite = all(bool(np.isfinite(projection.w[:]).all()) for projection in synapses)
    hidden, output = (int(monitor.num_spikes) for monitor in counts)
    return taken, hidden, output, finite


PEERS: dict[str, Callable[[], Second]] = {
    "BindsNET MSTDPET": bindsnet,
    "snnTorch": snntorch,
    "Brian2": brian2,
    "Brian2 in one run": partial(brian2, one_run=True),
}


def spiking(name: str, rounds: int) -> dict[str, object]:
    """Time a spiking peer; the first round, which compiles, does not count."""
    PEERS[name]()
    seconds = [PEERS[name]() for _ in range(rounds)]
    wall_ms, processor_ms = zip(*(times for times, *_ in seconds), strict=True)
    _, hidden, output, finite = seconds[-1]
    hidden_hz, output_hz = (1e3 * n / (cells * CALLS * CALL_MS) for n, cells in ((hidden, HIDDEN), (output, OUTPUTS)))
    times = {"wall_ms": wall_ms, "processor_ms": processor_ms}
    return {**times, "hidden_hz": hidden_hz, "output_hz": output_hz, "finite": finite}


if __name__ == "__main__":
    peer, number = sys.argv[1:]
    print(json.dumps(envpool(float(number)) if peer == "EnvPool" else spiking(peer, int(number))))
