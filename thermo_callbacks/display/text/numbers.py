"""Numbers as people read them."""

from __future__ import annotations


def number(value: float) -> str:
    """A number with three significant digits, with an exponent only where it is hard to read without."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:.10g}" if 1e-3 <= abs(rounded) < 1e5 else f"{rounded:.2e}"


def percent(share: float) -> str:
    """A share, 1 for the whole, in per cent, with one decimal below 10."""
    return f"{100.0 * share:.{1 if abs(share) < 0.0995 else 0}f} %"
