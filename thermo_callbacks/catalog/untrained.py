"""Reasons for which parameters are not trained, in the words that the run's text and configuration give them."""

FROZEN = "frozen"
FORGOTTEN = "in no optimizer"
NO_GRADIENT = "no gradient"
RATE_ZERO = "learning rate zero"
ZERO_GRADIENT = "gradient exactly zero"
STANDSTILL = "steps too small for its precision"
