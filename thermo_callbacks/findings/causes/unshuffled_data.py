"""Samples of a batch that are alike: rule and page."""

from __future__ import annotations

from scipy.stats import binom, chi2

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_TAG = "thermo/batch_likeness"
SHORTEST = 8
"""Batches of the shortest window."""
ALIKE = 3.5
"""Ratio of variances from which on batches are no fair samples. In 8 batches of independent samples even a single
feature exceeds it once in a thousand windows, and the rule asks for the median of two or more."""


def _find(run: History) -> Sign | None:
    course = run[_TAG]
    if len(course) < 2 or not course.median >= ALIKE:
        return None
    return Sign(
        f"From batch to batch of the training data the mean inputs and targets vary {course.median:.1f} times as much "
        f"as with random samples (ratio of variances; 1 is right, {ALIKE} is the limit; up to step {run.step}): "
        "samples of a batch are alike.",
        {_TAG: course.median},
        since_step=int(course.steps[0]),
        chance=_chance(course.median, len(course)),
    )


def _chance(median: float, windows: int) -> float:
    """Chance of such a median with independent samples, at most: half of the windows have to read that much each."""
    # one effective feature in the shortest windows, and any half of them: all that widens the distribution
    single = float(chi2.sf(median * (SHORTEST - 1), SHORTEST - 1))
    half = (windows + 1) // 2
    return float(binom.sf(half - 1, windows, single))


CAUSE = Cause(
    name="unshuffled data",
    rule=_find,
    measured=True,
    reads=(_TAG,),
    seen="The training loss has waves as long as an epoch, and validation is far worse.",
    means="Samples that follow each other are alike. Each step learns one kind and unlearns the others.",
    sign=f"The variance of the batches' means over that of independent samples is {ALIKE} or more in the median window "
    "(one-way analysis of variance, Fisher 1925). Random batches read 1.",
    advice="Give the training DataLoader shuffle=True. For streams use a larger shuffle buffer; with several files, "
    "mix them within each batch.",
    mistaken="Batches that are alike on purpose: bucketed by length, one user or one game each.",
    explains=(
        "data shift",
        "rate too high",
        "dead units",
        "saturated units",
        "layer not trained",
        "wrong labels",
        "batch too small",
        "no warm-up",
        "rate too low",
        "overfitting",
    ),
)
