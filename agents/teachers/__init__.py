"""Teachers: each turns what was sensed of a reach into the error that a rule carries to the synapses."""
