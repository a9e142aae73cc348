"""What the numbers mean: the legend that stands beside the charts."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from thermo_callbacks.catalog import NEURON_SYMBOLS, QUANTITIES, SYMBOLS, Quantity, bulk, engines, explained

_LINE, _HEAD_LINE = 64, 42  # characters; TensorBoard breaks words of narrow columns to please a long line in another

_INTRODUCTION = """\
### What the numbers mean

{charts}

{symbols}

| Quantity | What it says, and when not to believe it |
|---|---|
"""
_CHARTS = (
    "The charts are under *Custom Scalars*, maps of the layers and figures of the run under *Images*. TensorBoard "
    "paints all layers of a run in one colour: point at a line to read its name. Points without a value (NaN) show "
    "as triangles or a gap. To see every point, untick *Ignore outliers in chart scaling* and set *Smoothing* to 0. "
    "The second button below a chart makes its scale logarithmic, where lines lie far apart."
)
_UNITS = "Unit *loss*: that of the training loss; *nat*: unit of entropy with the natural logarithm."


def legend(tags: Collection[str], layers: Sequence[str] = ()) -> str:
    """Legend of a run's charts: a Markdown table of the quantities present.

    Args:
        tags: Tags that the run logs; quantities with none of them are left out.
        layers: Names of the layers in order of depth, to be listed below the table, since TensorBoard's lists are not
            always in that order.

    Returns:
        Markdown, one row a quantity: name, tags, formula, unit; what it says, when not to believe it. Empty if no
        quantity is present.

    Example:
        >>> print(legend({"thermo/internal_energy"}).splitlines()[-1])  # doctest: +ELLIPSIS
        | **Mean loss (internal energy U)**<br>`thermo/internal_energy`<br>U = ⟨L⟩<br>unit: loss | Mean ...
    """
    families = {tag.partition("/")[0] for tag in tags}
    found = {quantity.name: present for quantity in QUANTITIES if (present := quantity.present(tags, families))}
    if not found:
        return ""
    about_neurons = any(quantity.name in found for quantity in (*engines.QUANTITIES, *bulk.QUANTITIES))
    symbols = f"Symbols: {explained(SYMBOLS)}. {_UNITS}"
    if about_neurons:
        symbols += f" Of the neurons: {explained(NEURON_SYMBOLS)}."
    rows = [_row(quantity, found[quantity.name]) for quantity in QUANTITIES if quantity.name in found]
    text = _INTRODUCTION.format(charts=_CHARTS, symbols=symbols) + "\n".join(rows)
    if layers:
        text += "\n\nLayers in order of depth: " + ", ".join(f"`{layer}`" for layer in layers)
    return text


def _row(quantity: Quantity, present: Sequence[str]) -> str:
    head = [f"**{quantity.name}**", *(f"`{tag}`" for tag in present)]
    head += textwrap.wrap(quantity.formula, _HEAD_LINE) + textwrap.wrap(f"unit: {quantity.unit}", _HEAD_LINE)
    body = textwrap.wrap(quantity.meaning, _LINE) + textwrap.wrap(f"*Beware:* {quantity.caution}", _LINE)
    return f"| {'<br>'.join(head)} | {'<br>'.join(body)} |"
