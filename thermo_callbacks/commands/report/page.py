"""Rendering of the page from its template."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.commands.report.anchors import entry_of
from thermo_callbacks.commands.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from thermo_callbacks.commands.report.colours import style
from thermo_callbacks.commands.report.drawings import MOST_DRAWN, drawings_of
from thermo_callbacks.commands.report.findings import diagnosis_of
from thermo_callbacks.commands.report.key_charts import key_charts_of
from thermo_callbacks.commands.report.key_numbers import rows_of
from thermo_callbacks.commands.report.notes import marked_up, note_of
from thermo_callbacks.commands.report.runs import Run
from thermo_callbacks.commands.report.sections import sections_of
from thermo_callbacks.commands.report.summary import facts_of, summary_of
from thermo_callbacks.commands.report.target import GENERATOR
from thermo_callbacks.commands.report.verdict import causes_of, untrained_of, verdicts_of
from thermo_callbacks.display.tensorboard.legend import legend
from thermo_callbacks.display.tensorboard.page import LEGEND_TAG
from thermo_callbacks.display.text.configuration import is_configuration
from thermo_callbacks.display.text.findings import FINDINGS_TAG


def render_page(runs: Sequence[Run], now: datetime.datetime) -> str:
    """Render the page as HTML that refers to nothing outside of itself."""
    environment = Environment(
        loader=PackageLoader("thermo_callbacks.commands.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked_up"] = marked_up
    tags = {tag for run in runs for tag in run.tags}
    families = {tag.partition("/")[0] for tag in tags}
    rows = rows_of(runs)
    present = [(each, entry_of(each), each.present(tags, families)) for each in QUANTITIES]
    entries = [entry for entry in present if entry[2]]
    diagnoses = [diagnosis_of(run) for run in runs]
    context: dict[str, Any] = {
        "generator": GENERATOR,
        "version": version("thermo-callbacks"),
        "written": f"{now:%Y-%m-%d %H:%M}",
        "light": style(dark=False),
        "dark": style(dark=True),
        "drawings": drawings_of(runs),  # first, since it notes what can't be drawn
        "verdicts": verdicts_of(runs, diagnoses, {entry for _, entry, _ in entries}),
        "causes": causes_of(diagnoses),
        "key_charts": key_charts_of(runs, diagnoses),
        "untrained": untrained_of(runs),
        "runs": [summary_of(run, place) for place, run in enumerate(runs)],
        "facts": facts_of(runs),
        "key_rows": [row for row in rows if row.key],
        "other_rows": [row for row in rows if not row.key],
        "sections": sections_of(runs),
        "undrawn": len(runs) - MOST_DRAWN,
        "symbols": _symbols(tags),
        "legend": entries,
        "texts": [(run.name, tag, note_of(text)) for run in runs for tag, text in run.texts.items() if _is_wanted(tag)],
        "counter": itertools.count(1).__next__,
        "frame": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    }
    page = environment.get_template("page.html.jinja").render(context)
    # names of files, and JSON, may hold halves of signs, which have no place in a file of text
    return page.encode("utf-8", "replace").decode("utf-8")


def _symbols(tags: set[str]) -> str:
    """The legend's paragraph on symbols."""
    paragraphs = legend(tags).split("\n\n")
    return next((paragraph for paragraph in paragraphs if paragraph.startswith("Symbols:")), "")


def _is_wanted(tag: str) -> bool:
    # the page has a legend and a verdict of its own, and says what a run was among its facts
    return tag.startswith("thermo/") and tag not in (LEGEND_TAG, FINDINGS_TAG) and not is_configuration(tag)
