"""Human data: the game in which a person runs a protocol, and published measurements."""
