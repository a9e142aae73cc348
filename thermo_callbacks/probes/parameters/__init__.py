"""The parameters of a live model: watched coordinates, entropy of the weights, how the optimizer moves them."""
