"""A window of optimizer steps: its running sums, and the estimates that are made of them."""
