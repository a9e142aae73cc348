"""Texts of a run as HTML."""

from __future__ import annotations

import pytest

from thermo_callbacks.commands.report.notes import marked_up, note_of
from thermo_callbacks.display.text.topology import topology_text
from thermo_callbacks.functional.topology import analyse


def test_marks_become_elements_and_nothing_else():
    assert marked_up("**a** *b* `c` < 2 * 3") == "<b>a</b> <em>b</em> <code>c</code> &lt; 2 * 3"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("one\ntwo\n\nthree", "<p>one two</p><p>three</p>"),
        ("# A\ntext", "<h4>A</h4><p>text</p>"),
        ("| | |\n|---|---|\n| a | b |", "<table><tr><td>a</td><td>b</td></tr></table>"),
        ("| a | b |", "<table><tr><td>a</td><td>b</td></tr></table>"),
        ("<img src=http://x>", "<p>&lt;img src=http://x&gt;</p>"),
        ("![x](http://x) [y](http://y)", "<p>![x](http://x) [y](http://y)</p>"),
        ("| <script> |", "<table><tr><td>&lt;script&gt;</td></tr></table>"),
    ],
)
def test_blocks(text, html):
    assert note_of(text) == html


def test_the_text_of_a_topology_is_two_tables():
    html = note_of(topology_text(analyse((4, 3, 3, 2))))
    assert html.count("<table>") == 2
    assert "<tr><td>Connections E</td><td>27</td></tr>" in html
    assert "<th>Hidden layer</th>" in html
    assert "---" not in html
    assert html.startswith("<h4>Topology ")
