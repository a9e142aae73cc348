"""Time series of one tag, merged from several files."""

from __future__ import annotations

import math
from array import array

import numpy as np
import numpy.typing as npt

Steps = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class Series:
    """Values of one tag by step.

    A step has one value: of several, the one that was written last. A run that was resumed from an earlier checkpoint
    thus reads as it went on, and its first attempt remains only where the second one logged nothing.

    Example:
        >>> series = Series()
        >>> series.add(10, 0.5, time=1.0)
        >>> series.add(20, 0.4, time=2.0)
        >>> series.add(10, 0.7, time=0.5)  # written before: the later value stays
        >>> series.steps, series.values
        (array([10, 20]), array([0.5, 0.4]))
    """

    def __init__(self) -> None:
        # plain arrays while values come in, one at a time: an object a value would take ten times the room
        self._steps, self._values, self._times = array("q"), array("d"), array("d")
        self._ordered: tuple[Steps, Values, Values] = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, value: float, time: float) -> None:
        """Add a value, unless one that was written later is known for the step.

        Args:
            step: Its step, of 64 bits.
            value: The value, NaN where the run had none.
            time: When it was written, in seconds since 1970, NaN where nobody knows: before all others. Of equal times
                the value that is added last counts.
        """
        self._steps.append(step)
        self._values.append(value)
        self._times.append(time)

    def merge(self, other: Series) -> None:
        """Add all values of another series."""
        steps, values, times = other._in_order()
        self._steps.frombytes(steps.tobytes())
        self._values.frombytes(values.tobytes())
        self._times.frombytes(times.tobytes())

    @property
    def steps(self) -> Steps:
        """Steps in order, shape ``[points]``."""
        return self._in_order()[0]

    @property
    def values(self) -> Values:
        """Values in the order of the steps, shape ``[points]``."""
        return self._in_order()[1]

    @property
    def times(self) -> Values:
        """Times of writing in the order of the steps, NaN where nobody knows, shape ``[points]``."""
        return self._in_order()[2]

    def at(self, step: int) -> float:
        """Value at a step; NaN where there is none."""
        place = int(np.searchsorted(self.steps, step))
        return float(self.values[place]) if place < len(self) and self.steps[place] == step else math.nan

    @property
    def last_step(self) -> int:
        """The last step with a value or a NaN, -1 without any."""
        return int(self.steps[-1]) if len(self) else -1

    @property
    def last(self) -> float:
        """The value at the last step, NaN without any."""
        return float(self.values[-1]) if len(self) else math.nan

    def _in_order(self) -> tuple[Steps, Values, Values]:
        """Steps, values and times, once for each step."""
        if self._steps:
            new = (np.array(self._steps, dtype=np.int64), np.array(self._values), np.array(self._times))
            columns = [np.concatenate(pair) for pair in zip(self._ordered, new, strict=True)]
            self._steps, self._values, self._times = array("q"), array("d"), array("d")
            # of one step the last written stands last, and of those the last added
            order = np.lexsort((np.nan_to_num(columns[2], nan=-math.inf), columns[0]))
            steps, values, times = (column[order] for column in columns)
            last = np.append(steps[1:] != steps[:-1], True)
            self._ordered = steps[last], values[last], times[last]
        return self._ordered
