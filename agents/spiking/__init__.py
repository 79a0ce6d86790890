"""Spiking populations, synapses and spike-timing-dependent plasticity."""
