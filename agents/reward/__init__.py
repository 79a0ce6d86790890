"""Learners taught by reward: Stable-Baselines3 algorithms with a learning rule inside their networks."""
