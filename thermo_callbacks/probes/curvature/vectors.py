"""Random numbers of a measurement of curvature."""

from __future__ import annotations

import numpy as np
import torch


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
