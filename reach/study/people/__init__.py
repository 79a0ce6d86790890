"""People: a person who goes through a protocol, and published human data."""
