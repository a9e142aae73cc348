"""Names of the quantities that are one number a topology."""

SINGLE_VALUES = ("multiplicity", "disorder", "temperature", "efficiency", "free_energy", "stability", "lowest_move")
