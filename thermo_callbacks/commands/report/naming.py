"""Order of names with numbers in them."""

from __future__ import annotations

import re


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Key that sorts names as people count: ``net.2`` before ``net.10``.

    Returns:
        The key.

    Example:
        >>> sorted(["net.10", "net.2"], key=natural)
        ['net.2', 'net.10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
