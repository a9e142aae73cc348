"""Measurements on a live model, without side effects on its training."""
