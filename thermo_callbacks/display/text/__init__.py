"""What the numbers of a run say, in words."""
