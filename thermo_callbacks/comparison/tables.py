"""Activations compared, as tables in the terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from thermo_callbacks.catalog import compared
from thermo_callbacks.comparison.columns import MISSING, Column, depth_columns, measured_columns
from thermo_callbacks.comparison.records import MEASURES, ActivationSummary, RunRecord, summarise

_MOST_DEPTHS = 5  # columns that fit a terminal of 80
_RESULTS = ("val_loss_best", "val_loss_final", "accuracy", "seconds")
_ENGINES, _TEMPERATURES = (
    tuple(quantity.tag.removeprefix("thermo/") for quantity in compared(table)) for table in ("engines", "temperatures")
)
_INTERVALS = "± half of the 95 % interval of the mean over the seeds (Student's t)."
_EFFICIENCIES = {
    "work": "Power ratio (work efficiency) by depth: share of the power taken in that an activation passes on.",
    "learning": "Learning efficiency by depth: share of the learning signal's power that gets back.",
}


def _sections(summaries: Sequence[ActivationSummary], most: int | None = None) -> list[tuple[str, list[Column]]]:
    """Titles and columns of the tables that have any."""
    endings = [Column("runs", [each.outcome for each in summaries])]
    engines = [Column("engine", [each.engine or MISSING for each in summaries])]
    sections = [
        ("What training came to", [*measured_columns(summaries, _RESULTS), *endings]),
        ("Heat engines", [*engines, *measured_columns(summaries, _ENGINES)]),
        ("Temperatures and entropy at the end", measured_columns(summaries, _TEMPERATURES)),
        (_EFFICIENCIES["work"], depth_columns([each.work_efficiency for each in summaries], most)),
        (_EFFICIENCIES["learning"], depth_columns([each.learning_efficiency for each in summaries], most)),
    ]
    return [section for section in sections if section[1]]


def run_notes(records: Sequence[RunRecord]) -> list[str]:
    """A sentence on each run that did not finish, and on what no run measured.

    Returns:
        The sentences.

    Example:
        >>> run_notes([RunRecord(activation="Exp", seed=1, status="diverged", message="the loss was nan")])[0]
        'Exp, seed 1, diverged: the loss was nan.'
    """
    notes = [
        f"{run.activation}, seed {run.seed}, {run.status}: {run.message.rstrip('.')}."
        for run in records
        if run.status != "finished"
    ]
    finished = [run for run in records if run.status == "finished"]
    absent = [m.name for m in MEASURES if not any(math.isfinite(run.values.get(m.key, math.nan)) for run in finished)]
    if not any(run.learning_efficiency for run in finished):
        absent.append("learning efficiency")
    return [*notes, f"Not measured: {', '.join(absent)}."] if absent and finished else notes


def comparison_tables(records: Sequence[RunRecord]) -> list[Table]:
    """Tables of a comparison for the terminal, one row an activation.

    Losses, accuracy, time and how the runs ended; engine type, work efficiency of the network, entropy destruction and
    Laplacian; temperatures and entropy; work efficiency by depth; learning efficiency by depth, each at five depths if
    there are more. Means over the runs that finished, with 95 % intervals. A value that does not exist reads ``-``;
    columns and tables without any value are left out.

    Returns:
        Tables for :meth:`rich.console.Console.print`.

    Example:
        >>> runs = [RunRecord(activation="ReLU", seed=0, values={"accuracy": 0.5}, engine="passive")]
        >>> [column.header.plain for column in comparison_tables(runs)[0].columns]
        ['activation', 'accuracy', 'runs']
    """
    summaries = summarise(records)
    names = [each.activation for each in summaries]
    tables = []
    for title, columns in _sections(summaries, _MOST_DEPTHS):
        table = Table(
            title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False
        )
        table.add_column(Text("activation"), overflow="fold", vertical="bottom")
        for column in columns:
            table.add_column(
                Text(column.header), justify="right", vertical="bottom", min_width=max(map(len, column.cells))
            )
        for row in zip(names, *(column.cells for column in columns), strict=True):
            table.add_row(*map(Text, row))  # names are code, not markup
        tables.append(table)
    if tables:
        tables[-1].caption, tables[-1].caption_justify, tables[-1].caption_style = Text(_INTERVALS), "left", ""
    return tables


def comparison_markdown(records: Sequence[RunRecord], sentences: Sequence[str] = ()) -> str:
    """The tables of :func:`comparison_tables` in Markdown."""
    summaries = summarise(records)
    names = [each.activation for each in summaries]
    blocks = ["# Activations compared", *sentences]
    for title, columns in _sections(summaries):
        header = ["activation", *(column.header for column in columns)]
        rows = zip(names, *(column.cells for column in columns), strict=True)
        lines = [header, ["---", *["---:"] * len(columns)], *rows]
        blocks += [f"## {title}", "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)]
    return "\n\n".join([*blocks, _INTERVALS, *run_notes(records)]) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
