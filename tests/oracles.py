"""What the tests hold the package against: closed forms, slow second implementations, and a simulator.

The simulator drives PyTorch's own optimizers over the quadratic U = 1/2 sum lambda_i q_i^2 whose gradient is
lambda q + noise. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor], Tensor]  # (parameters, gradient) -> displacement


class Trajectory(NamedTuple):
    """Consecutive steps; each field has the shape [steps, *shape of the parameters]."""

    parameters: Tensor  # before each step
    displacements: Tensor
    gradients: Tensor

    def last(self, steps: int) -> Trajectory:
        return Trajectory(*(field[-steps:] for field in self))

    def energy(self, curvature: Tensor) -> Tensor:
        """Loss before each step."""
        return 0.5 * (curvature * self.parameters.square()).sum(-1)


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def curvatures(coordinates: int) -> Tensor:
    """Curvatures lambda from 0.1 to 10, equally spaced in their logarithm."""
    return torch.logspace(-1.0, 1.0, coordinates, dtype=torch.float64)


def torch_rule(optimizer: type[torch.optim.Optimizer], shape: tuple[int, ...], **options: Any) -> Rule:
    """A step of one of PyTorch's optimizers as a rule; the gradient is set by hand."""
    parameter = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    stepper = optimizer([parameter], **options)

    def displacement(parameters: Tensor, gradient: Tensor) -> Tensor:
        parameter.data.copy_(parameters)
        parameter.grad = gradient
        stepper.step()
        return parameter.data - parameters

    return displacement


def langevin_rule(learning_rate: float, temperature: float, kicks: Tensor) -> Rule:
    """Overdamped Langevin dynamics: descent along the gradient, and kicks (one row a step) of the optimizer's own."""
    rows = iter(kicks)
    return lambda _, gradient: -learning_rate * gradient + (2.0 * learning_rate * temperature) ** 0.5 * next(rows)


def simulate(curvature: Tensor, start: Tensor, noise: Tensor, rule: Rule) -> Trajectory:
    """Run a rule on the quadratic, one row of ``noise`` a step."""
    shape = (noise.shape[0], *start.shape)
    run = Trajectory(*(torch.empty(shape, dtype=torch.float64) for _ in Trajectory._fields))
    parameters = start
    for step, kick in enumerate(noise):
        run.parameters[step] = parameters
        run.gradients[step] = curvature * parameters + kick
        run.displacements[step] = rule(parameters, run.gradients[step])
        parameters = parameters + run.displacements[step]
    return run


def equipartition_temperature(run: Trajectory, curvature: Tensor) -> float:
    """Temperature that the mean energy shows: 2 U / N, half a temperature for every quadratic degree of freedom."""
    return run.energy(curvature).mean().item() * 2.0 / curvature.numel()


def stationary_variance(
    curvature: Tensor, noise_variance: Tensor, learning_rate: float, momentum: float = 0.0
) -> Tensor:
    r"""Variance of the parameters under SGD with heavy-ball momentum in equilibrium, exact in the learning rate.

    .. math:: \mathrm{Var}(q) = \frac{\eta s (1+\mu)}{\lambda (1-\mu) (2(1+\mu) - \eta\lambda)}
    """
    stiffness = 2.0 * (1.0 + momentum) - learning_rate * curvature
    return learning_rate * noise_variance * (1.0 + momentum) / (curvature * (1.0 - momentum) * stiffness)


def window_variance(variance: Tensor, correlation: Tensor, steps: int) -> Tensor:
    r"""Expected sample variance of a window of a stationary series with correlation :math:`\rho^k` at lag k."""
    geometric = (1.0 + correlation) / (1.0 - correlation)
    ends = 2.0 * correlation * (1.0 - correlation**steps) / (steps * (1.0 - correlation).square())
    return variance * (1.0 - (geometric - ends) / steps) * steps / (steps - 1)


def covariance_by_loop(first: list[float], second: list[float]) -> float:
    """Sample covariance of two series, as in a textbook."""
    count = len(first)
    mean_first, mean_second = sum(first) / count, sum(second) / count
    return sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True)) / (count - 1)


