"""The subcommand ``thermo-callbacks report``."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import FILE, FOLDER, INTERRUPTED, Parser
from thermo_callbacks.commands.printing import new_console


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Settings of a report, each named like its argument.

    Attributes:
        logdir: Folder of a run, or one with runs somewhere below it; the first run is the one others are compared with.
        out: File of the page.
    """

    logdir: tuple[Path, ...] = field(metadata={"positional": True, "nargs": "+", **FOLDER, "metavar": "LOGDIR"})
    out: Path = field(default=Path("report.html"), metadata=FILE)


def report(parser: Parser, settings: ReportSettings) -> int:
    """Write the page, and print where it is."""
    print_line = partial(new_console().print, soft_wrap=True)
    target = settings.out
    try:
        # seconds of imports, which a call for help need not wait for
        from thermo_callbacks.commands.report.discovery import find_runs
        from thermo_callbacks.commands.report.page import render_page
        from thermo_callbacks.commands.report.target import check_target, write_page

        check_target(target)
        runs = find_runs(settings.logdir)
        prepare_folder(target.parent, "--out")
        page = render_page(runs, datetime.datetime.now().astimezone())
        write_page(target, page)
    except ValueError as fault:
        parser.error(str(fault))
    except KeyboardInterrupt:
        print_line("Stopped by Ctrl-C. Nothing was written.")
        return INTERRUPTED
    for run in runs:
        for notice in run.notices:
            print_line(f"{run.name}: {notice}")
    names = ", ".join(run.name for run in runs)
    size = f"{len(page.encode('utf-8')) / 1e6:.1f} MB"
    print_line(f"Wrote {target} ({size}): {len(runs)} run{'s' * (len(runs) > 1)}, {names}.")
    print_line(f"Open it in a browser: {target.resolve().as_uri()}")
    return 0
