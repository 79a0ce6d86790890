"""Learners of reaching: back-propagation, broadcast error and spike-timing plasticity behind one interface."""
