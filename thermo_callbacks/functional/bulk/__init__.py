"""The bulk of a network: its neurons as a canonical ensemble."""
