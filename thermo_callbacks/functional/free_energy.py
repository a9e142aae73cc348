"""Free energy of training."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate


def free_energy(internal_energy: Tensor, temperature: Tensor, entropy: Tensor) -> Tensor:
    r"""Free energy of the trainable variables.

    .. math:: F = U - T S

    Unit: that of the loss. At constant temperature it falls towards equilibrium, where it is least: on a quadratic with
    the parameters around its minimum, over all Gaussians, where each coordinate's variance is :math:`T/\lambda`. Its
    zero is a matter of convention, as :math:`S_q` shifts with the units of the parameters.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the free energy of learning; the definition is
    this project's own reading.

    Args:
        internal_energy: Mean loss U, any shape.
        temperature: Temperature T in units of the loss, same shape.
        entropy: Entropy of the trainable variables S in nats, same shape.

    Returns:
        The free energy, of the shape that the arguments broadcast to.

    Example:
        >>> import torch
        >>> free_energy(torch.tensor(2.0), torch.tensor(0.5), torch.tensor(-10.0)).item()
        7.0
    """
    return internal_energy - temperature * entropy


def free_energy_estimate(internal_energy: Estimate, temperature: Estimate, entropy: Estimate) -> Estimate:
    r"""Free energy with its standard error, to first order.

    .. math:: s^2(F) = s^2(U) + S^2 s^2(T) + T^2 s^2(S), \qquad
              \nu = \frac{s^4(F)}{s^4(U)/\nu_U + S^4 s^4(T)/\nu_T + T^4 s^4(S)/\nu_S}

    The three errors count as independent, and degrees of freedom combine by the Welch-Satterthwaite formula. With the
    large negative entropy of many narrow coordinates, the temperature's error is most of it.

    Args:
        internal_energy: Mean loss U.
        temperature: Temperature T.
        entropy: Entropy of the trainable variables S.

    Returns:
        The free energy; its error is NaN where one of the three is.

    Example:
        >>> import torch
        >>> exact = torch.zeros(())
        >>> energy = Estimate(torch.tensor(2.0), exact, exact)
        >>> temperature = Estimate(torch.tensor(0.5), torch.tensor(0.01), torch.tensor(9.0))
        >>> value, stderr, _ = free_energy_estimate(energy, temperature, Estimate(torch.tensor(-10.0), exact, exact))
        >>> round(value.item(), 6), round(stderr.item(), 6)
        (7.0, 0.1)
    """
    value = free_energy(internal_energy.value, temperature.value, entropy.value)
    errors = (internal_energy.stderr, entropy.value * temperature.stderr, temperature.value * entropy.stderr)
    variances = torch.stack([error.square().expand_as(value) for error in errors])
    parts = (internal_energy, temperature, entropy)
    degrees = torch.stack([part.degrees_of_freedom.expand_as(value) for part in parts]).to(variances)
    variance = variances.sum(0)
    # what is known exactly has no say in the degrees of freedom
    shares = torch.where(variances == 0.0, 0.0, variances.square() / degrees)
    return Estimate(value, variance.sqrt(), torch.where(variance == 0.0, torch.inf, variance.square() / shares.sum(0)))
