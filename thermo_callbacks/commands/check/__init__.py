"""The subcommand that finds what is wrong with runs, and tells it by its exit status."""
