"""What is wrong with a run, found in its logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from thermo_callbacks.commands.report.csv_file import CSV_FILE
from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.commands.report.runs import Run, is_ours
from thermo_callbacks.findings import CAUSES, READS, Cause, Finding, History, diagnose
from thermo_callbacks.findings.history import is_validation_loss


class Diagnosis(NamedTuple):
    """What is wrong with a run.

    Attributes:
        findings: The gravest first; empty where nothing was found.
        looked_for: How many causes have something in the logs that their rules read.
        step: Last step that they cover.
    """

    findings: list[Finding]
    looked_for: int
    step: int

    @property
    def critical(self) -> bool:
        """Whether one of them makes the rest of the run a waste."""
        return any(finding.severity == "critical" for finding in self.findings)

    @property
    def nothing(self) -> str:
        """What to say where nothing was found, in one sentence."""
        if not self.looked_for:
            return "its logs hold no quantity that a cause is read from, so nothing can be said"
        # some are of optimizers or networks that the run has not; of most causes no sign means logs that tell little
        few = f", but only {self.looked_for} of {len(CAUSES)} causes can be looked for"
        return f"nothing found up to step {self.step:,}{few * (2 * self.looked_for < len(CAUSES))}"


def diagnosis_of(run: Run, causes: Mapping[str, Cause] = CAUSES) -> Diagnosis:
    """Find what is wrong with a run; a rule that its logs break is left out, and noted with the run."""
    history = history_of(run)
    with np.errstate(all="ignore"):  # values may be infinite
        sound = {name: cause for name, cause in causes.items() if _runs(cause, history, run)}
        findings = diagnose(history, sound)
    there = {*history, *(tag.partition("/")[0] for tag in history)}
    # a rule without quantities reads what was inspected when training started
    looked_for = sum(
        bool(there.intersection(cause.reads) or (not cause.reads and history.inspected)) for cause in sound.values()
    )
    return Diagnosis(findings, looked_for, history.step)


def _runs(cause: Cause, history: History, run: Run) -> bool:
    # logs may be anything: what is odd in them costs the causes that read it, and no page
    try:
        cause.rule(history)
    except Exception as fault:
        run.notices.append(f"Whether it has {cause.name} can't be told ({type(fault).__name__}: {fault}).")
        return False
    return True


def history_of(run: Run) -> History:
    """What was recorded of a run, of the quantities that rules read."""
    history = History(READS, run.configurations.settings)
    validation = next(filter(is_validation_loss, run.scalars), "")
    for tag in _in_order(run):
        series = run.scalars[tag]
        if is_ours(tag):
            history.add({}, series.last_step)
        if tag in READS or tag.partition("/")[0] in READS or tag == validation:
            for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
                history.add({tag: value}, step)
    return history


def _in_order(run: Run) -> list[str]:
    """Tags of a run, members of a family in order of depth, which a table's columns have lost."""
    if run.files != [CSV_FILE]:
        return list(run.scalars)
    settings = run.configurations.settings
    lists = [settings.get(name) for name in ("watched_layers", "engine_types")]
    known = [str(name) for each in lists if isinstance(each, (list, dict)) for name in each]
    places = {name: place for place, name in enumerate(known)}

    def depth(tag: str) -> tuple[str, int, object]:
        family, _, member = tag.partition("/")
        return family, places.get(member, len(places)), natural(member)

    return sorted(run.scalars, key=depth)
