"""From what was recorded of a run to its findings, roots first."""

from __future__ import annotations

from collections.abc import Mapping

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.causes import CAUSES
from thermo_callbacks.findings.finding import SEVERITIES, Finding
from thermo_callbacks.findings.history import History

READS = frozenset(tag for cause in CAUSES.values() for tag in cause.reads)
"""Tags of whole runs and families that some rule reads."""


def diagnose(history: History, causes: Mapping[str, Cause] = CAUSES) -> list[Finding]:
    """Find what is wrong with a run.

    Each rule is asked once. A cause whose signs follow from another one that was found is no finding of its own: it is
    folded under its root, which comes first among equals.

    Args:
        history: What was recorded so far.
        causes: Causes to look for.

    Returns:
        Findings, the gravest first; of equal ones that which explains more, then that which is surer.
    """
    found = {name: sign for name, cause in causes.items() if (sign := cause.rule(history)) is not None}
    roots = {name: _below(name, found, causes) for name in found}
    folded = {each for name, below in roots.items() for each in below if name not in roots[each]}
    findings = [
        _finding(
            causes[name], sign, _gravest([sign, *(found[each] for each in roots[name])]), tuple(sorted(roots[name]))
        )
        for name, sign in found.items()
        if name not in folded
    ]
    return sorted(findings, key=_order, reverse=True)


def _below(name: str, found: Mapping[str, Sign], causes: Mapping[str, Cause]) -> set[str]:
    """Causes that were found too and follow from this one, or from what follows from it."""
    below: set[str] = set()
    waiting = [name]
    while waiting:
        root = waiting.pop()
        for each in (*causes[root].explains, *found[root].before):
            if each in found and each not in below and each != name and root not in found[each].before:
                below.add(each)
                waiting.append(each)
    return below


def _gravest(signs: list[Sign]) -> Sign:
    return max(signs, key=lambda sign: SEVERITIES.index(sign.severity))


def _finding(cause: Cause, sign: Sign, gravest: Sign, consequences: tuple[str, ...]) -> Finding:
    # a cause is as grave as the worst that it has led to
    return Finding(
        cause=cause.name,
        layers=sign.layers,
        severity=gravest.severity,
        confidence=sign.confidence,
        evidence=dict(sign.evidence),
        since_step=sign.since_step,
        text=sign.text,
        advice=sign.advice or cause.advice,
        consequences=consequences,
    )


def _order(finding: Finding) -> tuple[int, int, float]:
    return SEVERITIES.index(finding.severity), len(finding.consequences), finding.confidence
