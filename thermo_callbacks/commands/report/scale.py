"""Axis scales of a chart, linear and logarithmic, with their ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WIDE = 50.0  # largest over smallest, from which lines lie too far apart for a linear scale
_MOST_WIDE = 1e12  # orders that an axis has room for
_TINY = 1e-290  # below, a logarithm runs out of numbers
_FAR_OUT = 30.0  # largest over typical magnitude, from which the typical ones would be pressed into one line
_MARGIN = 0.04  # of the range, kept free above and below
_MOST_TICKS = 6
_ROOM = 0.07  # of the axis, between labels

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Map from values to 0 at one end of an axis, 1 at the other.

    Attributes:
        lower: Value at 0.
        upper: Value at 1.
        kind: ``"linear"``, ``"log"``, or ``"symlog"``: linear up to a threshold on both sides of zero, logarithmic
            beyond.
        threshold: That of symlog.

    Example:
        >>> Scale(1.0, 100.0, "log").place(np.array([10.0]))
        array([0.5])
    """

    lower: float
    upper: float
    kind: str = "linear"
    threshold: float = 1.0

    def place(self, values: Values) -> Values:
        """Map values to places on the axis, NaN for what the scale has no place for."""
        ends = self._straighten(np.array([self.lower, self.upper]))
        places: Values = (self._straighten(np.asarray(values, dtype=np.float64)) - ends[0]) / (ends[1] - ends[0])
        return places

    def _straighten(self, values: Values) -> Values:
        if self.kind == "log":
            return np.log10(values, out=np.full_like(values, math.nan), where=values > 0.0)
        if self.kind == "symlog":
            straight: Values = np.sign(values) * np.log10(1.0 + np.abs(values) / self.threshold)
            return straight
        return values

    def ticks(self) -> list[float]:
        """Choose round values to write at the axis, in order."""
        if self.kind == "linear":
            from matplotlib.ticker import MaxNLocator

            values = list(MaxNLocator(nbins=_MOST_TICKS, steps=[1, 2, 5, 10]).tick_values(self.lower, self.upper))
            nothing = 1e-9 * (self.upper - self.lower)  # a multiple of a step misses zero by rounding
            values = [0.0 if abs(value) < nothing else value for value in values]
        elif self.kind == "log":
            values = _powers(self.lower, self.upper)
        else:
            powers = _powers(self.threshold, max(abs(self.lower), abs(self.upper)))
            values = [*(-power for power in reversed(powers)), 0.0, *powers]
        return self._apart([float(value) for value in values if self.lower <= value <= self.upper])

    def _apart(self, values: list[float]) -> list[float]:
        """Values whose labels leave each other room: zero first, then those farthest from it."""
        places = dict(zip(values, self.place(np.array(values)), strict=True))
        kept: list[float] = []
        for value in sorted(values, key=lambda each: math.inf if each == 0.0 else abs(each), reverse=True):
            if all(abs(places[value] - places[other]) >= _ROOM for other in kept):
                kept.append(value)
        return sorted(kept)


def _powers(lower: float, upper: float) -> list[float]:
    """Powers of ten in a range, few of many; 1, 2 and 5 times them where there are hardly any."""
    first, last = math.ceil(math.log10(lower)), math.floor(math.log10(upper))
    count = last - first + 1
    if count < 3:
        return [factor * 10.0**exponent for exponent in range(first - 1, last + 1) for factor in (1.0, 2.0, 5.0)]
    return [10.0**exponent for exponent in range(first, last + 1, math.ceil(count / _MOST_TICKS))]


def scale_of(values: Values, *, around: float | None = None) -> Scale:
    """Choose a scale for the values of a chart.

    Logarithmic where all are positive and lie far apart; linear near zero and logarithmic beyond where a few lie far
    outside of the others; linear otherwise. Values that are not finite are ignored.

    Returns:
        The scale; from 0 to 1 without any finite value.

    Example:
        >>> scale_of(np.array([1.0, 1000.0])).kind, scale_of(np.array([1.0, 2.0])).kind
        ('log', 'linear')
    """
    known = np.concatenate([np.ravel(values), [] if around is None else [around]])
    known = known[np.isfinite(known)]
    if not known.size:
        return Scale(0.0, 1.0)
    lower, upper = float(known.min()), float(known.max())
    if lower == upper:
        width = abs(lower) / 2.0 or 0.5
        return Scale(lower - width, upper + width)
    if lower > _TINY and _WIDE < upper / lower < _MOST_WIDE:
        room = (upper / lower) ** _MARGIN
        return Scale(lower / room, upper * room, "log")
    largest = max(abs(lower), abs(upper))
    sizes = np.abs(known[known != 0.0])
    typical = max(float(np.median(sizes)), largest / _MOST_WIDE)
    if _TINY < typical < largest / _FAR_OUT:
        room = (largest / typical) ** _MARGIN
        return Scale(min(lower, lower * room), max(upper, upper * room), "symlog", typical)
    room = _MARGIN * (upper - lower)
    return Scale(lower - room, upper + room)
