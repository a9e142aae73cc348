"""What log files hold, as far as a page can show it; the rest is left out, and said."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from thermo_callbacks.commands.report.series import Series

LARGEST_STEP = 1 << 53
"""Beyond it, neighbouring steps are one number for a browser."""
LARGEST_VALUE = 1e100
"""Beyond it, squares and distances of values that are drawn are no numbers any more."""
MOST_TAGS = 5_000
"""Far more than a monitor logs."""
LONGEST_TEXT = 1_000_000
"""Signs of a text that are kept."""
MOST_BINS = 10_000
"""Bins of a histogram that can be drawn."""
_LAST_TIME = 250_000_000_000.0  # some centuries before calendars end
_NO_HISTOGRAM = f"its histogram has no rising edges with as many counts, {MOST_BINS:,} at most, left out"
_MORE_TAGS = f"there are more than {MOST_TAGS:,} tags, left out"
_Value = TypeVar("_Value")
_LONGEST_NAME = 60  # signs of a tag that a sentence names


class LoggedImage(NamedTuple):
    """An image as the logger wrote it."""

    step: int
    encoded: bytes


class LoggedHistogram(NamedTuple):
    """A histogram as the logger wrote it, with one edge more than counts."""

    step: int
    edges: list[float]
    counts: list[float]


@dataclass(kw_only=True)
class Log:
    """What files of a run hold.

    Attributes:
        scalars: Tag to its values.
        images: Tag to the last image.
        histograms: Tag to the last histogram.
        texts: Tag to the last text.
        notices: What could not be read, in sentences.
    """

    scalars: dict[str, Series] = field(default_factory=dict)
    images: dict[str, LoggedImage] = field(default_factory=dict)
    histograms: dict[str, LoggedHistogram] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._flaws: Counter[str] = Counter()
        self._named: dict[str, str] = {}

    def add_scalar(self, tag: str, step: int, value: float, time: float) -> None:
        """Add one value, or note why it has no place on a page."""
        if not 0.0 <= time <= _LAST_TIME:
            self.note(tag, "its time of writing is in no calendar, and not shown")
            time = math.nan
        if not -LARGEST_STEP <= step <= LARGEST_STEP:
            self.note(tag, "its step lies beyond 2**53, left out")
            return
        size = abs(value)
        if size > LARGEST_VALUE and size != math.inf:
            self.note(tag, "it lies beyond ±1e100, shown as infinite")
            value = math.copysign(math.inf, value)
        elif 0.0 < size < 1.0 / LARGEST_VALUE:
            self.note(tag, "it is closer to 0 than 1e-100, shown as 0")
            value = 0.0
        series = self.scalars.get(tag)
        if series is None:
            if len(self.scalars) >= MOST_TAGS:
                self.note(tag, _MORE_TAGS)
                return
            series = self.scalars[tag] = Series()
        series.add(step, value, time)

    def add_text(self, tag: str, text: str) -> None:
        """Add a text, of a long one its beginning."""
        if len(text) > LONGEST_TEXT:
            self.note(tag, f"its text has more than {LONGEST_TEXT:,} signs, the rest is left out")
        self._keep(self.texts, tag, text[:LONGEST_TEXT])

    def add_image(self, tag: str, image: LoggedImage) -> None:
        """Add an image."""
        self._keep(self.images, tag, image)

    def add_histogram(self, tag: str, step: int, ends: tuple[float, float], bins: Sequence[Sequence[float]]) -> None:
        """Add a histogram, or note that it is none.

        Args:
            tag: Its tag.
            step: Its step.
            ends: Smallest and largest value.
            bins: Upper end of each bin, and its count.
        """
        limits, counts = bins
        edges = _edges(ends, limits) if 0 < len(limits) == len(counts) <= MOST_BINS else []
        if edges and all(0.0 <= count <= LARGEST_VALUE for count in counts):
            self._keep(self.histograms, tag, LoggedHistogram(step, edges, list(counts)))
        else:
            self.note(tag, _NO_HISTOGRAM)

    def note(self, tag: str, flaw: str) -> None:
        """Count a value that is not shown as it was logged."""
        self._flaws[flaw] += 1
        self._named.setdefault(flaw, tag)

    def close(self, file: str) -> None:
        """Put what was noted of a file into sentences."""
        for flaw, count in self._flaws.items():
            tag = self._named[flaw]
            name = tag if len(tag) <= _LONGEST_NAME else f"{tag[:_LONGEST_NAME]}..."
            more = f" and {count - 1:,} more" if count > 1 else ""
            self.notices.append(f"{file}, value of {name!r}{more}: {flaw}.")
        self._flaws.clear()
        self._named.clear()

    def _keep(self, kept: dict[str, _Value], tag: str, value: _Value) -> None:
        if tag not in kept and len(kept) >= MOST_TAGS:
            self.note(tag, _MORE_TAGS)
        else:
            kept[tag] = value


def _edges(ends: tuple[float, float], limits: Sequence[float]) -> list[float]:
    """Edges of a histogram's bins, one more than there are bins; empty where they are none."""
    # a bin is named by its upper end; the first one begins at the smallest value, the last ends at the largest, where
    # TensorBoard's own last limit is the largest number there is
    rising = ends[0] <= ends[1] and all(lower <= upper for lower, upper in itertools.pairwise(limits))
    edges = [min(max(edge, ends[0]), ends[1]) for edge in (ends[0], *limits)]
    # a NaN is neither below nor above another number
    return edges if rising and limits[0] == limits[0] and all(abs(edge) <= LARGEST_VALUE for edge in edges) else []
