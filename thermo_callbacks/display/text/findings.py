"""Findings in words: lines for a console, and a text in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from thermo_callbacks.display.text.numbers import number
from thermo_callbacks.findings import Finding

FINDINGS_TAG = "thermo/_findings"
"""The sign before the name puts the text before the others."""


def console_lines(findings: Sequence[Finding], most: int) -> list[str]:
    """One line a finding above "info", the gravest first, and one that says where there is more.

    Returns:
        At most ``most`` lines; none where there is nothing to say.
    """
    told = [console_line(each) for each in findings if each.severity != "info"]
    if not told:
        return []
    left = len(told) - (most - 1)
    more = f"{left} more finding{'s' * (left > 1)}, and the evidence" if left > 0 else "the evidence"
    return [*told[: most - 1], f"thermo_callbacks: {more}: monitor.findings(), or thermo-callbacks check LOGDIR"]


def console_line(finding: Finding) -> str:
    """A finding in one line that names who says so."""
    return f"thermo_callbacks: {finding.line}"


def findings_text(findings: Sequence[Finding], step: int) -> str:
    """All findings up to a step as a text in Markdown."""
    if not findings:
        return f"Up to step {step} nothing was found that is wrong with this run."
    parts = [f"**Up to step {step}:**"]
    for each in findings:
        where = f" in {each.place}" if each.layers else ""
        follows = f" It explains the signs of these too: {', '.join(each.consequences)}." if each.consequences else ""
        evidence = ", ".join(f"`{tag}` {number(value)}" for tag, value in each.evidence.items())
        parts.append(
            f"**{each.severity}: {each.cause}{where}**, since step {each.since_step}. {each.text}{follows}\n\n"
            f"*What to do:* {each.advice}" + (f"\n\n*Evidence:* {evidence}" if evidence else "")
        )
    return "\n\n".join(parts)
