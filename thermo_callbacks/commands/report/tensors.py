"""Numbers and texts in TensorBoard's tensors, whatever else these may hold."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

# by the number of the type: where single values stand, and what they and the packed bytes are
_NUMBERS: dict[int, tuple[str, str]] = {
    1: ("float_val", "<f4"),
    2: ("double_val", "<f8"),
    3: ("int_val", "<i4"),
    4: ("int_val", "<u1"),
    5: ("int_val", "<i2"),
    6: ("int_val", "<i1"),
    9: ("int64_val", "<i8"),
    10: ("bool_val", "?"),
    14: ("half_val", "<u2"),
    17: ("int_val", "<u2"),
    19: ("half_val", "<u2"),
    22: ("uint32_val", "<u4"),
    23: ("uint64_val", "<u8"),
}
_STRING, _BFLOAT16, _HALF = 7, 14, 19


def number_in(tensor: Any) -> float | None:
    """The one number that a tensor holds; None where it holds something else, or several."""
    # not by TensorBoard's make_ndarray: a tensor of a few bytes may claim a shape of terabytes
    if tensor.dtype not in _NUMBERS or math.prod(dim.size for dim in tensor.tensor_shape.dim) != 1:
        return None
    field, kind = _NUMBERS[tensor.dtype]
    packed = tensor.tensor_content
    if packed:
        values = np.frombuffer(packed, dtype=kind) if len(packed) == np.dtype(kind).itemsize else np.zeros(0)
    else:
        single = getattr(tensor, field)
        values = np.array(single, dtype=np.dtype(kind)) if len(single) == 1 and _fits(single[0], kind) else np.zeros(0)
    if tensor.dtype == _HALF:
        values = values.astype(np.uint16).view(np.float16)
    elif tensor.dtype == _BFLOAT16:
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if len(values) != 1:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a signalling NaN
        return float(values[0])


def text_in(tensor: Any) -> str | None:
    """The texts that a tensor holds, one below another; None where it holds something else."""
    if tensor.dtype != _STRING:
        return None
    return "\n\n".join(part.decode("utf-8", "replace") for part in tensor.string_val)


def _fits(value: float, kind: str) -> bool:
    if np.dtype(kind).kind not in "iu":
        return True
    limits = np.iinfo(kind)
    return bool(limits.min <= value <= limits.max)
