"""Order of names with numbers in them."""

from __future__ import annotations

import re


def natural(name: str) -> tuple[tuple[int, int, str, int], ...]:
    """Key that sorts names as people count: ``net.2`` before ``net.10``.

    Returns:
        The key.

    Example:
        >>> sorted(["net.10", "net.2"], key=natural)
        ['net.2', 'net.10']
    """
    parts = re.split(r"(\d+)", name)
    # not by int(), which takes no number of thousands of digits: of numbers the one with fewer digits is smaller
    digits = [part.lstrip("0") for part in parts]
    return tuple(
        (0, len(rest), rest, len(part)) if part.isdecimal() else (1, 0, part, 0)
        for part, rest in zip(parts, digits, strict=True)
    )
