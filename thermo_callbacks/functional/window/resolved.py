"""Entropy balance in the directions that a window of steps can resolve."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import innovations
from thermo_callbacks.functional.statistics import helmert_contrasts
from thermo_callbacks.functional.window.linear_motion import Motion, equilibrium_runs

LEAST_RELAXATIONS = 5.0
"""Relaxation times that a window has to hold for a direction to be resolved."""
LEAST_STEPS = 8
"""Steps of the shortest window that a balance is made of."""
_RUNS, _FEWEST_RUNS = 400, 64  # replicas of the window in equilibrium, whose scatter is the error
_RUN_STEPS = 160_000  # steps of all replicas together: long windows need fewer, since they scatter less
_WIDEST = 1.0  # relative error of a direction's production beyond which the window does not resolve it
_INJECTED = 0.1  # share of the displacements' variance that gradients must leave unexplained to be noise of its own


class ResolvedBalance(NamedTuple):
    """Entropy that learning destroys and noise produces along k directions, in nats per step, ``[k]``.

    Attributes:
        destruction: Contraction along each direction.
        production: What noise puts back; NaN where the window does not resolve the direction.
        production_stderr: Its standard error.
        resolved: Whether the window resolves the direction.
    """

    destruction: Tensor
    production: Tensor
    production_stderr: Tensor
    resolved: Tensor

    def total(self, destruction_stderr: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the resolved directions.

        Directions count as independent in the production; errors of their curvature come from one batch and add up.

        Args:
            destruction_stderr: Standard error of the destruction along each direction, ``[k]``.

        Returns:
            Production and destruction, ``[2]``, and their standard errors, ``[2]``; NaN where nothing is resolved.
        """
        chosen = self.resolved
        if not bool(chosen.any()):
            return torch.full((2,), torch.nan, dtype=torch.float64), torch.full((2,), torch.nan, dtype=torch.float64)
        values = torch.stack((self.production[chosen].sum(), self.destruction[chosen].sum()))
        errors = torch.stack((self.production_stderr[chosen].square().sum().sqrt(), destruction_stderr[chosen].sum()))
        return values, errors


