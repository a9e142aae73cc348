"""What ``thermo-callbacks demo`` runs: real digits, a small network, and the thermometer."""
