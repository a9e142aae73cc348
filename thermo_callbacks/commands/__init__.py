"""The command line: the subcommands of thermo-callbacks."""
