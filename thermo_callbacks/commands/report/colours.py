"""Colours by run, and by depth of a layer."""

from __future__ import annotations

SHADES = 32
"""Steps of the scale of depth."""
# told apart by all eyes, each at a brightness that stands out on the light page, and on the dark one
_RUNS_ON_LIGHT = ("#0072B2", "#D55E00", "#00805A", "#B0578D", "#8A6A00", "#3B8FC2", "#5B5B5B", "#7A3E9D")
_RUNS_ON_DARK = ("#56B4E9", "#FF8A3D", "#2FCB9A", "#E79BC7", "#E6B422", "#9BD3F5", "#BDBDBD", "#C79BE8")
_DEPTH_ON_LIGHT, _DEPTH_ON_DARK = (0.0, 0.86), (0.22, 1.0)  # parts of the scale that stand out


def run_colour(place: int) -> str:
    """Colour of a run, or of a line among several of one run; after the last the first comes again."""
    return f"var(--run-{place % len(_RUNS_ON_LIGHT)})"


def depth_colour(place: int, count: int) -> str:
    """Colour of a layer: dark for the first, bright for the last.

    Returns:
        A name that :func:`style` gives a meaning.

    Example:
        >>> depth_colour(0, 3), depth_colour(2, 3)
        ('var(--depth-0)', 'var(--depth-31)')
    """
    return f"var(--depth-{round(place / max(1, count - 1) * (SHADES - 1))})"


def style(*, dark: bool) -> str:
    """CSS custom properties that give the names of the colours their values."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    start, end = _DEPTH_ON_DARK if dark else _DEPTH_ON_LIGHT
    places = [start + (end - start) * shade / (SHADES - 1) for shade in range(SHADES)]
    names = {f"--run-{place}": colour for place, colour in enumerate(_RUNS_ON_DARK if dark else _RUNS_ON_LIGHT)}
    names |= {f"--depth-{shade}": to_hex(colormaps["viridis"](place)) for shade, place in enumerate(places)}
    return "".join(f"{name}:{colour};" for name, colour in names.items())
