"""The bulk: canonical ensemble of the states of a network's neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def bulk_loss(
    states: Sequence[Tensor], images: Sequence[Tensor], *, regulator: float = 0.0, mean: Sequence[Tensor] = ()
) -> Tensor:
    r"""Bulk loss of states of the neurons: how far they are from their images under the map of the network.

    .. math:: H(x) = \tfrac12 |x - f(wx + b)|^2 + \tfrac{m^2}{2} |x - \bar x|^2

    The agitation of the neurons by moving weights is this loss, without regulator, of the states under the weights
    before a step and their images under the weights after it: 0 for a step of length 0, and of second order in its
    length. With the targets in the place of the output neurons' states it also holds the boundary loss of a squared
    error. Unit: that of a squared state, per sample.

    Source: Vanchurin 2020, "Towards a theory of machine learning". The definition is this project's own reading.

    Args:
        states: States :math:`x_l` of each layer, ``[..., n_l]``.
        images: Images :math:`f(w_l x_{l-1} + b_l)`, same shapes. An input neuron is its own image.
        regulator: The regulator m^2; 0 for the measured loss.
        mean: The forward pass :math:`\bar x`, same shapes; needed with a regulator.

    Returns:
        The loss of each sample, summed over neurons: the leading shape of the states.

    Raises:
        ValueError: If the numbers of layers or the shapes differ, or there is a regulator and no ``mean``.

    Example:
        >>> import torch
        >>> x, y = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])], [torch.tensor([1.0, 1.0]), torch.tensor([1.0])]
        >>> bulk_loss(x, y).item()  # (1 + 4) / 2
        2.5
        >>> bulk_loss(x, y, regulator=0.5, mean=y).item()
        3.75
    """
    loss = _half_square_distance("images", states, images)
    if regulator:
        loss = loss + regulator * _half_square_distance("mean", states, mean)
    return loss


def _half_square_distance(name: str, states: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    here, there = [tuple(x.shape) for x in states], [tuple(x.shape) for x in others]
    if not states or here != there:
        raise ValueError(f"{name} must have the shapes of states, one tensor for each layer, got {there} and {here}")
    terms = [0.5 * (x - y).square().sum(-1) for x, y in zip(states, others, strict=True)]
    return torch.stack(terms).sum(0)


def bulk_log_partition(complexity: Tensor, temperature: float | Tensor, neurons: int) -> Tensor:
    r"""Logarithm of the canonical partition function of the bulk, :math:`\ln Z = \frac n2 \ln(2\pi T) - C`.

    :math:`Z = \int e^{-H(x)/T}\,d^n x` with the bulk loss H about the forward pass, which is quadratic with the matrix
    G: exact for a linear network, and for others as long as T is small against the curvature of the activations.

    Source: Vanchurin 2020, "Towards a theory of machine learning". The definition is this project's own reading.

    Args:
        complexity: Complexity C in nats, any shape.
        temperature: Temperature T, broadcast against it.
        neurons: Number n of neurons.

    Returns:
        ln Z, broadcast shape; NaN where the temperature isn't positive.

    Example:
        >>> import math, torch
        >>> bulk_log_partition(torch.tensor(1.5), 1.0 / (2.0 * math.pi), neurons=10).item()
        -1.5
    """
    warm = torch.as_tensor(temperature, dtype=complexity.dtype, device=complexity.device)
    warm = torch.where(warm > 0, warm, torch.nan)
    return 0.5 * neurons * (2.0 * math.pi * warm).log() - complexity


def bulk_entropy(complexity: Tensor, temperature: float | Tensor, neurons: int) -> Tensor:
    r"""Thermodynamic entropy of the bulk, :math:`S_x = \frac n2 (1 + \ln 2\pi T) - C = \langle H \rangle/T + \ln Z`.

    It is the differential entropy of the Gaussian :math:`p(x) \propto e^{-H/T}`, so that the complexity is what the
    couplings take off it. In nats.

    Args:
        complexity: Complexity C in nats, any shape.
        temperature: Temperature T, broadcast against it.
        neurons: Number n of neurons.

    Returns:
        The entropy, broadcast shape; NaN where the temperature isn't positive.

    Example:
        >>> import math, torch
        >>> bulk_entropy(torch.tensor(1.5), 1.0 / (2.0 * math.pi), neurons=10).item()
        3.5
    """
    return 0.5 * neurons + bulk_log_partition(complexity, temperature, neurons)


def bulk_free_energy(complexity: Tensor, temperature: float | Tensor, neurons: int) -> Tensor:
    r"""Free energy of the bulk, :math:`F_x = -T \ln Z = \langle H \rangle - T S_x`, in units of the temperature.

    Args:
        complexity: Complexity C in nats, any shape.
        temperature: Temperature T, broadcast against it.
        neurons: Number n of neurons.

    Returns:
        The free energy, broadcast shape; NaN where the temperature isn't positive.

    Example:
        >>> import math, torch
        >>> f = bulk_free_energy(torch.tensor(1.5), 1.0 / (2.0 * math.pi), neurons=10)
        >>> print(f"{f * 2.0 * math.pi:.4f}")
        1.5000
    """
    return -temperature * bulk_log_partition(complexity, temperature, neurons)


def mean_bulk_loss(temperature: Tensor, neurons: int) -> Tensor:
    r"""Bulk loss of the canonical ensemble, :math:`\langle H \rangle = n T / 2`: equipartition, whatever the weights.

    Args:
        temperature: Temperature T, any shape.
        neurons: Number n of neurons.

    Returns:
        The mean loss, same shape and unit.

    Example:
        >>> import torch
        >>> mean_bulk_loss(torch.tensor(0.5), neurons=10).item()
        2.5
    """
    return 0.5 * neurons * temperature


def equipartition_temperature(loss: Tensor, neurons: int) -> Tensor:
    r"""Temperature at which the canonical ensemble has a given bulk loss, :math:`T = 2 H / n`.

    Standard error: 2/n times that of the loss. For one state drawn from the ensemble the relative one is
    :math:`\sqrt{2/n}`.

    Args:
        loss: Bulk loss H per sample, any shape.
        neurons: Number n of neurons.

    Returns:
        The temperature, same shape and unit.

    Raises:
        ValueError: If there is no neuron.

    Example:
        >>> import torch
        >>> equipartition_temperature(torch.tensor(2.5), neurons=10).item()
        0.5
    """
    if neurons < 1:
        raise ValueError(f"neurons must be at least 1, got {neurons}")
    return 2.0 * loss / neurons


def bulk_first_law_residual(loss: Tensor, temperature: Tensor, complexity: Tensor, neurons: int) -> Tensor:
    r"""Residual of the first law: change of the bulk loss between successive states less the heat.

    .. math:: \Delta H - \bar T\,(\Delta S_x + \Delta C)

    with the mean temperature :math:`\bar T` of the two states. For the canonical ensemble it vanishes but for a term of
    third order in the temperature's relative change, since :math:`S_x + C` depends on the temperature alone. For a
    measured loss and a temperature measured by other means it says how far the neurons are from that ensemble. In
    units of the loss.

    Args:
        loss: Bulk loss H of successive states, ``[..., W]``.
        temperature: Their temperatures T, same shape.
        complexity: Their complexities C in nats, same shape.
        neurons: Number n of neurons, the same for all.

    Returns:
        The residuals, ``[..., W - 1]``; NaN where a temperature isn't positive.

    Raises:
        ValueError: If there are fewer than two states.

    Example:
        >>> import torch
        >>> temperature = torch.tensor([1.0, 1.01], dtype=torch.float64)
        >>> complexity = torch.tensor([3.0, 4.0], dtype=torch.float64)
        >>> loss = mean_bulk_loss(temperature, neurons=10)  # rises by 0.05
        >>> print(f"{bulk_first_law_residual(loss, temperature, complexity, neurons=10).abs().item():.0e}")
        4e-07
    """
    if loss.ndim == 0 or loss.shape[-1] < 2:
        raise ValueError(f"loss must hold at least two successive states, got shape {tuple(loss.shape)}")
    heat = bulk_entropy(complexity, temperature, neurons) + complexity
    middle = 0.5 * (temperature[..., 1:] + temperature[..., :-1])
    return loss.diff() - middle * heat.diff()
