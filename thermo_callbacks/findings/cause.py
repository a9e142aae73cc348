"""What a cause is: its rule, and what people are told about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from thermo_callbacks.findings.finding import Severity
from thermo_callbacks.findings.history import History


class Sign(NamedTuple):
    """What a rule has found.

    Attributes:
        text: What was seen, with the steps that it covers.
        evidence: The tags that decided, and their values.
        since_step: Step from which on the evidence is there.
        severity: See ``Finding``.
        chance: Chance that errors of the measured values alone put them beyond the rule's threshold at this look; 0
            where they were read off the run.
        layers: Where; empty if it is the whole run.
        advice: What to do, where it is not that of the cause.
        before: Causes that can't have led to this one in this run, whatever they explain else, but follow from it.
    """

    text: str
    evidence: Mapping[str, float]
    since_step: int = 0
    severity: Severity = "warning"
    chance: float = 0.0
    layers: tuple[str, ...] = ()
    advice: str = ""
    before: tuple[str, ...] = ()


Rule = Callable[[History], Sign | None]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One thing that may be wrong with a run.

    Attributes:
        name: What it is called.
        rule: Finds it in what was recorded, or finds nothing.
        reads: Tags of whole runs and families that the rule reads.
        seen: What somebody notices who does not know the cause.
        means: What it is, in a sentence or two.
        sign: What the rule looks at, and where its threshold comes from.
        advice: What to do about it.
        mistaken: When the finding is wrong, or right as it is.
        measured: Whether the rule weighs values with errors, so that it may err; others read what is there.
        explains: Causes whose signs follow from this one, and are no findings where it is there.
    """

    name: str
    rule: Rule
    reads: tuple[str, ...]
    seen: str
    means: str
    sign: str
    advice: str
    mistaken: str
    measured: bool = False
    explains: tuple[str, ...] = field(default=())
