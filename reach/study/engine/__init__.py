"""The jobs of a study: what they are, where they run, and where their results are kept."""
