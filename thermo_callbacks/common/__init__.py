"""What the demo and the comparison share: options, folders, data, and a quiet training."""
