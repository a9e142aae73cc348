"""The few charts that stand on the first screen: those that findings name, and those to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from thermo_callbacks.catalog import ScalarChart
from thermo_callbacks.commands.report.anchors import entry_of_tags, quantity_of, words_of_member
from thermo_callbacks.commands.report.chart import Line, scales_of
from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.commands.report.runs import Run, tags_of_training, words_of
from thermo_callbacks.commands.report.sections import Panel, overlaid, panels_of
from thermo_callbacks.display.tensorboard.layout import charts_present
from thermo_callbacks.findings import SEVERITIES
from thermo_callbacks.findings.history import is_validation_loss

MOST = 4
"""Charts that have room in one row."""
_LOSS = "thermo/internal_energy"
_FIRST = ("thermo/step_efficiency", "thermo_update_ratio", "thermo/update_ratio", "thermo/temperature")
"""What to look at where no finding names more: whether steps gain, how large they are, how much noise there is."""
_FAR = 1e3  # times the loss that most runs begin with
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
        beyond, y_scale = _beyond(lines), chart.y_scale
        if beyond:  # one that has diverged must not flatten all others
            _, y_scale = scales_of([line for line in lines if line.name not in beyond])
            names = [name.removesuffix(": training loss") for name in beyond]
            title += f"; beyond the axis: {', '.join(names)}"
        yield Panel(replace(chart, title=title, lines=lines, y_scale=y_scale), title, entry=entry_of_tags(logged))


def _beyond(lines: Sequence[Line]) -> list[str]:
    """Names of lines that go far beyond what most of the others begin with."""
    known = [(line.name, line.series.values[np.isfinite(line.series.values)]) for line in lines]
    known = [(name, np.abs(values)) for name, values in known if len(values)]
    usual = float(np.median([values[0] for _, values in known])) if known else 0.0
    beyond = [name for name, values in known if values.max() > _FAR * usual]
    return beyond if len(beyond) < len(known) else []


def _evidence(runs: Sequence[Run], diagnoses: Sequence[Diagnosis]) -> Iterator[Panel]:
    """The first evidence of each finding, the gravest first, then the second of each."""
    found = [
        (place, -SEVERITIES.index(finding.severity), tag, run)
        for run, diagnosis in zip(runs, diagnoses, strict=True)
        for finding in diagnosis.findings
        for place, tag in enumerate(finding.evidence)
    ]
    for _, _, tag, run in sorted(found, key=lambda each: each[:2]):
        yield from _about(tag, runs, run)


def _others(runs: Sequence[Run]) -> Iterator[Panel]:
    for tag in _FIRST:
        if len(runs) == 1:
            yield from _about(tag, runs, runs[0])
        elif "/" in tag:  # layers of one run would say nothing of the others
            yield from _alone(tag, runs)


def _alone(tag: str, runs: Sequence[Run]) -> Iterator[Panel]:
    """A value by itself, without companions: with several runs their lines are many enough."""
    words = words_of_member(tag)
    title = words[0].upper() + words[1:]
    for chart in overlaid(title, [tag], runs):
        yield Panel(chart, title, entry=entry_of_tags([tag]))


def _about(tag: str, runs: Sequence[Run], run: Run) -> Iterator[Panel]:
    """The chart that a tag is drawn in; of one with layers that of one run, named where there are several."""
    if tag == _LOSS:  # it has one of its own
        return
    chart = _chart_with(tag, run)
    if chart is None or not chart.families:
        yield from panels_of(chart, runs) if chart is not None and len(runs) == 1 else _alone(tag, runs)
        return
    for panel in panels_of(chart, [run]):
        heading = panel.heading if len(runs) == 1 else f"{panel.heading}: {run.name}"
        yield panel._replace(heading=heading)


def _chart_with(tag: str, run: Run) -> ScalarChart | None:
    """The chart that is about a tag or its family, else the first that draws it."""
    names, quantity = {tag, tag.partition("/")[0]}, quantity_of(tag)
    there = (chart for charts in charts_present(run.tags).values() for chart in charts)
    drawn = [chart for chart in there if names.intersection(chart.tags)]
    own = [chart for chart in drawn if quantity is not None and chart in quantity.charts]
    return next((chart for chart in own if chart.tags[0] in names), drawn[0] if drawn else None)