def plain_kinetic_temperature(displacements: Tensor, gradients: Tensor, momentum: float = 0.0) -> float:
    r"""The simple formula :math:`-\frac{1}{2n(1-\mu)}\sum_i\mathrm{Cov}_W(D_i, g_i)`, coordinate by coordinate."""
    columns = zip(displacements.T.tolist(), gradients.T.tolist(), strict=True)
    total = sum(covariance_by_loop(moves, slopes) for moves, slopes in columns)
    return -total / (2.0 * gradients.shape[1] * (1.0 - momentum))


def innovation_kinetic_temperature(displacements: Tensor, gradients: Tensor, momentum: float, nesterov: bool) -> float:
    """Kinetic temperature from innovations, coordinate by coordinate and step by step."""
    total = 0.0
    pairs = gradients.shape[0] - 2
    for moves, slopes in zip(displacements.T.tolist(), gradients.T.tolist(), strict=True):
        innovation = [moves[t] - momentum * moves[t - 1] for t in range(1, pairs + 1)]
        fresh = [slopes[t] - momentum * slopes[t + 1] for t in range(1, pairs + 1)]
        steps = range(1, pairs)
        products = [(innovation[t] - innovation[t - 1]) * (fresh[t] - fresh[t - 1]) for t in steps]
        total += sum(products) / (2.0 * len(products))
    at_once = 1.0 + momentum if nesterov else 1.0  # multiples of the learning rate
    in_all = 1.0 / (1.0 - momentum)
    look_ahead = momentum / at_once if nesterov else 0.0  # what a step takes back of the last one's, by its own
    shared = 1.0 + (momentum + look_ahead) / 2.0
    return -(in_all / at_once) * total / (2.0 * gradients.shape[1] * shared)


def innovation_covariance(displacements: Tensor, gradients: Tensor, momentum: float, nesterov: bool) -> float:
    """What the same pairs read from their mean over the window, in which a slope that turns is noise."""
    kicks = displacements[1:-1] - momentum * displacements[:-2]
    fresh = gradients[1:-1] - momentum * gradients[2:]
    total = ((kicks - kicks.mean(0)) * (fresh - fresh.mean(0))).sum().item() / (len(kicks) - 1)
    factor = 1.0 / (1.0 - momentum) / (1.0 + momentum if nesterov else 1.0)
    return -factor * total / (2.0 * gradients.shape[1] * (1.0 + momentum / len(kicks)))


def coordinate_temperatures(displacements: Tensor, gradients: Tensor, momentum: float = 0.0) -> Tensor:
    """Heavy-ball kinetic temperature of every coordinate by itself."""
    if momentum > 0.0:
        kicks = displacements[1:-1] - momentum * displacements[:-2]
        fresh = gradients[1:-1] - momentum * gradients[2:]
        products = kicks.diff(dim=0) * fresh.diff(dim=0) / (2.0 + momentum)
        return -products.mean(0) / (2.0 * (1.0 - momentum))
    moves, slopes = displacements - displacements.mean(0), gradients - gradients.mean(0)
    return -(moves * slopes).sum(0) / (2.0 * (len(gradients) - 1))


def share_of_signal(per_sample_gradients: Tensor, batch_size: int) -> float:
    """Signal share of batches drawn with replacement, exact from all per-sample gradients [samples, n]."""
    signal = per_sample_gradients.mean(0).square().sum().item()
    power = per_sample_gradients.square().sum(1).mean().item()
    return signal / (signal + (power - signal) / batch_size)


def batch_gradients(per_sample_gradients: Tensor, batch_size: int, steps: int, seed: int) -> Tensor:
    """Mean gradients of batches drawn with replacement at fixed parameters, shape [steps, n]."""
    samples = per_sample_gradients.shape[0]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(samples, (steps, batch_size), generator=generator)
    counts = torch.zeros(steps, samples, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    return counts @ per_sample_gradients / batch_size