def resolved_balance(
    positions: Tensor, displacements: Tensor, gradients: Tensor, *, curvatures: Tensor, motion: Motion
) -> ResolvedBalance:
    r"""Entropy balance along eigenvectors of the Hessian, over a window of steps.

    .. math:: \sigma_{d,j} = m \lambda_j, \qquad \sigma_{p,j} = \frac{m\,T_j}{\mathrm{Var}_W(u_j \cdot q)}, \qquad
              T_j = -\frac{\phi}{2} \mathrm{Cov}_W(u_j \cdot (D_t - \mu D_{t-1}), u_j \cdot (g_t - \mu g_{t+1}))

    with the mobility m of the optimizer, its momentum :math:`\mu` and response :math:`\phi`. In equilibrium both are
    equal in each direction, also where coordinates are copies of each other: an eigenvector is one mode, however many
    coordinates share it. Where the optimizer adds noise of its own (Langevin dynamics), seen by a tenth or more of the
    displacements' variance that the gradients don't explain, :math:`T_j` is the Einstein temperature
    :math:`\phi^2 \mathrm{Var}(D_t - \mu D_{t-1})/2m`.

    A direction is resolved where the window holds 5 of its relaxation times, :math:`m \lambda_j W > 5`, the error of
    its production is smaller than the value, and the curvature is below the edge of stability. What windows of W steps
    show in equilibrium is simulated with the optimizer's own recursion, up to 400 times: the mean of
    :math:`T_j / \mathrm{Var}_W` there takes out the bias of a short window, that of the inverse of an uncertain
    variance, and with momentum the distance of :math:`T_j` from :math:`\lambda_j \mathrm{Var}` at a finite learning
    rate; its scatter is the relative error. Decoupled weight decay adds its share to the destruction.

    Outside of equilibrium a drift of the position counts as spread, and lowers the production.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for production against destruction; the balance in
    eigenvectors and its corrections are this project's own.

    Args:
        positions: Projections :math:`u_j \cdot q` before each step, ``[W, k]``, W at least 8.
        displacements: Projections of the displacements, ``[W, k]``.
        gradients: Projections of the gradients, ``[W, k]``.
        curvatures: Eigenvalues :math:`\lambda_j`, ``[k]``, coupled weight decay included.
        motion: The optimizer's step.

    Returns:
        The balance, float64 on the CPU.

    Raises:
        ValueError: If the window has fewer than 8 steps, or shapes differ.

    Example:
        >>> import torch
        >>> from thermo_callbacks.functional.momentum import momentum_response
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, places, slopes = torch.zeros(1, dtype=torch.float64), [], []
        >>> for kick in torch.randn(4000, 1, generator=generator, dtype=torch.float64):
        ...     places.append(q)
        ...     slopes.append(2.0 * q + kick)
        ...     q = q - 0.1 * slopes[-1]
        >>> q, g = torch.stack(places), torch.stack(slopes)
        >>> motion = Motion(step=0.1, response=momentum_response(0.0))
        >>> balance = resolved_balance(q, -0.1 * g, g, curvatures=torch.tensor([2.0]), motion=motion)
        >>> print(f"{balance.destruction.item():.2f} {balance.production.item():.2f}")
        0.20 0.20
    """
    steps = len(positions)
    if steps < LEAST_STEPS or not positions.shape == displacements.shape == gradients.shape:
        raise ValueError(
            "positions, displacements and gradients must have one shape [W, k] with W at least 8, got "
            f"{tuple(positions.shape)}, {tuple(displacements.shape)} and {tuple(gradients.shape)}"
        )
    positions, displacements, gradients = (x.detach().double().cpu() for x in (positions, displacements, gradients))
    curvatures = curvatures.detach().double().cpu()
    destruction = motion.mobility * curvatures + motion.decay
    resolved = motion.mobility * curvatures * steps > LEAST_RELAXATIONS
    injected = _unexplained(displacements, gradients, motion) > _INJECTED
    kinetic, einstein = _temperatures(displacements, gradients, motion)
    observed = torch.where(injected, einstein, kinetic).mean(0) / positions.var(0)
    # what equilibrium shows in such a window: its mean is 1 / curvature but for the window's end and the step's size
    count = max(_FEWEST_RUNS, min(_RUNS, _RUN_STEPS // steps))
    runs = equilibrium_runs(curvatures, motion, steps=steps, runs=count, injected=injected)
    kinetic, einstein = _temperatures(runs.displacements, runs.gradients, motion)
    expected = torch.where(injected, einstein, kinetic).mean(0) / runs.positions.var(0)
    spread = expected.std(0) / expected.mean(0)
    relative = observed / expected.mean(0)
    resolved &= torch.isfinite(relative) & (spread < _WIDEST)
    production = torch.where(resolved, destruction * relative, torch.nan)
    return ResolvedBalance(destruction, production, production.abs() * spread, resolved)


def _temperatures(displacements: Tensor, gradients: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """Contributions of the contrasts of steps to kinetic and Einstein temperature, ``[K - 1, ...]``."""
    momentum, factor = motion.response
    moves, fresh = innovations(displacements, gradients, momentum)
    kicks = factor * helmert_contrasts(moves)
    # from the window's mean, with momentum too: what that does to it, equilibrium shows in a window of the same length
    kinetic = -0.5 * kicks * helmert_contrasts(fresh)
    return kinetic, kicks.square() / (2.0 * motion.mobility)


def _unexplained(displacements: Tensor, gradients: Tensor, motion: Motion) -> Tensor:
    """Share of the variance of innovations that does not go along with the gradients behind them, ``[k]``."""
    momentum = motion.response.momentum
    if momentum == 0.0:
        moves, causes = displacements, gradients
    else:  # the look-ahead answers a gradient by 1 + mu at once, and takes mu of it back with the next step
        moves = displacements[1:] - momentum * displacements[:-1]
        causes = (1.0 + momentum) * gradients[1:] - momentum * gradients[:-1] if motion.nesterov else gradients[1:]
    moves, causes = moves - moves.mean(0), causes - causes.mean(0)
    return 1.0 - (moves * causes).sum(0).square() / (moves.square().sum(0) * causes.square().sum(0))
