"""The flat part of an activation, and the units that never leave it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thermo_callbacks.functional.activations.checks import Activation, scalar_function, slopes
from thermo_callbacks.functional.activations.gain import search_grid

FLAT = 0.01
"""Magnitude of the slope below which a function counts as flat."""

LEAST_POINTS = 3  # of the grid, for a flat stretch: a single one is where a slope changes its sign, or chance
HALVINGS = 60
LIMIT = 1e6

Interval = tuple[float, float]


def flat_part(activation: Activation, threshold: float = FLAT, *, limit: float = LIMIT) -> tuple[Interval, ...]:
    r"""Stretches of input on which an elementwise function is flat: :math:`|f'(z)| <` ``threshold``.

    A stretch around a turning point (the minimum of GELU near -0.75) is left out: its neighbours have a slope on both
    sides, and an input that moves a little leaves it. One that is exactly flat, as between the two arms of a shrinkage,
    stays in. The slope is what autograd gives, searched on about 100,000 points with :math:`|z|` up to ``limit``, and
    the ends are found by halving. What is flat at the outermost point is taken to stay so.

    Args:
        activation: Elementwise function or module; evaluated as in
            :func:`~thermo_callbacks.functional.gaussian_efficiency`.
        threshold: Magnitude of the slope below which it is flat, positive.
        limit: Largest :math:`|z|` searched.

    Returns:
        Closed intervals in increasing order, with infinite ends where they reach ``limit``; none if it is never flat.

    Raises:
        ValueError: If ``activation`` isn't an elementwise function, or ``threshold`` isn't positive.

    Example:
        >>> import torch
        >>> flat_part(torch.relu)
        ((-inf, 0.0),)
        >>> flat_part(torch.nn.LeakyReLU())
        ()
    """
    if not threshold > 0.0:
        raise ValueError(f"threshold must be a positive slope (for example 0.01), got {threshold}")
    with torch.inference_mode(False), torch.enable_grad():
        function = scalar_function(activation)
        points = search_grid(limit)
        last = len(points) - 1
        stretches = _stretches(slopes(function, points), threshold)
        inner = torch.tensor(stretches, dtype=torch.int64, device="cpu").view(-1, 2)
        outer = (inner + torch.tensor([-1, 1], device="cpu")).clamp(0, last)
        ends = _ends(function, threshold, points[inner], points[outer]).tolist()
    return tuple(
        (-math.inf if first == 0 else lower, math.inf if end == last else upper)
        for (first, end), (lower, upper) in zip(stretches, ends, strict=True)
    )


def unit_extremes(rows: Tensor, samples: Sequence[int]) -> Tensor:
    """Four numbers a unit, ``[4, units]``: least and greatest input, the greatest up to 0 and the least above 0."""
    # they tell whether a unit stays within the flat part of its function, without keeping its inputs; a side of 0 that
    # has no input is infinite. Choosing elements by a mask that follows no order takes twenty times as long as this
    dims = list(samples)
    above = torch.threshold(rows, 0.0, torch.inf).amin(dims)
    below = -torch.threshold(-rows, 0.0, torch.inf).amin(dims)
    below = torch.where(rows.abs().amin(dims) == 0, 0.0, below)
    return torch.stack([rows.amin(dims), rows.amax(dims), below, above]).reshape(4, -1)


def joined(first: Tensor, second: Tensor) -> Tensor:
    """Extremes of two parts of a batch together."""
    least, greatest = torch.minimum(first, second), torch.maximum(first, second)
    return torch.stack([least[0], greatest[1], greatest[2], least[3]])


def never_leaving(extremes: Tensor, stretches: Sequence[Interval]) -> Tensor:
    """Mask of the units all of whose inputs lie in the flat part; NaN lies nowhere."""
    # exact where 0 parts the stretches that a unit's inputs can be spread over, as it does for the activations of
    # torch.nn by default; where two of them lie on one side of 0, a unit whose inputs lie in both is not counted
    least, greatest, below, above = extremes
    low, high = below.isinf(), above.isinf()  # no input on that side
    for lower, upper in stretches:
        low = low | ((least >= lower) & (below <= upper))
        high = high | ((above >= lower) & (greatest <= upper))
    within: Tensor = low & high & ~(least.isnan() | greatest.isnan())
    return within


def _stretches(slope: Tensor, threshold: float) -> list[tuple[int, int]]:
    """First and last places of the points of each flat stretch, those at turning points left out."""
    flat = (slope.abs() < threshold).numpy()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(np.int8)))
    found = []
    for first, last in zip(changes[::2].tolist(), (changes[1::2] - 1).tolist(), strict=True):
        if last - first + 1 < LEAST_POINTS:
            continue
        turns = first > 0 and last < len(slope) - 1 and float(slope[first - 1] * slope[last + 1]) < 0.0
        level = int((slope[first : last + 1] == 0.0).count_nonzero()) >= LEAST_POINTS
        if level or not turns:
            found.append((first, last))
    return found


def _ends(function: Activation, threshold: float, flat: Tensor, steep: Tensor) -> Tensor:
    """Last flat points between points that are flat and neighbours that are not, by halving."""
    for _ in range(HALVINGS if flat.numel() else 0):
        middle = (flat + steep) / 2.0
        is_flat = slopes(function, middle.flatten()).view_as(middle).abs() < threshold
        flat, steep = torch.where(is_flat, middle, flat), torch.where(is_flat, steep, middle)
    return flat
