"""The subcommand ``thermo-callbacks report``."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import Parser


def build_report_parser() -> Parser:
    """The parser of the subcommand.

    Returns:
        The parser.
    """
    parser = Parser(
        description="Puts the logs of one or several runs on one page: what they say, their key numbers and "
        "differences, charts, figures, and a legend. The page is a single file that needs no network. Event files of "
        "TensorBoardLogger and metrics.csv of CSVLogger are read, also of runs that were cut off or still train."
    )
    parser.add_argument(
        "logdir",
        nargs="+",
        type=str,
        metavar="LOGDIR",
        help="Folder of a run, or one with runs somewhere below it; the first run is the one others are compared with.",
    )
    parser.add_argument("--out", type=str, default="report.html", metavar="FILE", help="File of the page.")
    return parser


def report(parser: Parser, chosen: Any) -> int:
    """Run the subcommand.

    Args:
        parser: Says what is wrong with the arguments, and exits.
        chosen: The arguments.

    Returns:
        The exit status, 0.
    """
    # seconds of imports, which a call for help need not wait for
    from thermo_callbacks.commands.report.discovery import find_runs
    from thermo_callbacks.commands.report.page import render_page
    from thermo_callbacks.commands.report.target import check_target, write_page

    console = Console(highlight=False, emoji=False)
    say = partial(console.print, markup=False, soft_wrap=True)
    target = Path(chosen.out)
    try:
        check_target(target)
        runs = find_runs([Path(folder) for folder in chosen.logdir])
        prepare_folder(target.parent, "--out")
    except ValueError as fault:
        parser.error(str(fault))
    page = render_page(runs, datetime.datetime.now().astimezone())
    write_page(target, page)
    for run in runs:
        for notice in run.notices:
            say(f"{run.name}: {notice}")
    names = ", ".join(run.name for run in runs)
    say(f"Wrote {target} ({len(page.encode('utf-8')) / 1e6:.1f} MB): {len(runs)} run{'s' * (len(runs) > 1)}, {names}.")
    say(f"Open it in a browser: {target.resolve().as_uri()}")
    return 0
