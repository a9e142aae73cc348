"""The subcommand ``thermo-callbacks check``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import FILE, FOLDER, INTERRUPTED, Parser
from thermo_callbacks.commands.printing import new_console

if TYPE_CHECKING:
    from thermo_callbacks.commands.report.findings import Diagnosis
    from thermo_callbacks.commands.report.runs import Run

CRITICAL = 1
"""Exit status where a run has a critical finding."""


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Settings of a check, each named like its argument.

    Attributes:
        logdir: Folder of a run, or one with runs somewhere below it.
        json: File that the findings are written to as well.
    """

    logdir: tuple[Path, ...] = field(metadata={"positional": True, "nargs": "+", **FOLDER, "metavar": "LOGDIR"})
    json: Path | None = field(default=None, metadata=FILE)


def check(parser: Parser, settings: CheckSettings) -> int:
    """Print the findings of each run; the status is 1 where one is critical."""
    console = new_console()
    try:
        # seconds of imports, which a call for help need not wait for
        from thermo_callbacks.commands.check.output import check_target, write_findings
        from thermo_callbacks.commands.report.discovery import find_runs
        from thermo_callbacks.commands.report.findings import diagnosis_of

        if settings.json is not None:
            check_target(settings.json)
        runs = find_runs(settings.logdir)
        checked = [(run, diagnosis_of(run)) for run in runs]
        if settings.json is not None:
            prepare_folder(settings.json.parent, "--json")
            write_findings(settings.json, checked)
    except ValueError as fault:
        parser.error(str(fault))
    except KeyboardInterrupt:
        console.print("Stopped by Ctrl-C.")
        return INTERRUPTED
    _print_all(checked)
    return CRITICAL if any(diagnosis.critical for _, diagnosis in checked) else 0


def _print_all(checked: list[tuple[Run, Diagnosis]]) -> None:
    from thermo_callbacks.commands.check.output import lines_of

    print_line = partial(new_console().print, soft_wrap=True)
    for run, diagnosis in checked:
        for notice in run.notices:
            print_line(f"{run.name}: {notice}")
        for line in lines_of(run, diagnosis):
            print_line(line)
