"""Learners taught by their seen error."""
