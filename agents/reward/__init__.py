"""Learners taught by reward."""
