"""Spiking populations, their synapses and spike-timing-dependent plasticity."""
