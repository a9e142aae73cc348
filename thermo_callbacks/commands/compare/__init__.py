"""The subcommand ``compare``: one network with each of several activations, on data that needs no download."""
