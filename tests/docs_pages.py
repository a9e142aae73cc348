"""Blocks of code in a page of Markdown, and commands with the output that the page promises."""

from __future__ import annotations

import re
from typing import NamedTuple

_BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)
_ONE = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan)"
_NUMBER = re.compile(rf"(?P<value>{_ONE})(?: (?:±|\+-) (?P<error>{_ONE}))?")


class Block(NamedTuple):
    """A fenced block: its language, the file it is to be saved as (or none), its text."""

    language: str
    title: str | None
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(match["language"], match["title"], match["text"]) for match in _BLOCK.finditer(page)]


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a console block, and the lines of its output."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(promised: list[str], printed: list[str]) -> bool:
    """Whether a command printed what the page shows, where a line of three dots stands for any lines."""
    if not promised:
        return not printed
    if promised[0] == "...":
        return any(matches(promised[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and _alike(promised[0], printed[0]) and matches(promised[1:], printed[1:])


def _alike(said: str, got: str) -> bool:
    """Equal words; numbers that could be those of another machine, where rounding leads training astray."""
    if _words(said) != _words(got):
        return False
    here, there = ([float(match["value"]) for match in _NUMBER.finditer(line)] for line in (said, got))
    errors = [float(match["error"] or "nan") for match in _NUMBER.finditer(said)]
    return all(
        a != a != b != b or abs(a - b) <= (4.0 * error if error == error else 0.3 * max(abs(a), abs(b)))
        for a, b, error in zip(here, there, errors, strict=True)
    )


def _words(line: str) -> list[str]:
    return re.sub("─+", "─", _NUMBER.sub("#", line)).split()
