"""Options of the command line, made from dataclasses of settings.

jsonargparse's own ``add_class_arguments`` is not used: it names options with underscores, takes no list without JSON
brackets, and explains a wrong value in several lines that name its types and not the cure.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser
from jsonargparse.typing import restricted_number_type

PROGRAM = "thermo-callbacks"
INTERRUPTED = 130
"""The shell's exit status of a program ended by Ctrl-C."""
MOST_EPOCHS = 10**6
"""Passes over the data that a run may have: longer than anybody waits."""
FEWEST_STEPS = 8
"""Steps in the shortest window that a monitor takes, known without importing it, which takes seconds."""
Settings = TypeVar("Settings")


class Parser(ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002  jsonargparse's signature
        """Say what is wrong, and exit with status 2."""
        self.exit(2, f"{PROGRAM}: error: {' '.join(message.split()).removeprefix('argument ')}\n")


@dataclasses.dataclass(frozen=True)
class OptionType:
    """Reads an option's text.

    Attributes:
        name: Name in the help.
        read: Turns the text into a value, or raises a ValueError.
        wanted: What to give, for the error.
    """

    name: str
    read: Callable[[str], Any]
    wanted: str = ""

    def __str__(self) -> str:
        return self.name

    def __call__(self, text: str) -> Any:
        """Read a text, or say what to give in its place."""
        try:
            return self.read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"give {self.wanted}, not {text!r}") from None


def _number(name: str, base: type, limits: list[tuple[str, float]], wanted: str, metavar: str) -> dict[str, Any]:
    restricted = restricted_number_type(None, base, limits)
    # a number of the plain type: the restricted one can be neither pickled nor saved with a run
    return {"type": OptionType(name, lambda text: base(restricted(text)), wanted), "metavar": metavar}


def whole(least: int, most: int | None = None) -> dict[str, Any]:
    """A field's metadata: its option takes a whole number, of any size without a most."""
    limits: list[tuple[str, float]] = [(">=", least), *([] if most is None else [("<=", most)])]
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
    return _number("whole number", int, limits, f"a whole number {wanted}", "N")


def choice(names: Collection[str]) -> dict[str, Any]:
    """A field's metadata: its option takes one of some names."""
    return {"choices": list(names)}


POSITIVE = _number("number", float, [(">", 0.0), ("<", float("inf"))], "a number above 0 such as 0.01", "X")
SHARE = _number("share", float, [(">=", 0.0), ("<", 1.0)], "a share from 0 to below 1 such as 0.01 for 1 %", "X")


def _path(text: str | Path) -> Path:
    # pathlib takes an empty one for the current folder, which nobody asked to be written to
    if not str(text).strip() or "\0" in str(text):
        raise ValueError
    return Path(text)


FOLDER = {"type": OptionType("folder", _path, "the name of a folder, . for the one that you are in"), "metavar": "DIR"}
FILE = {"type": OptionType("file", _path, "the name of a file"), "metavar": "FILE"}


def settings_parser(settings: type, description: str) -> Parser:
    """Parser with an argument for each field of a dataclass; its docstring is the help.

    Args:
        settings: The dataclass. A field's metadata says how its argument is read, ``positional`` that it is no option;
            ``in_`` gives ``--in``.
        description: What the subcommand does.

    Returns:
        The parser.
    """
    parser = Parser(description=description, allow_abbrev=False)  # --seed is none of compare's, and not its --seeds
    texts = {entry.args[-1]: entry.description for entry in parse_docstring(settings.__doc__ or "").meta}
    for field in dataclasses.fields(settings):
        keywords: dict[str, Any] = {"help": texts[field.name], **field.metadata}
        name = field.name.strip("_")
        if not keywords.pop("positional", False):
            name = f"--{name.replace('_', '-')}"
        default = field.default
        if default is None:
            keywords["default"] = argparse.SUPPRESS
        elif default is not dataclasses.MISSING:
            keywords["default"] = list(default) if isinstance(default, tuple) else default  # jsonargparse's own lists
        parser.add_argument(name, **keywords)
    return parser


def read_settings(settings: type[Settings], chosen: Mapping[str, Any]) -> Settings:
    """Settings with the values that a parser of :func:`settings_parser` read."""
    names = {field.name.strip("_"): field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    values = {names[key]: tuple(item) if isinstance(item, list) else item for key, item in chosen.items()}
    return settings(**values)
