"""The charts of a page, by the questions of the TensorBoard page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from thermo_callbacks.catalog import ScalarChart
from thermo_callbacks.commands.report.anchors import entry_of_tags
from thermo_callbacks.commands.report.chart import Chart, Line, chart_of, scales_of
from thermo_callbacks.commands.report.colours import depth_colour, run_colour
from thermo_callbacks.commands.report.runs import Run, members_of, tags_of_training, words_of
from thermo_callbacks.commands.report.series import Series
from thermo_callbacks.display.tensorboard.layout import charts_present

LEARNING = "Does it learn?"
_DASHES = ("", "6 4", "2 4", "9 3 2 3")
_MOST_OF_TRAINING = 12  # charts of what training logs itself


class Panel(NamedTuple):
    """A chart with what stands around it.

    Attributes:
        heading: Its title; with several runs, and a chart for each, the run too.
        gradient: First and last member on the scale of depth, where there are too many to list; else empty.
        entry: Name of the entry of its quantity in the legend; empty for none.
    """

    chart: Chart
    heading: str
    gradient: tuple[str, ...] = ()
    entry: str = ""


class Section(NamedTuple):
    """A question and its charts."""

    question: str
    groups: list[list[Panel]]  # charts that belong side by side: one, or one for each run
    remark: str = ""


def sections_of(runs: Sequence[Run]) -> list[Section]:
    """Charts of some runs.

    Values of whole runs are laid over one another, a colour for each run. Layers and activations have a chart for each
    run, with the same axes, coloured by depth.

    Args:
        runs: The runs.

    Returns:
        Questions with charts, what training itself logs first.
    """
    sections = [_learning(runs)]
    for question, charts in charts_present({tag for run in runs for tag in run.tags}).items():
        groups = [panels for chart in charts if (panels := panels_of(chart, runs))]
        sections.append(Section(question, groups))
    return [section for section in sections if section.groups]


def _learning(runs: Sequence[Run]) -> Section:
    """What training itself logs, a chart for each number."""
    own = tags_of_training(runs)
    own = [tag for tag in own if any(len(run.scalars[tag]) > 1 for run in runs if tag in run.scalars)]
    own.sort(key=lambda tag: not re.search(r"loss|acc", tag.lower()))
    remark = ""
    if len(own) > _MOST_OF_TRAINING:
        remark = f"Not shown: {', '.join(own[_MOST_OF_TRAINING:])}."
    panels = [Panel(chart, tag) for tag in own[:_MOST_OF_TRAINING] for chart in overlaid(tag, [tag], runs)]
    return Section(LEARNING, [[panel] for panel in panels], remark)


def panels_of(chart: ScalarChart, runs: Sequence[Run]) -> list[Panel]:
    """A chart of the TensorBoard page, drawn from the runs."""
    logged = dict.fromkeys(tag for run in runs for tag in run.scalars)
    there = {*logged, *(tag.partition("/")[0] for tag in logged)}
    entry = entry_of_tags(tag for tag in chart.tags if tag in there)
    return [panel._replace(entry=entry) for panel in _drawn(chart, runs, logged)]


def _drawn(chart: ScalarChart, runs: Sequence[Run], logged: Iterable[str]) -> list[Panel]:
    if chart.band:
        value, *ends = chart.tags
        return [Panel(drawn, chart.title) for drawn in overlaid(chart.title, [value], runs, band=ends)]
    whole = [tag for tag in logged if tag in chart.tags]
    families = [name for name in dict.fromkeys(tag.partition("/")[0] for tag in logged) if name in chart.tags]
    reference = 1.0 if chart.reference else None
    if families:
        return _by_member(chart.title, families, whole, runs, reference)
    return [Panel(drawn, chart.title) for drawn in overlaid(chart.title, whole, runs, reference=reference)]


def overlaid(
    title: str, tags: Sequence[str], runs: Sequence[Run], *, band: Sequence[str] = (), reference: float | None = None
) -> list[Chart]:
    """Draw one chart of all runs: a colour for each run, a dash for each tag; of a single run a colour for each tag."""
    lines = []
    for place, run in enumerate(runs):
        for number, tag in enumerate(tags):
            if tag in run.scalars:
                words = words_of(tag)
                name = words if len(runs) == 1 else run.name if len(tags) == 1 else f"{run.name}: {words}"
                colour = run_colour(number if len(runs) == 1 else place)
                dash = "" if len(runs) == 1 else _DASHES[number % len(_DASHES)]
                lower, upper = [run.scalars.get(end) for end in band] or [None, None]
                lines.append(Line(name, run.scalars[tag], colour, dash, lower, upper))
    return [chart_of(title, lines, reference=reference)] if _any_value(lines) else []


def _any_value(lines: Sequence[Line]) -> bool:
    """Whether there is anything to draw: a quantity may have no value in all of a run."""
    return any(np.isfinite(line.series.values).any() for line in lines)


def _by_member(
    title: str, families: Sequence[str], whole: Sequence[str], runs: Sequence[Run], reference: float | None
) -> list[Panel]:
    """A chart for each run, all with the same axes."""
    members = {family: members_of(runs, family) for family in families}
    drawn = [(run, _member_lines(run, members, whole)) for run in runs]
    drawn = [(run, lines) for run, lines in drawn if _any_value(lines)]
    panels: list[Panel] = []
    if not drawn:
        return panels
    scales = scales_of([line for _, lines in drawn for line in lines], reference)
    for run, lines in drawn:
        heading = title if len(runs) == 1 else f"{title}: {run.name}"
        chart = Chart(heading, lines, *scales, reference)
        names = [line.name for line in lines if not line.strong]
        panels.append(Panel(chart, heading, (names[0], names[-1]) if len(names) > _MOST_OF_TRAINING else ()))
    return panels


def _member_lines(run: Run, members: Mapping[str, Sequence[str]], whole: Sequence[str]) -> list[Line]:
    lines = []
    for family, names in members.items():
        for place, member in enumerate(names):
            series: Series | None = run.scalars.get(f"{family}/{member}")
            if series is not None:
                lines.append(Line(member, series, depth_colour(place, len(names))))
    for number, tag in enumerate(whole):
        if tag in run.scalars:
            name = "whole run" if len(whole) == 1 else words_of(tag)
            lines.append(Line(name, run.scalars[tag], "var(--ink)", _DASHES[number % len(_DASHES)], strong=True))
    return lines
