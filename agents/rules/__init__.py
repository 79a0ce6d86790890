"""Learning rules: each turns an output error into a modulator for every cell."""
