"""What was recorded of a run, as the rules read it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from thermo_callbacks.catalog import Scalars


class Course(NamedTuple):
    """Values of one quantity that were known, in the order of their steps.

    Attributes:
        steps: Steps, ``[n]``.
        values: Values, ``[n]``; infinite ones are among them, unknown ones are not.
    """

    steps: np.ndarray[Any, np.dtype[np.int64]]
    values: np.ndarray[Any, np.dtype[np.float64]]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float:
        """First value; NaN if there is none."""
        return float(self.values[0]) if len(self) else math.nan

    @property
    def last(self) -> float:
        """Last value; NaN if there is none."""
        return float(self.values[-1]) if len(self) else math.nan

    @property
    def median(self) -> float:
        """Median; NaN if there is no value."""
        return float(np.median(self.values)) if len(self) else math.nan

    def part(self, start: float, end: float = 1.0) -> Course:
        """Values from one part of all that there are to another, at least one where there is any."""
        low, high = int(start * len(self)), math.ceil(end * len(self))
        low = min(low, len(self) - 1) if len(self) else 0
        return Course(self.steps[low : max(high, low + 1)], self.values[low : max(high, low + 1)])


VALIDATION_LOSS = "validation_loss"
"""Under this name the run's own validation loss is kept, whatever the run calls it."""
_NOTHING = Course(np.empty(0, np.int64), np.empty(0))


class History:
    """Values of the tags that rules read, and facts of the run that do not change.

    Args:
        reads: Tags of whole runs and families that are kept; None for all.
        facts: The configuration of the run, as it is written beside its logs.
    """

    def __init__(self, reads: Iterable[str] | None = None, facts: Mapping[str, Any] | None = None) -> None:
        self._reads = None if reads is None else frozenset(reads)
        self._courses: dict[str, tuple[list[int], list[float]]] = {}
        self._lost: dict[str, int] = {}
        self.facts: dict[str, Any] = dict(facts or {})
        self.step = 0

    def add(self, record: Scalars, step: int) -> None:
        """Take in what was logged at a step."""
        self.step = max(self.step, step)
        if (own := next(filter(is_validation_loss, record), None)) is not None:
            record = {**record, VALIDATION_LOSS: record[own]}
        for tag, value in record.items():
            family = tag.partition("/")[0]
            wanted = self._reads is None or tag in self._reads or family in self._reads
            if wanted and math.isnan(value):
                self._lost.setdefault(tag, step)
            elif wanted:
                self._lost.pop(tag, None)
                steps, values = self._courses.setdefault(tag, ([], []))
                steps.append(step)
                values.append(value)

    def __getitem__(self, tag: str) -> Course:
        if tag not in self._courses:
            return _NOTHING
        steps, values = self._courses[tag]
        return Course(np.asarray(steps, np.int64), np.asarray(values, np.float64))

    def lost(self, tag: str) -> int | None:
        """Step since which a value that is logged has been NaN; None where it is known, or not logged."""
        return self._lost.get(tag)

    @property
    def inspected(self) -> Mapping[str, Any]:
        """What was read off loss, modules and optimizers."""
        found: Mapping[str, Any] = self.facts.get("inspection", {})
        return found

    def members(self, family: str) -> dict[str, Course]:
        """Courses of the members of a family, in the order in which they were logged first."""
        start = f"{family}/"
        return {tag.removeprefix(start): self[tag] for tag in self._courses if tag.startswith(start)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._courses)

    @property
    def planned(self) -> float:
        """Steps that the run will have made at its end; NaN where nobody knows."""
        return float(self.facts.get("planned", {}).get("steps", math.nan))

    @property
    def over(self) -> float:
        """Part of the run that is over; 1 where its length is not known."""
        return 1.0 if math.isnan(self.planned) else min(1.0, (self.step + 1) / self.planned)

    def state_dict(self) -> dict[str, Any]:
        """Values so far, in what a checkpoint may hold."""
        courses = {tag: [list(steps), list(values)] for tag, (steps, values) in self._courses.items()}
        return {"step": self.step, "lost": dict(self._lost), "courses": courses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back :meth:`state_dict`; an empty state is a fresh start."""
        self.step, self._lost = int(state.get("step", 0)), dict(state.get("lost", {}))
        self._courses = {tag: (list(steps), list(values)) for tag, (steps, values) in state.get("courses", {}).items()}


def is_validation_loss(tag: str) -> bool:
    """Whether a run's own metric is its validation loss, by its name.

    Returns:
        Whether the name has "val" and "loss" in it, and is none of ours.

    Example:
        >>> [is_validation_loss(tag) for tag in ("val_loss", "valid/loss_epoch", "train_loss", "thermo/heat")]
        [True, True, False, False]
    """
    name = tag.lower()
    return not name.startswith("thermo") and "val" in name and "loss" in name
