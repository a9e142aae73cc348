"""The legend as TensorBoard renders it."""

from __future__ import annotations

import re
import warnings

import pytest

from thermo_callbacks.reports import legend
from thermo_callbacks.reports.legend import QUANTITIES

with warnings.catch_warnings():  # of the HTML cleaner that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugin_util import markdown_to_safe_html

ALL_TAGS = {tag for quantity in QUANTITIES for tag in quantity.tags} | {
    f"{quantity.family}/net.0" for quantity in QUANTITIES if quantity.family
}


def rows_of(html):
    """Plain text of the cells of the table, head excluded."""
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("<tbody>")[2], re.DOTALL)
    return [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]


def test_renders_as_one_row_of_two_cells_a_quantity():
    rows = rows_of(markdown_to_safe_html(legend(ALL_TAGS)))
    assert [len(row) for row in rows] == [2] * len(QUANTITIES)
    assert [re.search("<strong>(.*?)</strong>", row[0])[1] for row in rows] == [
        quantity.name for quantity in QUANTITIES
    ]
    for row, quantity in zip(rows, QUANTITIES, strict=True):
        assert f"unit: {quantity.unit}" in row[0]
        assert quantity.formula in row[0]
        assert all(row[0].count(f"<code>{tag}</code>") == 1 for tag in quantity.tags)
        assert all(
            part in row[1] for part in (*quantity.meaning.split(), "<em>Beware:</em>", *quantity.caution.split())
        )


def test_every_quantity_is_explained_in_full():
    for quantity in QUANTITIES:
        assert all(quantity[:2]), quantity.name
        assert all(quantity[3:]), quantity.name
        assert "|" not in "".join(quantity[3:]), f"{quantity.name}: a bar ends the cell"


def test_placeholder_of_layers_reaches_the_reader():
    assert "<code>thermo_heat/&lt;layer&gt;</code>" in markdown_to_safe_html(legend({"thermo_heat/net.0"}))


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ({"thermo/temperature"}, ["Temperature T"]),
        ({"thermo_temperature/net.0", "loss"}, ["Temperature T"]),
        ({"thermo/temperature", "thermo/temperature_stderr"}, ["Temperature T", "Error of T"]),
        ({"thermo/heat", "thermo/first_law_residual"}, ["Heat Q", "First-law residual"]),
    ],
)
def test_holds_only_what_is_logged(tags, names):
    text = legend(tags)
    assert re.findall(r"^\| \*\*(.*?)\*\*", text, re.MULTILINE) == names
    assert set(re.findall(r"`(thermo/\w+)`", text)) == {tag for tag in tags if tag.startswith("thermo/")}
    assert ("<layer>" in text) == any(tag.startswith("thermo_") for tag in tags)


def test_lists_layers_in_the_given_order():
    text = legend({"thermo/heat"}, ["net.10", "net.2", "block[1]"])
    assert text.endswith("\n\nLayers in order of depth: `net.10`, `net.2`, `block[1]`")
    assert "Layers in order" not in legend({"thermo/heat"})


@pytest.mark.parametrize("tags", [set(), {"loss"}, {"thermo_heatwave/net.0"}])
def test_is_empty_without_a_known_quantity(tags):
    assert legend(tags, ["net.0"]) == ""
