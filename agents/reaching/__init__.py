"""Shared parts of learners that reach: the controller, the model of the own body, and the senses."""
