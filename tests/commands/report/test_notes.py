"""Texts of a run as HTML."""

from __future__ import annotations

import pytest

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.commands.report.notes import marked_up, note_of
from thermo_callbacks.display.text.topology import topology_text
from thermo_callbacks.functional.topology import analyse


def test_marks_become_elements_and_nothing_else():
    assert marked_up("**a** *b* `c` < 2 * 3") == "<strong>a</strong> <em>b</em> <code>c</code> &lt; 2 * 3"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>\n"),
        ("# A\ntext", "<h4>A</h4>\n<p>text</p>\n"),
        ("### A", "<h4>A</h4>\n"),
        ("| a | b |", "<p>| a | b |</p>\n"),  # a table has a line below its head
        ("<img src=http://x>", "<p>&lt;img src=http://x&gt;</p>\n"),
        ("<div>\n<script>", "<p>&lt;div&gt;\n&lt;script&gt;</p>\n"),
        ("![x](http://x) [y](http://y)", "<p>![x](http://x) [y](http://y)</p>\n"),
        ("[y]\n\n[y]: http://y", "<p>[y]</p>\n<p>[y]: http://y</p>\n"),
        ("<http://x> http://y", "<p>&lt;http://x&gt; http://y</p>\n"),
    ],
)
def test_blocks(text, html):
    assert note_of(text) == html


@pytest.mark.parametrize("cell", ["<script>", "![x](http://x)", "<b onclick=x>"])
def test_cells_of_tables(cell):
    html = note_of(f"| a | **b** |\n|---|---|\n| {cell} | `d` |")
    assert html.count("<td>") == 2
    assert "<th><strong>b</strong></th>" in html
    assert f"<td>{cell.replace('<', '&lt;').replace('>', '&gt;')}</td>" in html


def test_the_text_of_a_topology_is_two_tables():
    html = note_of(topology_text(analyse((4, 3, 3, 2))))
    assert html.count("<table>") == 2
    assert "<td>Connections E</td>\n<td>27</td>" in html
    assert "<th>Hidden layer</th>" in html
    assert "---" not in html
    assert html.startswith("<h4>Topology ")


def test_the_words_of_the_catalog_are_shown_as_they_are_meant():
    for quantity in QUANTITIES:
        for text in (quantity.meaning, quantity.caution, quantity.action):
            shown = marked_up(text)
            assert shown.striptags() == " ".join(text.replace("**", "").replace("`", "").replace("*", "").split())
