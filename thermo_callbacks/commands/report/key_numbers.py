"""The numbers that runs came to, side by side, and which of their differences are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.commands.report.anchors import entry_of_tags
from thermo_callbacks.commands.report.runs import Run, tags_of_training, words_of

CLEARLY = 2.0
"""Standard errors from which a difference counts as shown."""
MISSING = "–"
_HALF_WIDTH = 1.96  # standard errors from a value to an end of its 95 % interval
_PARTS = ("_stderr", "_lower", "_upper", "_reference", "_floor")  # of a quantity, and none of its own
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def estimate(value: float, error: float = math.nan, *, signed: bool = False) -> str:
    """A value with its standard error, which has two digits and sets the last place of the value.

    Args:
        value: The value, not NaN.
        error: Its standard error, NaN for none.
        signed: Whether a positive one gets a sign.

    Returns:
        The text.

    Example:
        >>> estimate(0.65321, 0.0042), estimate(12084.0, 7012.0), estimate(3.72e-06, 6.4e-07), estimate(-58.7)
        ('0.6532 ± 0.0042', '12,100 ± 7,000', '(3.72 ± 0.64) × 10⁻⁶', '−58.7')
    """
    sign = "+" if signed and value > 0.0 else ""
    largest = value if math.isnan(error) else max(abs(value), error)
    if not math.isfinite(largest) or not math.isfinite(value):
        return f"{sign}{value}".replace("-", "−")
    power = _place(largest)
    power = 0 if -4 < power < 6 else power
    scale = f" × 10{str(power).translate(_RAISED)}" if power else ""
    # 10.0 ** power would be zero for the smallest of numbers
    scaled, deviation = (float(Decimal(each).scaleb(-power)) for each in (value, error))
    if math.isnan(error):
        return sign + _digits(scaled, _place(scaled) - 2).replace("-", "−") + scale
    last = _place(deviation) - 1 if deviation else _place(scaled) - 2
    text = f"{sign}{_digits(scaled, last)} ± {_digits(deviation, last)}".replace("-", "−")
    return f"({text}){scale}" if scale else text


def _place(value: float) -> int:
    """Power of ten of a number's first digit."""
    return math.floor(math.log10(abs(value))) if value else 0


def _digits(value: float, last: int) -> str:
    """A number rounded at a power of ten."""
    return f"{round(value, -last):,.{max(0, -last)}f}"


class Value(NamedTuple):
    """The last value of a quantity in one run, NaN where it had none then, and how sure it is.

    Attributes:
        error: Its standard error, NaN for none.
        lower: Lower end of its 95 % interval, NaN for none.
        upper: Upper end.
    """

    value: float
    error: float
    step: int
    lower: float = math.nan
    upper: float = math.nan

    @property
    def text(self) -> str:
        """The value with its standard error, or with its interval where it has that alone."""
        if math.isnan(self.value):
            return MISSING
        if not math.isnan(self.error) or math.isnan(self.lower):
            return estimate(self.value, self.error)
        if math.isfinite(self.upper):
            return f"{estimate(self.value)} ({estimate(self.lower)} to {estimate(self.upper)})"
        return f"{estimate(self.value)} (at least {estimate(self.lower)})"

    def error_towards(self, other: float) -> float:
        """Its standard error on the side of another value: an interval may be longer on one side."""
        if not math.isnan(self.error):
            return self.error
        return (self.upper - self.value if other > self.value else self.value - self.lower) / _HALF_WIDTH


class Difference(NamedTuple):
    """How the value of a run differs from that of the first one; the error is NaN where a run has none."""

    value: float
    error: float

    @property
    def shown(self) -> bool:
        """Whether it is larger than twice its standard error."""
        return abs(self.value) > CLEARLY * self.error

    @property
    def text(self) -> str:
        """The difference with its standard error, signed."""
        if math.isnan(self.value):
            return ""
        error = self.error if math.isfinite(self.error) else math.nan
        return estimate(self.value, error, signed=True)

    @property
    def verdict(self) -> str:
        """What can be said of it."""
        if math.isnan(self.value):
            return ""
        if math.isnan(self.error):
            return "error not known"
        if not self.shown:
            return "not told apart"
        return "higher" if self.value > 0.0 else "lower"


class Row(NamedTuple):
    """One quantity in all runs.

    Attributes:
        unit: Its unit, empty where it is not known or has none.
        entry: Name of its entry in the legend; empty for what training itself logs.
        values: Last value in each run, None where a run does not log it.
        differences: Difference of each run from the first, None for the first and where one has no value.
        key: Whether it is one of those to look at first.
    """

    label: str
    unit: str
    tag: str
    entry: str
    values: list[Value | None]
    differences: list[Difference | None]
    key: bool


def last_value(run: Run, tag: str) -> Value | None:
    """Last value of a tag in a run, with the standard error logged at the same step."""
    series = run.scalars.get(tag)
    if series is None or not len(series):
        return None
    step = series.last_step
    parts = (run.scalars.get(f"{tag}_{part}") for part in ("stderr", "lower", "upper"))
    error, lower, upper = (math.nan if part is None else part.at(step) for part in parts)
    return Value(series.last, error, step, lower, upper)


def compare(first: Value | None, other: Value | None) -> Difference | None:
    """Difference of two values of different runs, whose errors know nothing of each other.

    Returns:
        The other one less the first, with the root of the sum of the squared errors; None without both values.

    Example:
        >>> difference = compare(Value(1.0, 0.3, 9), Value(2.0, 0.4, 9))
        >>> difference, difference.verdict
        (Difference(value=1.0, error=0.5), 'not told apart')
    """
    if first is None or other is None or not math.isfinite(other.value - first.value):
        return None
    errors = (first.error_towards(other.value), other.error_towards(first.value))
    return Difference(other.value - first.value, math.hypot(*errors))


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Last values of all quantities of whole runs: what training itself logs, then the quantities in their order."""
    tags = {tag for run in runs for tag in run.scalars}
    own = [_row(runs, tag, tag, "", key=True) for tag in tags_of_training(runs)]
    rows = []
    for quantity in QUANTITIES:
        names = [tag for tag in quantity.tags if tag in tags and not tag.endswith(_PARTS)]
        for tag in names:
            words = words_of(tag)
            label = quantity.name if len(names) == 1 else words[0].upper() + words[1:]
            unit = "" if quantity.unit == "none" or ";" in quantity.unit else quantity.unit
            place = quantity.key_number if tag == quantity.tag else None
            row = _row(runs, tag, label, unit, key=place is not None)
            rows.append((math.inf if place is None else place, row))
    return own + [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _row(runs: Sequence[Run], tag: str, label: str, unit: str, *, key: bool) -> Row:
    values = [last_value(run, tag) for run in runs]
    differences = [None, *(compare(values[0], value) for value in values[1:])]
    return Row(label, unit, tag, entry_of_tags([tag]), values, differences, key)
