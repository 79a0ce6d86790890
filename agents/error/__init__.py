"""Learners taught by the seen error of each reach."""
