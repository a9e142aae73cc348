"""Downsampling of long lines that keeps each peak."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_OF_A_CHART, _FEWEST, _MOST = 6000, 150, 600


def most_points(lines: int) -> int:
    """Number of points that a line may have in a chart.

    Returns:
        How many, an even number.

    Example:
        >>> most_points(1), most_points(20), most_points(400)
        (600, 300, 150)
    """
    return min(max(_FEWEST, _OF_A_CHART // max(1, lines) // 2 * 2), _MOST)


def thin(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Downsample a line to its first and last point, and the lowest and the highest of each of equal stretches.

    No peak gets lost, and no gap: a stretch with NaN keeps one of them too.

    Args:
        values: Values of the line, shape ``[points]``.
        most: Points with a value to keep at most, an even number of at least 4; a line that has no more points keeps
            them all.

    Returns:
        Places of the points, increasing.

    Example:
        >>> thin(np.array([0.0, 9.0, 1.0, 2.0, -5.0, 3.0]), 4)
        array([0, 1, 4, 5])
    """
    if len(values) <= most:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    # the ends cost a point each, so two stretches fewer
    for stretch in np.array_split(np.arange(len(values)), most // 2 - 1):
        part = values[stretch]
        known, gaps = stretch[~np.isnan(part)], stretch[np.isnan(part)]
        if known.size:
            kept |= {int(known[np.argmin(values[known])]), int(known[np.argmax(values[known])])}
        kept |= {int(gap) for gap in gaps[:1]}
    return np.array(sorted(kept))
