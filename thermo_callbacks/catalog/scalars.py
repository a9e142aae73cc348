"""Values under their tags."""

from __future__ import annotations

from collections.abc import Mapping

Scalars = dict[str, float]
"""Tag to value, as a run logs them."""


def members(record: Mapping[str, float], family: str) -> Scalars:
    """Values of a family's members by their names, in the order of the record: that of depth."""
    start = f"{family}/"
    return {tag.removeprefix(start): value for tag, value in record.items() if tag.startswith(start)}
