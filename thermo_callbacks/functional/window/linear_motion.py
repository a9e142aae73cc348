"""How an optimizer moves along directions of a quadratic in equilibrium: what a window of steps shows of that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import MomentumResponse

_SEED = 0
_SETTLED = 1.0 - 1e-6  # largest modulus of a recursion's eigenvalues that counts as coming to rest


class Motion(NamedTuple):
    """An optimizer's step along directions of which each has a curvature of its own.

    Attributes:
        step: Displacement that one gradient causes through the momentum buffer at once: the learning rate of SGD, the
            learning rate times 1 - beta1 of the Adam family.
        response: Momentum and response factor.
        nesterov: Whether the optimizer looks ahead.
        decay: Share of the weights that decoupled weight decay takes in a step, one for all directions or each.
    """

    step: float
    response: MomentumResponse
    nesterov: bool = False
    decay: Tensor | float = 0.0

    @property
    def mobility(self) -> float:
        """Whole displacement per unit of gradient."""
        return self.step / (1.0 - self.response.momentum)


class EquilibriumRuns(NamedTuple):
    """Consecutive steps, ``[W, ...]``: positions before each, displacements and gradients."""

    positions: Tensor
    displacements: Tensor
    gradients: Tensor


def equilibrium_runs(curvatures: Tensor, motion: Motion, *, steps: int, runs: int, injected: Tensor) -> EquilibriumRuns:
    r"""Run an optimizer in equilibrium along directions of a quadratic, the same way at each call.

    Position q and momentum buffer b move by :math:`b' = \mu b + g`, :math:`q' = (1 - \delta) q - h b'` (with Nesterov's
    look-ahead :math:`- h (g + \mu b')`), :math:`g = \lambda q + \xi` with white noise :math:`\xi` of variance 1; where
    ``injected``, g is exact and the noise is in the displacement. They start from their stationary covariance, which
    solves the Lyapunov equation of the recursion; a direction that has none is NaN.

    Args:
        curvatures: Curvature of each direction, ``[k]``.
        motion: The optimizer's step.
        steps: Steps W of each run.
        runs: How many runs to make.
        injected: Directions in which the optimizer adds the noise, ``[k]``.

    Returns:
        The runs, ``[W, runs, k]``, float64 on the CPU.
    """
    curvature = curvatures.double().cpu()
    mu, h, keep = motion.response.momentum, motion.step, 1.0 - motion.decay
    one = torch.ones_like(curvature)
    reach, held, at_once = (1.0 + mu, mu * mu, h * (1.0 + mu)) if motion.nesterov else (1.0, mu, h)
    recursion = torch.stack((keep * one - h * reach * curvature, -h * held * one, curvature, mu * one), -1).view(
        -1, 2, 2
    )
    # a row of zeros in the buffer: noise of the optimizer's own does not pass through it
    kick = torch.stack((-at_once * one, torch.where(injected, 0.0, one)), -1)
    settled = torch.linalg.eigvals(torch.nan_to_num(recursion)).abs().amax(-1) < _SETTLED
    settled &= torch.isfinite(curvature)
    recursion = torch.where(settled[:, None, None], recursion, 0.0)
    spread = _stationary_root(recursion, kick)
    generator = torch.Generator().manual_seed(_SEED)
    draw = torch.randn(runs, len(curvature), 2, generator=generator, dtype=torch.float64)
    position, buffer = torch.einsum("kab,rkb->rka", spread, draw).unbind(-1)
    noise = torch.randn(steps, runs, len(curvature), generator=generator, dtype=torch.float64)
    quiet = torch.where(settled, curvature, torch.nan)
    positions, displacements, gradients = (torch.empty_like(noise) for _ in range(3))
    for index in range(steps):
        gradient = quiet * position + torch.where(injected, 0.0, noise[index])
        buffer = mu * buffer + gradient
        move = -h * (gradient + mu * buffer if motion.nesterov else buffer) - motion.decay * position
        move = move - torch.where(injected, at_once * noise[index], 0.0)
        positions[index], displacements[index], gradients[index] = position, move, gradient
        position = position + move
    return EquilibriumRuns(positions, displacements, gradients)


def _stationary_root(recursion: Tensor, kick: Tensor) -> Tensor:
    """Root of the stationary covariance of position and buffer, ``[k, 2, 2]``."""
    transport = torch.einsum("kac,kbd->kabcd", recursion, recursion).reshape(-1, 4, 4)
    source = torch.einsum("ka,kb->kab", kick, kick).reshape(-1, 4, 1)
    covariance = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - transport, source).view(-1, 2, 2)
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2.0)
    root: Tensor = vectors * values.clamp(min=0.0).sqrt()[:, None, :]
    return root
