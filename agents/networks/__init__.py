"""Networks: sensory cells, and cells that turn their activity into a posture. `register` adds a network."""

from agents.networks.registry import NETWORKS, Network, register

__all__ = ["NETWORKS", "Network", "register"]
