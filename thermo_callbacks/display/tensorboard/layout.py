"""Layout of TensorBoard's Custom Scalars page: charts that answer questions."""

from __future__ import annotations

import re
from collections.abc import Collection

from thermo_callbacks.catalog import ScalarChart, charts

Layout = dict[str, dict[str, list[str | list[str]]]]


def custom_scalar_layout(tags: Collection[str], *, prefix: str = "") -> Layout:
    """Layout of the Custom Scalars page, by the questions that a person asks.

    All layers share a chart by one pattern a quantity, so the layout has the same size for 4 and for 400 layers, takes
    in layers that show up later, and two runs with different models share their charts; likewise the activations. A
    chart appears when one of its tags is in ``tags``, one that compares when those are that it can't do without, and
    it always asks for all its tags: what is logged later finds its place, and TensorBoard takes equal charts of two
    runs for one. Error bands need their three, logged at the same steps (NaN where an end has no value), or
    TensorBoard refuses to draw them. The charts of the equilibrium ratio ask for the line at 1 as well.

    TensorBoard keeps only the last layout of a run. To add charts of your own, write them together with these:
    ``writer.add_custom_scalars({**yours, **custom_scalar_layout(tags)})``.

    Args:
        tags: Tags that the run logs, those of single layers included (``thermo_temperature/<layer>``).
        prefix: What the logger puts before every tag.

    Returns:
        Question to chart title to ``[kind, tags]``, for ``SummaryWriter.add_custom_scalars``; empty if no tag is known.

    Example:
        >>> custom_scalar_layout({"thermo_heat/net.0"})
        {'Where does the loss go, and which layer lowers it?':
         {'Heat by layer: the lowest removed most': ['Multiline', ['thermo_heat/.+$']]}}
    """
    return {
        question: {chart.title: _content(chart, prefix) for chart in drawn}
        for question, drawn in charts_present(tags).items()
    }


def charts_present(tags: Collection[str]) -> dict[str, list[ScalarChart]]:
    """Question to the charts of a run with these tags, in the order of the page; questions without any are left out."""
    families = {tag.partition("/")[0] for tag in tags if "/" in tag}
    drawn = {
        question: [chart for chart in asked if _appears(chart, tags, families)] for question, asked in charts().items()
    }
    return {question: found for question, found in drawn.items() if found}


def _appears(chart: ScalarChart, tags: Collection[str], families: Collection[str]) -> bool:
    whole = sum(tag in tags for tag in chart.whole)
    return whole >= chart.least or any(family in families for family in chart.families)


# TensorBoard draws the lines of a category before its bands, whatever their order here
def _content(chart: ScalarChart, prefix: str) -> list[str | list[str]]:
    if chart.band:  # its tags are names; those of lines are patterns
        return ["Margin", [prefix + tag for tag in chart.tags]]
    # TensorBoard matches a pattern at the start of a tag only: its end must be said
    names = (*chart.whole, *filter(None, [chart.reference]))
    patterns = [re.escape(prefix + tag) + "$" for tag in names]
    patterns += [re.escape(f"{prefix}{family}/") + ".+$" for family in chart.families]
    return ["Multiline", patterns]
