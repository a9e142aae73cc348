"""Training data that are known by heart: rule and page."""

from __future__ import annotations

import numpy as np

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import VALIDATION_LOSS, History
from thermo_callbacks.findings.readings import ENERGY

RISEN = 1.01
"""Validation loss over its lowest value from which on it has risen."""
HIGH = 0.12
"""Part of the training loss at the start below which a validation loss has learned well, however small the other is."""
APART = 5.0
"""Validation loss over training loss from which on they are apart."""


def _find(run: History) -> Sign | None:
    validation, training = run[VALIDATION_LOSS], run[ENERGY]
    if len(validation) < 3 or len(training) < 3:
        return None
    lowest, now = float(validation.values.min()), float(np.mean(validation.values[-2:]))
    best = int(validation.steps[validation.values.argmin()])
    if not (0.0 < RISEN * lowest < now and now > APART * training.last and best < validation.steps[-2]):
        return None
    # a loss near zero on both sides has learned well: what is apart there are two small numbers
    if now < HIGH * training.first:
        return None
    return Sign(
        f"The validation loss has risen from {lowest:.3g} at step {best} to {now:.3g} at step {validation.steps[-1]}, "
        f"while the training loss has come down to {training.last:.2g}.",
        {VALIDATION_LOSS: now, ENERGY: training.last},
        since_step=best,
    )


CAUSE = Cause(
    name="overfitting",
    rule=_find,
    reads=(VALIDATION_LOSS, ENERGY),
    seen="The training loss goes to zero, and the validation loss rises.",
    means="The training data are known by heart, and what is learned does not hold for others.",
    sign=f"The validation loss, as the run logs it, is {RISEN} times its lowest value or more, {APART:g} times the "
    "training loss or more, and above {HIGH} of the training loss at the start.",
    advice="Keep the checkpoint of the lowest validation loss; more data, augmentation, weight decay, dropout, or a "
    "smaller network.",
    mistaken="Losses that are not computed alike. Accuracy may still grow while the loss rises.",
    explains=("rate too low", "wrong labels"),
)
