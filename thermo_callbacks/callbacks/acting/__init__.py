"""Callbacks that act on what they measure, the only ones that do: learning rates, and when to stop."""
