"""What a checkpoint holds of a window, and what processes with shards of the parameters hand each other of it."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.functional.window.layer_sums import INNOVATION, LayerSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import StreamingWindow


class SharedSums(NamedTuple):
    """What all processes have seen of an open window."""

    sums: LayerSums
    response: ResponseSums
    squares: Tensor


def same_sums(state: dict[str, Any]) -> bool:
    """Whether a window's state holds the sums that this version keeps."""
    stream, last = state["stream"], state["last"]
    return (not stream or set(stream) | StreamingWindow.ADDED == StreamingWindow.state_keys()) and (
        last is None or set(last) | _ADDED | _ADDED_STEPS == {field.name for field in fields(WindowStatistics)}
    )


def current_sums(stream: dict[str, Any]) -> dict[str, Any]:
    """Sums of an open window as this version keeps them, of its own state or of that of an earlier version."""
    # those took all pairs from the running mean, and scaled their rows when the window ended: this one ends as if its
    # pairs so far had been differences, and the next pair is one from the mean
    if "means" not in stream:
        return stream
    known = {name: value for name, value in stream.items() if name != "means"}
    pairs = stream["flags"][: stream["steps"], 0]
    count = pairs.cumsum(0)
    series = stream["series"].clone()
    series[: stream["steps"], : INNOVATION + 1] *= ((count - 1.0) / count.clamp(min=1.0))[:, None, None]
    validity = torch.cat([stream["validity"], pairs[-1:]])
    return known | {"references": stream["means"], "series": series, "validity": validity}


def completed(last: dict[str, Any]) -> WindowStatistics:
    """Statistics of a window, without a value of what an earlier version did not know."""
    layers = last["watched"]
    values = {name: torch.full_like(layers, math.nan) for name in _ADDED}
    steps = {name: layers.new_zeros(0, len(layers)) for name in _ADDED_STEPS}
    return WindowStatistics(**(values | steps | last))


_ADDED = {"weight_square", "growth_sampling_variance", "decay_square", "decay_displacement"}
_ADDED_STEPS = {"excess_power", "driven_power"}
"""Statistics that states of earlier versions do not have."""
