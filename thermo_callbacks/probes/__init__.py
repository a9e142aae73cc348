"""The only code that touches a live model, and what keeps the model from noticing."""
