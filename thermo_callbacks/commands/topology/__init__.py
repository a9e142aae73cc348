"""The subcommand ``topology``: a topology analysed as a macrostate, or the topologies of one budget ranked."""
