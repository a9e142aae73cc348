"""What a measurement of curvature starts from: values that can be differentiated by, and random numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def leaf_of(parameter: nn.Parameter, value: Tensor) -> nn.Parameter:
    """A value that takes the parameter's place, of at least single precision, and never the parameter's own memory."""
    value = value.detach()
    if value.dtype.itemsize < 4:
        value = value.float()
    elif value.data_ptr() == parameter.data_ptr():
        value = value.clone()
    return nn.Parameter(value, requires_grad=parameter.requires_grad)


def probe_generator(seed: int, step: int, device: torch.device, *stream: int) -> torch.Generator:
    """Random numbers that a seed and a step fix, in an order of their own.

    Args:
        seed: Seed of a probe's vectors.
        step: Number of the step.
        device: Device of the parameters.
        *stream: Numbers of a stream beside the first, such as that of a process.

    Returns:
        The generator.
    """
    state = int(np.random.SeedSequence([seed, step, *stream]).generate_state(1, np.uint64)[0])
    return torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(state)
