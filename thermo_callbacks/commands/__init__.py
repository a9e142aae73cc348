"""What a person types: the commands of thermo-callbacks."""
