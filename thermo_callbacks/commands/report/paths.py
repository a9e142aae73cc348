"""SVG path data of lines, interrupted where there are no values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]

_FARTHEST = 1e4  # units beyond the drawing at which what can't be seen is cut


def pieces_of(known: npt.NDArray[np.bool_]) -> list[slice]:
    """Find the stretches without a gap.

    Returns:
        The stretches, in order.

    Example:
        >>> pieces_of(np.array([True, True, False, True]))
        [slice(0, 2, None), slice(3, 4, None)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [slice(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def corners_of(x: Places, y: Places) -> str:
    """Format a line without gaps as SVG path data.

    Returns:
        What follows the command to move in the data of a path.

    Example:
        >>> corners_of(np.array([0.0, 10.0]), np.array([5.0, 2.25]))
        '0.0,5.0L10.0,2.2'
    """
    places = zip(x, np.clip(y, -_FARTHEST, _FARTHEST), strict=True)
    return "L".join(f"{across:.1f},{down:.1f}" for across, down in places)


def path_of(x: Places, y: Places) -> tuple[str, str]:
    """Format a line as SVG path data, with gaps where y is NaN.

    Returns:
        The line itself, and dots where a point stands alone between gaps.

    Example:
        >>> path_of(np.array([0.0, 1.0, 2.0, 3.0]), np.array([5.0, 6.0, np.nan, 7.0]))
        ('M0.0,5.0L1.0,6.0', 'M3.0,7.0h0')
    """
    lines, dots = [], []
    for piece in pieces_of(np.isfinite(y)):
        data = f"M{corners_of(x[piece], y[piece])}"
        if piece.stop - piece.start == 1:
            dots.append(f"{data}h0")
        else:
            lines.append(data)
    return "".join(lines), "".join(dots)
