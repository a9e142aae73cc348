"""From what was recorded of a run to its findings, roots first."""

from __future__ import annotations

import math
from collections.abc import Mapping

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.causes import CAUSES
from thermo_callbacks.findings.finding import SEVERITIES, Finding, Severity
from thermo_callbacks.findings.history import History

READS = frozenset(tag for cause in CAUSES.values() for tag in cause.reads)
"""Tags of whole runs and families that some rule reads."""


LEVEL = 0.05
"""Chance, for a whole run, that some rule speaks because of errors of measurement alone."""
GROWTH = 1.5
"""From look to look the number of windows grows by this: few looks, so that many of them do not add up to a false
alarm, and none that costs."""


def looks(windows: float) -> int:
    """How often the rules are asked up to a number of windows.

    Args:
        windows: Windows that have ended, at least 1.

    Returns:
        The number of looks.

    Example:
        >>> looks(1), looks(25)
        (1, 8)
    """
    return 1 + math.floor(math.log(max(windows, 1.0)) / math.log(GROWTH) + 1e-9)


def diagnose(history: History, causes: Mapping[str, Cause] = CAUSES) -> list[Finding]:
    """Find what is wrong with a run.

    Each rule is asked once. It is heard where the chance that it errs, taken times all rules that may err and all looks
    so far (Bonferroni), is below ``LEVEL``. A cause whose signs follow from another one that was found is no finding of
    its own: it is folded under its root, which comes first among equals.

    Args:
        history: What was recorded so far.
        causes: Causes to look for.

    Returns:
        Findings, the gravest first; of equal ones that which explains more, then that which is surer.
    """
    # a rule may choose among the passes that it has seen, so that each of them is a look
    times = max(looks(len(history["thermo/learning_rate"])), len(history["thermo/step_efficiency"]))
    tests = times * sum(cause.measured for cause in causes.values())
    found = {
        name: sign
        for name, cause in causes.items()
        if (sign := cause.rule(history)) is not None and sign.chance * tests < LEVEL
    }
    roots = {name: _below(name, found, causes) for name in found}
    folded = {each for name, below in roots.items() for each in below if name not in roots[each]}
    findings = []
    for name in found.keys() - folded:
        # a cause is as grave as the worst that it has led to
        gravest = max((found[each].severity for each in (name, *roots[name])), key=SEVERITIES.index)
        confidence = 1.0 - tests * found[name].chance
        findings.append(_finding(causes[name], found[name], gravest, confidence, tuple(sorted(roots[name]))))
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


def _finding(cause: Cause, sign: Sign, severity: Severity, confidence: float, consequences: tuple[str, ...]) -> Finding:
    return Finding(
        cause=cause.name,
        layers=sign.layers,
        severity=severity,
        confidence=confidence,
        evidence=dict(sign.evidence),
        since_step=sign.since_step,
        text=sign.text,
        advice=sign.advice or cause.advice,
        consequences=consequences,
    )


def _order(finding: Finding) -> tuple[int, int, float, str]:
    return SEVERITIES.index(finding.severity), len(finding.consequences), finding.confidence, finding.cause
