"""Texts of a run as HTML that asks nothing of the network, whatever the run has logged."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

LONGEST_NOTE = 20_000
"""Signs of a text that are shown: Markdown may be written so that it takes time with the square of its length."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_MARKDOWN.disable(["link", "image", "autolink", "reference"])  # they stay as they were typed


def marked_up(text: str) -> Markup:
    """HTML of a line of Markdown.

    Args:
        text: Text with ``**strong**``, ``*emphasised*`` and `` `code` ``.

    Returns:
        HTML without any link or image.

    Example:
        >>> marked_up("take **q** < 1, see *Images*")
        Markup('take <strong>q</strong> &lt; 1, see <em>Images</em>')
    """
    return Markup(_MARKDOWN.renderInline(text))


def note_of(text: str) -> Markup:
    r"""HTML of a Markdown text, of a long one its beginning.

    Returns:
        HTML without any link or image, in which all headings are of one size.

    Example:
        >>> note_of("# Shape")
        Markup('<h4>Shape</h4>\n')
    """
    rest = "" if len(text) <= LONGEST_NOTE else f"\n\n(The other {len(text) - LONGEST_NOTE:,} signs are not shown.)"
    tokens = _MARKDOWN.parse(text[:LONGEST_NOTE] + rest)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h4"  # the page has headings of its own
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
