"""Each step: what is read of it, and what a window of them gives."""
