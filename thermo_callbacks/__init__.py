"""Training read as a physical system: callbacks, metrics and functions for PyTorch Lightning."""

__version__ = "0.1.0"
