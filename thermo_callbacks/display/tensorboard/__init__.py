"""The TensorBoard page of a run."""
