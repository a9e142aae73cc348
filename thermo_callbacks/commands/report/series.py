"""Time series of one tag, merged from several files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class LoggedPoint(NamedTuple):
    """One value as it was logged, NaN where the run had none; times are seconds since 1970."""

    time: float
    value: float


@dataclass
class Series:
    """Values of one tag by step.

    A step has one value: of several, the one that was written last. A run that was resumed from an earlier checkpoint
    thus reads as it went on, and its first attempt remains only where the second one logged nothing.

    Attributes:
        points: Step to value and time of writing.

    Example:
        >>> series = Series()
        >>> series.add(10, 0.5, time=1.0)
        >>> series.add(20, 0.4, time=2.0)
        >>> series.add(10, 0.7, time=0.5)  # written before: the later value stays
        >>> series.steps, series.values
        (array([10, 20]), array([0.5, 0.4]))
    """

    points: dict[int, LoggedPoint] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def add(self, step: int, value: float, time: float) -> None:
        """Add a value, unless one that was written later is known for the step.

        Args:
            step: Its step.
            value: The value.
            time: When it was written; of equal times the value that is added last counts.
        """
        known = self.points.get(step)
        if known is None or time >= known.time:
            self.points[step] = LoggedPoint(time, value)

    def merge(self, other: Series) -> None:
        """Add all values of another series."""
        for step, point in other.points.items():
            self.add(step, point.value, point.time)

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """Steps in order, shape ``[points]``."""
        return np.array(sorted(self.points), dtype=np.int64)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """Values in the order of the steps, shape ``[points]``."""
        return np.array([self.points[step].value for step in sorted(self.points)], dtype=np.float64)

    def at(self, step: int) -> float:
        """Value at a step; NaN where there is none."""
        return self.points[step].value if step in self.points else math.nan

    @property
    def last_step(self) -> int:
        """The last step with a value or a NaN, -1 without any."""
        return max(self.points, default=-1)

    @property
    def last(self) -> float:
        """The value at the last step, NaN without any."""
        return self.at(self.last_step)
