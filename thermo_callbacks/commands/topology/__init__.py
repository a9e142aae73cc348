"""What ``thermo-callbacks topology`` runs: a topology read as a macrostate, or the topologies of one budget ranked."""
