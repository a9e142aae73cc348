"""Texts of a run as HTML: the part of Markdown that this package writes."""

from __future__ import annotations

import re
from itertools import groupby

from markupsafe import Markup, escape

_MARKS = ((r"\*\*(.+?)\*\*", "b"), (r"\*(.+?)\*", "em"), (r"`(.+?)`", "code"))


def marked_up(text: str) -> Markup:
    """HTML of a text with stars and backquotes, all else in it as it is.

    Args:
        text: Text with ``**strong**``, ``*emphasised*`` and `` `code` ``.

    Returns:
        HTML without any link or image.

    Example:
        >>> marked_up("take **q** < 1, see *Images*")
        Markup('take <b>q</b> &lt; 1, see <em>Images</em>')
    """
    html = str(escape(text))
    for pattern, tag in _MARKS:
        html = re.sub(pattern, rf"<{tag}>\1</{tag}>", html)
    return Markup(html)


def note_of(text: str) -> Markup:
    r"""HTML of a text of several paragraphs: headings, tables, and the marks of :func:`marked_up`.

    Links and images stay as they were typed: a page must ask nothing of the network, whatever a run has logged.

    Args:
        text: Markdown.

    Returns:
        HTML.

    Example:
        >>> note_of("### Shape\n\n| Layer | Width |\n|---|---|\n| 1 | **8** |")
        Markup('<h4>Shape</h4><table><tr><th>Layer</th><th>Width</th></tr><tr><td>1</td><td><b>8</b></td></tr></table>')
    """
    blocks = [(kind, list(lines)) for kind, lines in groupby(text.splitlines(), key=_kind)]
    return Markup("").join(_BLOCKS[kind](lines) for kind, lines in blocks if kind)


def _kind(line: str) -> str:
    stripped = line.strip()
    return "" if not stripped else "heading" if stripped.startswith("#") else "row" if stripped[0] == "|" else "words"


def _headings(lines: list[str]) -> Markup:
    return Markup("").join(Markup("<h4>{}</h4>").format(marked_up(line.strip().lstrip("#").strip())) for line in lines)


def _words(lines: list[str]) -> Markup:
    return Markup("<p>{}</p>").format(marked_up(" ".join(line.strip() for line in lines)))


def _table(lines: list[str]) -> Markup:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    ruled = len(rows) > 1 and all(re.fullmatch(r":?-+:?", cell) for cell in rows[1])
    head, body = (rows[:1], rows[2:]) if ruled else ([], rows)
    head = [row for row in head if any(row)]  # a table of facts has none
    html = Markup("").join([*(_row(row, "th") for row in head), *(_row(row, "td") for row in body)])
    return Markup("<table>{}</table>").format(html)


def _row(cells: list[str], tag: str) -> Markup:
    opening, closing = Markup(f"<{tag}>"), Markup(f"</{tag}>")
    return Markup("<tr>{}</tr>").format(Markup("").join(opening + marked_up(cell) + closing for cell in cells))


_BLOCKS = {"heading": _headings, "row": _table, "words": _words}
