"""Layout of TensorBoard's Custom Scalars page: charts that answer questions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from thermo_callbacks.catalog import ScalarChart, charts, members

Layout = dict[str, dict[str, list[str | list[str]]]]

MOST_LINES = 16
"""Lines of a chart: more can't be told apart."""


def custom_scalar_layout(tags: Collection[str], *, prefix: str = "", empty: Collection[str] = frozenset()) -> Layout:
    """Layout of the Custom Scalars page, by the questions that a person asks.

    All layers share a chart by one pattern a quantity, so the layout has the same size for 4 and for 16 layers, takes
    in layers that show up later, and two runs with different models share their charts; likewise the activations. Of
    more than 16, which only ``layers="all"`` and its like show one by one, each 16 have a chart with their names.

    A chart appears when one of its tags is in ``tags``, one that compares when those are that it can't do without, and
    it always asks for all its tags: what is logged later finds its place, and TensorBoard takes equal charts of two
    runs for one. What never had a value makes no chart: it would be an empty frame. Error bands need their three,
    logged at the same steps (NaN where an end has no value), or TensorBoard refuses to draw them; they appear with
    the value. That of the equilibrium ratio of the run asks for the line at 1 as well.

    TensorBoard keeps only the last layout of a run. To add charts of your own, write them together with these:
    ``writer.add_custom_scalars({**yours, **custom_scalar_layout(tags)})``.

    Args:
        tags: Tags that the run logs, those of single layers included (``thermo_temperature/<layer>``).
        prefix: What the logger puts before every tag.
        empty: Those of them that have been NaN or infinite whenever they were logged.

    Returns:
        Question to chart title to ``[kind, tags]``, for ``SummaryWriter.add_custom_scalars``; empty if no tag is known.

    Example:
        >>> custom_scalar_layout({"thermo_heat/net.0"})
        {'Where does the loss go, and which layer lowers it?':
         {'Heat by layer [loss]: the lowest removed most': ['Multiline', ['thermo_heat/.+$']]}}
    """
    return {
        question: {title: content for chart in drawn for title, content in _parts(chart, tags, prefix)}
        for question, drawn in charts_present(tags, empty=empty).items()
    }


def charts_present(tags: Collection[str], *, empty: Collection[str] = frozenset()) -> dict[str, list[ScalarChart]]:
    """Question to the charts of a run with these tags, in the order of the page; questions without any are left out."""
    known = {tag for tag in tags if tag not in empty}
    families = {tag.partition("/")[0] for tag in known if "/" in tag}
    drawn = {
        question: [chart for chart in asked if _appears(chart, tags, known, families)]
        for question, asked in charts().items()
    }
    return {question: found for question, found in drawn.items() if found}


def _appears(chart: ScalarChart, tags: Collection[str], known: Collection[str], families: Collection[str]) -> bool:
    if chart.band:  # an end may have no value in all of the run: a noise scale without an upper one, for example
        return chart.tags[0] in known and all(tag in tags for tag in chart.tags)
    if chart.families:
        return any(family in families for family in chart.families)
    return sum(tag in known for tag in chart.whole) >= chart.least


def _parts(chart: ScalarChart, tags: Collection[str], prefix: str) -> Iterator[tuple[str, list[str | list[str]]]]:
    """A chart's title and content; of one with too many lines, those of its parts."""
    shown = [f"{family}/{name}" for family in chart.families for name in members(dict.fromkeys(tags, 0.0), family)]
    if len(shown) <= MOST_LINES:
        yield chart.title, _content(chart, prefix)
        return
    shown.sort(key=_natural)
    parts = [shown[start : start + MOST_LINES] for start in range(0, len(shown), MOST_LINES)]
    for number, part in enumerate(parts, 1):
        yield f"{chart.title} ({number} of {len(parts)})", ["Multiline", _patterns(prefix, part)]


def _natural(tag: str) -> list[tuple[bool, int, str]]:
    """Order in which a person counts: ``net.2`` before ``net.10``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", tag)]


# TensorBoard draws the lines of a category before its bands, whatever their order here
def _content(chart: ScalarChart, prefix: str) -> list[str | list[str]]:
    if chart.band:  # its tags are names; those of lines are patterns
        return ["Margin", [prefix + tag for tag in chart.tags]]
    if chart.families:  # alone, since 16 members leave no room for the whole run
        return ["Multiline", [re.escape(f"{prefix}{family}/") + ".+$" for family in chart.families]]
    return ["Multiline", _patterns(prefix, [*chart.whole, *filter(None, [chart.reference])])]


def _patterns(prefix: str, tags: Collection[str]) -> list[str]:
    """TensorBoard matches a pattern at the start of a tag only: its end must be said."""
    return [re.escape(prefix + tag) + "$" for tag in tags]
