"""Watch learners in a protocol step by step, in a window or as a film."""
