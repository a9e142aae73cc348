"""What is wrong with a run, where, how sure that is, and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From what is only worth knowing to what makes the rest of the run a waste."""


@dataclass(frozen=True)
class Finding:
    """One cause that was found in a run.

    Attributes:
        cause: What is wrong, a name of ``thermo_callbacks.findings.CAUSES``.
        layers: Where; empty if it is the whole run.
        severity: ``"critical"``: what is trained from here on is lost. ``"warning"``: the run would be better without.
            ``"info"``: right if it is meant so.
        confidence: One less the chance that errors of the measured values alone put them beyond the threshold, at any
            look at the run and in any rule (Bonferroni); 1 where they were read off the run and not estimated.
        evidence: The tags that decided, and their values.
        since_step: Step from which on the evidence is there.
        text: What was seen, with the steps that it covers.
        advice: What to do about it.
        consequences: Other causes whose signs were there too, and follow from this one.
    """

    cause: str
    layers: tuple[str, ...]
    severity: Severity
    confidence: float
    evidence: Mapping[str, float]
    since_step: int
    text: str
    advice: str
    consequences: tuple[str, ...] = field(default=())

    @property
    def place(self) -> str:
        """The layers in words, no more than three by name; empty if it is the whole run."""
        return listed(self.layers)

    @property
    def line(self) -> str:
        """Everything in one line of plain text."""
        where = f" in {self.place}" if self.layers else ""
        return f"{self.severity}: {self.cause}{where}. {self.text} {self.advice}"

    def to_json(self) -> dict[str, Any]:
        """The finding in what JSON knows: NaN is null, and infinity is text."""
        lists = {"layers": list(self.layers), "consequences": list(self.consequences)}
        return asdict(self) | lists | {"evidence": {tag: _plain(value) for tag, value in self.evidence.items()}}

    @classmethod
    def of_json(cls, plain: Mapping[str, Any]) -> Finding:
        """Take back :meth:`to_json`."""
        lists = {name: tuple(plain[name]) for name in ("layers", "consequences")}
        evidence = {tag: math.nan if value is None else float(value) for tag, value in plain["evidence"].items()}
        return cls(**{**plain, **lists, "evidence": evidence})


def listed(layers: Sequence[str]) -> str:
    """Layers in words, no more than three by name.

    Returns:
        The words; empty if there is none.

    Example:
        >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
        ('a, b', 'a, b, c and 2 more')
    """
    if len(layers) <= 3:
        return ", ".join(layers)
    return f"{', '.join(layers[:3])} and {len(layers) - 3} more"


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
