"""The subcommand ``demo``: a small network trained on real digits, with a monitor."""
