"""Gradients that were there before a backward pass, and that it adds to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.real_numbers import as_real


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor | None:
    """Norm of all gradients, on the device of the first; None if there is none."""
    gradients = [each.grad for each in parameters if each.grad is not None and each.grad.layout == torch.strided]
    alike = [each for each in gradients if each.device == gradients[0].device]
    if not alike:
        return None
    norms = torch.stack([as_real(each.detach()).float().norm() for each in alike])
    return norms.square().sum().sqrt()


def kept_share(before: Tensor | None, after: Tensor | None) -> float:
    """Norm of the gradients before a backward pass over that after it; 0 where they were set to zero; waits."""
    if after is None:
        return math.nan
    if before is None:
        return 0.0
    kept, whole = float(before), float(after)
    return kept / whole if whole > 0.0 else math.nan
