"""The few charts that stand on the first screen: those that findings name, and those to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from thermo_callbacks.catalog import ScalarChart
from thermo_callbacks.commands.report.anchors import entry_of_tags
from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.commands.report.runs import Run, tags_of_training, words_of
from thermo_callbacks.commands.report.sections import Panel, overlaid, panels_of
from thermo_callbacks.display.tensorboard.layout import charts_present
from thermo_callbacks.findings.history import is_validation_loss

MOST = 4
"""Charts that have room in one row."""
_LOSS = "thermo/internal_energy"
_FIRST = ("thermo/step_efficiency", "thermo_update_ratio", "thermo/update_ratio", "thermo/temperature")
"""What to look at where no finding names more: whether steps gain, how large they are, how much noise there is."""
_ENOUGH = 3  # charts of a run without findings


def key_charts_of(runs: Sequence[Run], diagnoses: Sequence[Diagnosis]) -> list[Panel]:
    """Choose the charts: the loss, what the findings are read from, then what to look at first.

    Returns:
        One row of charts: of layers for the run that has the finding, of whole runs with all runs in one.
    """
    found = any(diagnosis.findings for diagnosis in diagnoses)
    panels: dict[str, Panel] = {}
    for panel in (*_loss(runs), *_evidence(runs, diagnoses), *_others(runs)):
        if len(panels) < (MOST if found else _ENOUGH):
            panels.setdefault(panel.heading, panel)
    return list(panels.values())


def _loss(runs: Sequence[Run]) -> Iterator[Panel]:
    """The loss of the windows, and beside it that of the validation, where training logs one."""
    own = tags_of_training(runs)
    validation = list(filter(is_validation_loss, own))[:1]
    logged = [tag for tag in (_LOSS, *validation) if any(tag in run.scalars for run in runs)]
    if _LOSS not in logged:
        logged = [tag for tag in own if "loss" in tag.lower()][:2]
    title = "Loss, mean of each window" if _LOSS in logged else "Loss"
    for chart in overlaid(title, logged, runs):
        lines = [line._replace(name=line.name.replace(words_of(_LOSS), "training loss")) for line in chart.lines]
        yield Panel(replace(chart, lines=lines), title, entry=entry_of_tags(logged))


def _evidence(runs: Sequence[Run], diagnoses: Sequence[Diagnosis]) -> Iterator[Panel]:
    for run, diagnosis in zip(runs, diagnoses, strict=True):
        for finding in diagnosis.findings:
            for tag in finding.evidence:
                yield from _about(tag, runs, run)


def _others(runs: Sequence[Run]) -> Iterator[Panel]:
    for tag in _FIRST:
        if len(runs) == 1:
            yield from _about(tag, runs, runs[0])
        elif "/" in tag:  # layers of one run would say nothing of the others
            yield from _alone(tag, runs)


def _alone(tag: str, runs: Sequence[Run]) -> Iterator[Panel]:
    """A value of the whole run, and no companion: with several runs their lines are many enough."""
    words = words_of(tag)
    title = words[0].upper() + words[1:]
    for chart in overlaid(title, [tag], runs):
        yield Panel(chart, title, entry=entry_of_tags([tag]))


def _about(tag: str, runs: Sequence[Run], run: Run) -> Iterator[Panel]:
    """The chart that a tag is drawn in; of one with layers that of one run, named where there are several."""
    chart = _chart_with(tag, run)
    if chart is None:
        return
    if not chart.families:
        yield from panels_of(chart, runs) if len(runs) == 1 else _alone(tag, runs)
        return
    for panel in panels_of(chart, [run]):
        heading = panel.heading if len(runs) == 1 else f"{panel.heading}: {run.name}"
        yield panel._replace(heading=heading)


def _chart_with(tag: str, run: Run) -> ScalarChart | None:
    """The first chart that draws a tag or its family; the loss has one of its own."""
    if tag == _LOSS:
        return None
    family = tag.partition("/")[0]
    drawn = [chart for charts in charts_present(run.tags).values() for chart in charts]
    return next((chart for chart in drawn if tag in chart.tags or (family != "thermo" and family in chart.tags)), None)
