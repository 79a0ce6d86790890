"""Learners of reaching behind one interface: back-propagation, broadcast error and spike-timing plasticity."""
