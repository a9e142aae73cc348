"""The result of a comparison, and its files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thermo_callbacks.comparison.csv_files import runs_csv, summary_csv
from thermo_callbacks.comparison.figure import comparison_figure
from thermo_callbacks.comparison.interpretation import read_comparison
from thermo_callbacks.comparison.records import ActivationSummary, RunRecord, summarise
from thermo_callbacks.comparison.tables import comparison_markdown, comparison_tables, run_notes
from thermo_callbacks.comparison.written_files import FILES, write_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


@dataclass(frozen=True)
class ComparisonResult:
    """Result of a comparison.

    Attributes:
        records: One a run, those of one activation one after another, in the order of the seeds.
        directory: Folder of the files.
    """

    records: Sequence[RunRecord]
    directory: Path

    def summaries(self) -> list[ActivationSummary]:
        """Means with 95 % intervals, one summary an activation."""
        return summarise(self.records)

    def tables(self) -> list[Table]:
        """Tables for :meth:`rich.console.Console.print`."""
        return comparison_tables(self.records)

    def notes(self) -> list[str]:
        """Sentences on runs that did not finish, and on what was not measured."""
        return run_notes(self.records)

    def reading(self) -> list[str]:
        """What the runs show, in sentences."""
        return read_comparison(self.records)

    def figure(self) -> Figure:
        """Efficiency through the depth, temperature against entropy, efficiency against loss."""
        return comparison_figure(self.records)

    def write(self) -> dict[str, Path]:
        """Write tables and figure into the folder.

        Returns:
            What is in a file to the file: ``"runs"`` and ``"summary"`` as CSV, ``"report"`` as Markdown, ``"figure"``
            as PNG.

        Raises:
            ValueError: If one of them would replace a file that no comparison wrote, or that was changed since.
        """
        image = io.BytesIO()
        self.figure().savefig(image, format="png", dpi=150)
        report = comparison_markdown(self.records, self.reading()) + "\n![](figure.png)\n"
        texts = [text.encode() for text in (runs_csv(self.records), summary_csv(self.records), report)]
        write_files(self.directory, dict(zip(FILES, [*texts, image.getvalue()], strict=True)))
        return {Path(name).stem: self.directory / name for name in FILES}
