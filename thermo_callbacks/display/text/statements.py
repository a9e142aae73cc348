"""What is said on one subject: a verdict with its evidence, or what the values don't tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thermo_callbacks.catalog import members

Record = Mapping[str, float]

CLEARLY = 2.0
"""Standard errors between two values that are called different."""


class Statement(NamedTuple):
    """What the values say on a subject.

    Attributes:
        subject: What it is about.
        text: Verdict, evidence and action, in this order; empty if the values give no verdict.
        untold: What they don't tell, each as the rest of a sentence.
    """

    subject: str
    text: str = ""
    untold: tuple[str, ...] = ()


class StepSpan(NamedTuple):
    """StepSpan that sentences are about.

    Attributes:
        first: First step of the first window.
        last: Last step of the last window.
        window: StepSpan in the last window, 0 where nobody knows.
    """

    first: int
    last: int
    window: int = 0

    @property
    def course(self) -> str:
        """From the first window to the last."""
        return f"from step {self.first:,} to {self.last:,}"

    @property
    def in_the_last_window(self) -> str:
        """The last window alone."""
        if not self.window:
            return f"in the window that ends at step {self.last:,}"
        return f"in steps {max(0, self.last - self.window + 1):,} to {self.last:,}"

    @property
    def so_far(self) -> str:
        """What was measured at some moment up to the last window: at an extra pass, or averaged."""
        return f"up to step {self.last:,}"


def highest(record: Record, family: str) -> tuple[list[str], str]:
    """Find the layer with the highest value of a family, where that is beyond the errors.

    Args:
        record: Values.
        family: Family of tags by layer.

    Returns:
        Names in rising order of their values, empty where the highest one can't be told, and then why not; both empty
        where there are fewer than two layers.
    """
    values = members(record, family)
    ranking = sorted((name for name in values if math.isfinite(values[name])), key=values.__getitem__)
    if len(ranking) < 2:
        return [], ""
    second, most = ranking[-2:]
    errors = [record.get(f"{family}_stderr/{name}", math.nan) for name in (second, most)]
    if any(map(math.isnan, errors)):
        return [], "their errors are not logged: the preset full does"
    if values[most] - values[second] <= CLEARLY * math.hypot(*errors):
        return [], f"{most} or {second}, within their errors"
    return ranking, ""


def paragraphs(statements: Sequence[Statement], span: StepSpan) -> list[str]:
    """Write statements as paragraphs, what can't be told in one line at the end.

    Args:
        statements: What is said on each subject.
        span: Steps that they are about.

    Returns:
        A paragraph for each verdict, and the line.

    Example:
        >>> paragraphs([Statement("Loss", "it fell."), Statement("Noise", untold=("the scale",))], StepSpan(0, 99))
        ['Loss: it fell.', 'Not told: up to step 99 these values leave open the scale.']
    """
    written = [f"{statement.subject}: {statement.text}" for statement in statements if statement.text]
    untold = [each for statement in statements for each in statement.untold]
    open_ = f"Not told: {span.so_far} these values leave open {'; '.join(untold)}."
    return [*written, open_] if untold else written
