"""Learners taught by reward: Stable-Baselines3 algorithms with a learning rule in their networks."""
