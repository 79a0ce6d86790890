"""Networks: sensory cells, and cells that compute a posture from their activity. `register` adds a network."""

from agents.networks.registry import NETWORKS, Network, register

__all__ = ["NETWORKS", "Network", "register"]
