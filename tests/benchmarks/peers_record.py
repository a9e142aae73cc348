"""What a tool said of a run, and whether that was right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from faults import CAUSES, Case, Run

Causes = Callable[[str], set[str]]


@dataclass(frozen=True)
class Said:
    """One thing that a tool said.

    Attributes:
        words: Its words, without the figures that differ from step to step.
        severity: "info", "warning" or "critical"; what is only for information is no alarm.
        layers: Modules that it named, in its order.
        step: Optimizer step at which it was said first.
        times: How often it was said.
    """

    words: str
    severity: str = "warning"
    layers: tuple[str, ...] = ()
    step: int = 0
    times: int = 1


@dataclass(frozen=True)
class PeerRecord:
    """All that a tool said of a run, what it put first in front.

    Attributes:
        error: Why the tool could not be used; empty where it could.
    """

    tool: str
    name: str
    seed: int
    seconds: float
    said: list[Said] = field(default_factory=list)
    error: str = ""

    @property
    def alarms(self) -> list[Said]:
        """What was said as more than an information."""
        return [each for each in self.said if each.severity != "info"]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"seconds": round(self.seconds, 2)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> PeerRecord:
        said = [Said(**each | {"layers": tuple(each["layers"])}) for each in plain["said"]]
        return cls(**{**plain, "said": said})


class Tool(NamedTuple):
    """A tool and how it is used.

    Attributes:
        name: Name of the package, as it is installed.
        package: Name by which it is imported.
        watch: Makes the callback that hands a run to the tool; it has `said()`.
        causes: Which of the suite's causes the tool's words stand for.
    """

    name: str
    package: str
    watch: Callable[[Run], Any]
    causes: Causes


def without_figures(sentence: str) -> str:
    """A sentence as it is each time that it is said."""
    return " ".join(re.sub(r"\d[\d.e+^-]*%?", "", sentence).split())


def by_phrases(phrases: Mapping[str, tuple[str, ...]]) -> Causes:
    """Causes of all the phrases that occur in a sentence."""
    unknown = {cause for causes in phrases.values() for cause in causes} - CAUSES.keys()
    if unknown:
        raise ValueError(f"not among the causes of the suite: {sorted(unknown)}")

    def causes(words: str) -> set[str]:
        found = [each for phrase, each in phrases.items() if phrase in words]
        if not found:
            raise ValueError(f"no phrase of the tool is known in {words!r}: add one to its table")
        return {cause for each in found for cause in each}

    return causes


def within(layer: str, layers: Iterable[str]) -> bool:
    """Whether a module, or a parameter, is one of the modules or inside of one."""
    return any(layer == each or layer.startswith(f"{each}.") for each in layers)


class Mark(NamedTuple):
    """What a tool got right of a run; None where the question does not arise."""

    alarm: bool
    cause: bool | None = None
    layer: bool | None = None


def mark(record: PeerRecord, case: Case, causes: Causes) -> Mark:
    """Mark what was said of a case.

    The cause is that of the first alarm. The layer is the first one that any alarm names, in the tool's order; a module
    or a parameter inside of the planted layer is right too.
    """
    alarms = record.alarms
    if case.cause is None:
        return Mark(bool(alarms))
    named = [layer for each in alarms for layer in each.layers]
    return Mark(
        alarm=bool(alarms),
        cause=bool(alarms) and case.cause in causes(alarms[0].words),
        layer=(bool(named) and within(named[0], case.layers)) if case.layers else None,
    )


class Count(NamedTuple):
    """How many of how many."""

    true: int
    all: int

    def __str__(self) -> str:
        return f"{self.true} of {self.all}"


def count(marks: Sequence[bool | None]) -> Count:
    """Count those that are true among those that are not None."""
    known = [each for each in marks if each is not None]
    return Count(sum(known), len(known))


class Row(NamedTuple):
    """What a tool got right in a part of the suite."""

    healthy_alarms: Count
    found: Count
    right_cause: Count
    right_layer: Count
    failed: int


def row(records: Iterable[PeerRecord], cases: Mapping[str, Case], causes: Causes) -> Row:
    """Count over records of one tool; a run in which the tool failed is one without an alarm."""
    records = list(records)
    marks = [(cases[each.name], mark(each, cases[each.name], causes)) for each in records]
    healthy = [found for case, found in marks if case.cause is None]
    faults = [found for case, found in marks if case.cause is not None]
    return Row(
        healthy_alarms=count([each.alarm for each in healthy]),
        found=count([each.alarm for each in faults]),
        right_cause=count([each.cause for each in faults]),
        right_layer=count([each.layer for each in faults]),
        failed=sum(bool(each.error) for each in records),
    )
