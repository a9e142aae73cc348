"""Tables of a run in the terminal, drawn with rich."""
