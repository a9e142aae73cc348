"""Where two records of runs differ, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, string and tensor in nested containers, with its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        yield f"{path}/length", len(value)
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{index}")
    else:
        yield path, value


def same(first: Any, second: Any) -> bool:
    """Equal in every bit; NaN equals NaN."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first.nan_to_num(7e33), second.nan_to_num(7e33))
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    return repr(first) == repr(second)


def places_that_differ(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Places that only one record has, and those with other content."""
    one, other = dict(leaves(first)), dict(leaves(second))
    missing = sorted(one.keys() ^ other.keys())
    return missing + [place for place in one.keys() & other.keys() if not same(one[place], other[place])]
