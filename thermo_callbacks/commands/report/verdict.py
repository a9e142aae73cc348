"""The first panel: what is wrong with each run, where, how that is known, and what to do."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from thermo_callbacks.commands.report.anchors import entry_of_cause, entry_of_tags, words_of_member
from thermo_callbacks.commands.report.colours import run_colour
from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.commands.report.runs import Run
from thermo_callbacks.display.text.numbers import number, percent
from thermo_callbacks.findings import CAUSES, Cause, Finding

_UNTRAINED = "thermo/untrained_share"
_NAMED = 3  # layers that a line names


class Evidence(NamedTuple):
    """A value that decided, and the entry of its quantity."""

    words: str
    tag: str
    value: str
    entry: str


class FindingCard(NamedTuple):
    """A finding as the page shows it."""

    finding: Finding
    entry: str
    sure: str
    evidence: list[Evidence]
    consequences: list[tuple[str, str]]


class VerdictCard(NamedTuple):
    """The verdict on a run: its findings, or that there are none.

    Attributes:
        nothing: What to say where there are no findings.
        looked: Whether anything could be looked for.
        untrained: The layers that are not trained, in one line; empty where a finding is about them.
    """

    name: str
    colour: str
    findings: list[FindingCard]
    nothing: str
    looked: bool
    untrained: str


def verdicts_of(runs: Sequence[Run], diagnoses: Sequence[Diagnosis], entries: Container[str]) -> list[VerdictCard]:
    """Make the verdict on each run; ``entries`` are those that the legend has."""
    cards = []
    for place, (run, diagnosis) in enumerate(zip(runs, diagnoses, strict=True)):
        findings = [_card(finding, entries) for finding in diagnosis.findings]
        said = (diagnosis.nothing, diagnosis.looked_for > 0)
        told = any(_UNTRAINED in finding.evidence for finding in diagnosis.findings)
        untrained = "" if told else _untrained(run)
        cards.append(VerdictCard(run.name, run_colour(place), findings, *said, untrained))
    return cards


def _card(finding: Finding, entries: Container[str]) -> FindingCard:
    evidence = []
    for tag, value in finding.evidence.items():
        entry = entry_of_tags([tag])
        evidence.append(Evidence(words_of_member(tag), tag, number(value), entry if entry in entries else ""))
    sure = "" if finding.confidence == 1.0 else f", confidence {100.0 * finding.confidence:.4g} %"
    consequences = [(name, entry_of_cause(name)) for name in finding.consequences]
    return FindingCard(finding, entry_of_cause(finding.cause), sure, evidence, consequences)


def causes_of(diagnoses: Sequence[Diagnosis]) -> list[tuple[str, Cause]]:
    """Causes that some run has, and what follows from them, each with the name of its entry."""
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    names = dict.fromkeys(name for finding in findings for name in (finding.cause, *finding.consequences))
    return [(entry_of_cause(name), CAUSES[name]) for name in names]


def _untrained(run: Run) -> str:
    """The layers that are not trained in one line; empty where all are."""
    reasons = run.configurations.untrained
    if not reasons:
        return ""
    share = run.scalars.get(_UNTRAINED)
    part = "" if share is None or not share.last > 0.0 else f", {percent(share.last)} of the weights"
    named = ", ".join(f"{layer} ({reason})" for layer, reason in list(reasons.items())[:_NAMED])
    more = f" and {len(reasons) - _NAMED:,} more" if len(reasons) > _NAMED else ""
    return f"Not trained{part}: {named}{more}."


def untrained_of(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Layers that some run does not train, and why in each run; empty where it does, or where it is not known."""
    reasons = [run.configurations.untrained for run in runs]
    layers = dict.fromkeys(layer for each in reasons for layer in each)
    return [(layer, [each.get(layer, "") for each in reasons]) for layer in layers]
