"""Places of the page that others link to: the entry of each quantity, and of each cause."""

from __future__ import annotations

import re
from collections.abc import Iterable

from thermo_callbacks.catalog import QUANTITIES, Quantity
from thermo_callbacks.commands.report.runs import is_ours, words_of

_BY_TAG = {tag: quantity for quantity in reversed(QUANTITIES) for tag in (*quantity.tags, quantity.family) if tag}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def quantity_of(tag: str) -> Quantity | None:
    """The quantity that a tag, or a family of tags, is of; None for what is none of a monitor's."""
    return _BY_TAG.get(tag) or _BY_TAG.get(tag.partition("/")[0])


def entry_of(quantity: Quantity) -> str:
    """Name of a quantity's entry in the legend.

    Returns:
        A name that may stand in a link.

    Example:
        >>> entry_of(quantity_of("thermo_dead_fraction/net.1"))
        'quantity-dead-fraction'
    """
    return f"quantity-{_slug(quantity.name)}"


def entry_of_tags(tags: Iterable[str]) -> str:
    """Name of the entry of the first of some tags that has one; empty if none has."""
    found = (quantity_of(tag) for tag in tags)
    return next((entry_of(quantity) for quantity in found if quantity is not None), "")


def entry_of_cause(cause: str) -> str:
    """Name of a cause's entry, on this page and in the documentation.

    Returns:
        A name that may stand in a link.

    Example:
        >>> entry_of_cause("dead units")
        'cause-dead-units'
    """
    return f"cause-{_slug(cause)}"


def words_of_member(tag: str) -> str:
    """Name of a quantity with the layer or activation that it is of.

    Returns:
        The words.

    Example:
        >>> words_of_member("thermo_dead_fraction/net.1"), words_of_member("thermo/update_ratio")
        ('dead fraction of net.1', 'update ratio')
    """
    family, _, member = tag.partition("/")
    if is_ours(tag) and family.startswith("thermo_"):
        return f"{family.removeprefix('thermo_').replace('_', ' ')} of {member}"
    return words_of(tag)
