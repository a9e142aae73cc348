"""The legend as TensorBoard renders it."""

from __future__ import annotations

import html
import re
import warnings

import pytest

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.display import legend

with warnings.catch_warnings():  # of the HTML cleaner that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugin_util import markdown_to_safe_html

WITH_ERRORS = (
    "temperature",
    "virial_temperature",
    "einstein_temperature",
    "equilibrium_ratio",
    "entropy",
    "entropy_production",
    "entropy_destruction",
    "entropy_rate",
    "sharpness",
    "stability_margin",
    "resolved_share",
    "laplacian",
    "rugh_temperature",
    "transition_temperature",
    "transition_temperature_shift",
    "transition_temperature_outputs",
    "complexity",
    "complexity_laplacian",
    "work_efficiency",
    "total_laplacian",
)
WITHOUT_ERRORS = (
    *("temperature_lower", "temperature_upper", "laplacian_lower", "laplacian_upper", "equilibrium_reference"),
    *(
        "drift_share",
        "drift_p_value",
        "noise_scale",
        "signal_share",
        "internal_energy",
        "heat",
        "first_law_residual",
        "skipped_steps",
    ),
    *("free_energy", "bound_energy", "second_law", "second_law_score"),
    *(
        "work_efficiency_product",
        "bulk_loss",
        "pinned_bulk_loss",
        "boundary_loss",
        "bulk_log_partition",
        "bulk_entropy",
        "bulk_free_energy",
    ),
    *("equipartition_temperature", "bulk_first_law_residual", "bulk_spectrum"),
)
BY_LAYER = (
    *("temperature", "temperature_stderr", "equilibrium_ratio", "drift_share", "noise_scale", "signal_share", "heat"),
    *(
        "entropy",
        "entropy_destruction",
        "transition_temperature",
        "laplacian",
        "laplacian_stderr",
    ),
)
BY_MODULE = (
    "work_efficiency",
    "learning_efficiency",
    "learning_signal",
    "temperature_drop",
    "implied_gain",
    "dead_fraction",
    "saturated_fraction",
)
ALL_TAGS = {tag for quantity in QUANTITIES for tag in quantity.tags} | {
    quantity.family_tag.replace("<layer>", "net.0") for quantity in QUANTITIES if quantity.family
}


def rows_of(page):
    """Plain text of the cells of the table, head excluded."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    return [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]


def test_renders_as_one_row_of_two_cells_a_quantity():
    rows = rows_of(markdown_to_safe_html(legend(ALL_TAGS)))
    assert [len(row) for row in rows] == [2] * len(QUANTITIES)
    assert [re.search("<strong>(.*?)</strong>", row[0])[1] for row in rows] == [
        quantity.name for quantity in QUANTITIES
    ]
    for row, quantity in zip(rows, QUANTITIES, strict=True):
        head = html.unescape(row[0]).replace("<br>", " ").replace("\n", "")
        assert f"unit: {quantity.unit}" in head
        assert quantity.formula in head
        assert not quantity.family or f"<code>{quantity.family_tag}</code>" in head
        assert all(row[0].count(f"<code>{tag}</code>") == 1 for tag in quantity.tags)
        body = html.unescape(re.sub("</?em>", "", row[1])).replace("<br>", " ").replace("\n", "")
        assert body == f"{quantity.meaning} Beware: {quantity.caution}".replace("*", "")


def test_every_quantity_is_explained_in_full():
    for quantity in QUANTITIES:
        assert quantity.tags or quantity.family, quantity.name
        texts = [getattr(quantity, part) for part in ("unit", "formula", "summary", "meaning", "caution", "action")]
        assert all(texts), quantity.name
        assert "|" not in "".join(texts), f"{quantity.name}: a bar ends the cell"


def test_placeholder_of_layers_reaches_the_reader():
    assert "<code>thermo_heat/&lt;layer&gt;</code>" in markdown_to_safe_html(legend({"thermo_heat/net.0"}))


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ({"thermo/temperature"}, ["Temperature T"]),
        ({"thermo_temperature/net.0", "loss"}, ["Temperature T"]),
        ({"thermo/temperature", "thermo/temperature_stderr"}, ["Temperature T", "Error of T"]),
        ({"thermo/heat", "thermo/first_law_residual"}, ["Heat Q", "First-law residual"]),
        ({"thermo_laplacian/net.0", "thermo/entropy"}, ["Entropy S", "Trace of the Hessian (Laplacian)"]),
    ],
)
def test_holds_only_what_is_logged(tags, names):
    text = legend(tags)
    assert re.findall(r"^\| \*\*(.*?)\*\*", text, re.MULTILINE) == names
    assert set(re.findall(r"`(thermo/\w+)`", text)) == {tag for tag in tags if tag.startswith("thermo/")}
    assert ("<layer>" in text) == any(tag.startswith("thermo_") for tag in tags)


@pytest.mark.parametrize(
    "tag",
    [
        *(f"thermo/{name}{end}" for name in WITH_ERRORS for end in ("", "_stderr")),
        *(f"thermo/{name}" for name in WITHOUT_ERRORS),
        *(f"thermo_{family}/<layer>" for family in BY_LAYER),
        *(f"thermo_{family}/<module>" for family in BY_MODULE),
        "thermo_engine/<ActivationType>",
    ],
)
def test_each_tag_is_in_one_row(tag):
    text = legend({tag})
    assert len(re.findall(r"^\| \*\*", text, re.MULTILINE)) == 1
    assert f"`{tag}`" in text


def test_no_tag_has_two_meanings():
    tags = [tag for quantity in QUANTITIES for tag in (*quantity.tags, quantity.family) if tag]
    assert len(tags) == len(set(tags))


def test_symbols_of_neurons_stand_only_where_they_are_used():
    assert "Of the neurons" not in legend({"thermo/temperature", "thermo/entropy", "thermo/laplacian"})
    assert "Of the neurons" in legend({"thermo_engine/ReLU"})
    assert "Of the neurons" in legend({"thermo/complexity"})


def test_lists_layers_in_the_given_order():
    text = legend({"thermo/heat"}, ["net.10", "net.2", "block[1]"])
    assert text.endswith("\n\nLayers in order of depth: `net.10`, `net.2`, `block[1]`")
    assert "Layers in order" not in legend({"thermo/heat"})


@pytest.mark.parametrize("tags", [set(), {"loss"}, {"thermo_heatwave/net.0"}])
def test_is_empty_without_a_known_quantity(tags):
    assert legend(tags, ["net.0"]) == ""
