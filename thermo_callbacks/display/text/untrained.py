"""The layers that are not trained, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNTRAINED_TAG = "thermo/untrained_layers"
_MOST = 50  # rows of a table that somebody reads


class UntrainedRow(NamedTuple):
    """Weights of a layer that are not trained."""

    label: str
    size: int
    reason: str
    since: int  # step


def untrained_text(rows: Sequence[UntrainedRow], total: int) -> str:
    """Write which of the ``total`` weights are not trained, why, and since which step.

    Returns:
        A sentence and, unless all are trained, a table in Markdown.

    Example:
        >>> print(untrained_text([UntrainedRow("net.0", 25, "frozen", 0)], 100))
        25.0% of the 100 weights are not trained.
        <BLANKLINE>
        | layer | weights | why | since step |
        | --- | ---: | --- | ---: |
        | `net.0` | 25 | frozen | 0 |
    """
    if not rows:
        return f"All {total:,} weights are trained."
    share = sum(row.size for row in rows) / total
    lines = [
        f"{share:.1%} of the {total:,} weights are not trained.",
        "",
        "| layer | weights | why | since step |",
        "| --- | ---: | --- | ---: |",
    ]
    lines += [f"| `{row.label}` | {row.size:,} | {row.reason} | {row.since:,} |" for row in rows[:_MOST]]
    more = len(rows) - _MOST
    return "\n".join([*lines, *([f"\nand {more:,} more"] if more > 0 else [])])
