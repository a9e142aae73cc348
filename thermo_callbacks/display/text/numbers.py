"""Numbers as people read them."""

from __future__ import annotations


def number(value: float) -> str:
    """A number with three significant digits, with an exponent only where it is hard to read without.

    Args:
        value: The number.

    Returns:
        Its text.

    Example:
        >>> number(2834.0), number(0.04567), number(4.531e-06)
        ('2830', '0.0457', '4.53e-06')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:.10g}" if 1e-3 <= abs(rounded) < 1e5 else f"{rounded:.2e}"


def percent(share: float) -> str:
    """A share in per cent, with one decimal below 10.

    Args:
        share: The share, 1 for the whole.

    Returns:
        Its text.

    Example:
        >>> percent(0.4236), percent(0.0314)
        ('42 %', '3.1 %')
    """
    return f"{100.0 * share:.{1 if abs(share) < 0.0995 else 0}f} %"
