"""The subcommand ``report``: the logs of one or several runs as one page that needs no network."""
