"""Output of the subcommands in the terminal."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text


def new_console() -> Console:
    """Console that prints texts as they are: a bracket in a name is no style, and numbers have no colours."""
    return Console(highlight=False, emoji=False, markup=False)


def print_interpretation(console: Console, paragraphs: Iterable[str]) -> None:
    """Print what a subcommand's values say."""
    console.print("\nWhat this says:\n")
    for paragraph in paragraphs:
        console.print(Padding(Text(paragraph), (0, 0, 1, 2)))


@contextlib.contextmanager
def forgiving_output() -> Iterator[None]:
    """Print a question mark for what the output's encoding lacks: Lightning's progress bar has signs beyond ASCII."""
    output = sys.stdout
    if not isinstance(output, io.TextIOWrapper):
        yield
        return
    errors = output.errors
    output.reconfigure(errors="replace")
    try:
        yield
    finally:
        output.reconfigure(errors=errors)
