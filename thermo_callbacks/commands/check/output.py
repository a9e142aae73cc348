"""Findings as lines of text, and as a file of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.commands.report.runs import Run
from thermo_callbacks.display.text.numbers import number
from thermo_callbacks.findings import Finding

GENERATOR = "thermo-callbacks check"
"""What a file names as its maker."""


def lines_of(run: Run, diagnosis: Diagnosis) -> Iterator[str]:
    """The diagnosis on a run in lines: one if nothing was found."""
    if not diagnosis.findings:
        yield f"{run.name}: {diagnosis.nothing}."
        return
    count = len(diagnosis.findings)
    yield f"{run.name}: {count} finding{'s' * (count > 1)} up to step {diagnosis.step:,}."
    for finding in diagnosis.findings:
        yield from _lines(finding)


def _lines(finding: Finding) -> Iterator[str]:
    where = f" in {finding.place}" if finding.layers else ""
    sure = "" if finding.confidence == 1.0 else f", confidence {100.0 * finding.confidence:.4g} %"
    yield f"  {finding.severity}: {finding.cause}{where}, since step {finding.since_step:,}{sure}"
    yield f"    Seen: {finding.text}"
    if finding.evidence:
        yield f"    Evidence: {', '.join(f'{tag} = {number(value)}' for tag, value in finding.evidence.items())}"
    yield f"    Do: {finding.advice}"
    if finding.consequences:
        yield f"    Explains the signs of: {', '.join(finding.consequences)}"


def check_target(path: Path) -> None:
    """Make sure that findings may be written to a path."""
    if path.is_dir():
        raise ValueError(
            f"--json must be a file, got {str(path)!r}, which is a folder: give {str(path / 'findings.json')!r}"
        )
    if path.suffix.lower() != ".json":
        raise ValueError(f"--json must end in .json, got {str(path)!r}: give {str(path.with_suffix('.json'))!r}")
    if path.exists() and not _is_ours(path):
        raise ValueError(f"--json {str(path)!r} exists and holds no findings of this program: give another name")


def _is_ours(path: Path) -> bool:
    if not path.is_file():  # to read a pipe would wait for ever
        return False
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("generator") == GENERATOR


def write_findings(path: Path, checked: Sequence[tuple[Run, Diagnosis]]) -> None:
    """Write the findings of some runs as JSON."""
    runs = [
        {
            "name": run.name,
            "folder": str(run.folder),
            "step": diagnosis.step,
            "causes_looked_for": diagnosis.looked_for,
            "findings": [finding.to_json() for finding in diagnosis.findings],
            "notices": run.notices,
        }
        for run, diagnosis in checked
    ]
    content = {"generator": GENERATOR, "version": version("thermo-callbacks"), "runs": runs}
    try:
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as fault:
        raise ValueError(f"--json {str(path)!r} can't be written ({fault.strerror}): give another name") from fault
