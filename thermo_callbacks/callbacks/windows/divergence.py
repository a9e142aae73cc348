"""Whether a run has diverged: the one true reason of whatever fails after that."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.probes.sharding import local_part

LARGEST_WEIGHT = torch.finfo(torch.float32).max ** 0.5
"""Squares of larger weights overflow, of gradients and activations too before long."""
LARGEST_GROWTH = 1e6
"""Growth of the loss since the first window that no run recovers from."""


def has_diverged(session: Session) -> bool:
    """Look at weights and losses as they are now; it waits for the device, so ask only when something is told."""
    weights = (parameter.detach() for parameter in session.pl_module.parameters() if parameter.numel())
    return any(map(_too_large, weights)) or any(
        has_grown(window.balance.first_energy, window.losses()) for window in session.windows
    )


def _too_large(weights: Tensor) -> bool:
    weights = local_part(weights)  # the other processes may have nothing to tell, and don't ask
    if weights.is_complex():
        weights = torch.view_as_real(weights)
    return not bool((weights.abs() < LARGEST_WEIGHT).all())


def has_grown(first: float, losses: Tensor) -> bool:
    """Whether the last of some losses is a million times the ``first``, NaN if that is not known, and a million."""
    # a single loss that is not finite may be that of a skipped step; first ones near zero say nothing of the scale
    finite = losses[losses.isfinite()].abs()
    if not finite.numel():
        return False
    start = abs(first) if math.isfinite(first) else float(finite[0])
    return LARGEST_GROWTH * max(start, 1.0) < float(finite[-1])
