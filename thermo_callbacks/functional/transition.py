"""Temperature of the passage from one state of a model to another, with its error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.spacings import entropy_of, surprisals
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.functional.transition_state import StateRecord

RESOLVED = 2.0
"""Standard errors that the entropies of two states must lie apart for their ratio to say anything."""
FEWEST_RESIDUALS = 5  # that show a density


def transition_temperature(
    energy_initial: Tensor, energy_final: Tensor, entropy_initial: Tensor, entropy_final: Tensor
) -> Tensor:
    r"""Transition temperature: loss given up per nat of entropy given up between two states.

    .. math:: T = \frac{E_0 - E_1}{S_0 - S_1}

    with E a state's mean loss and S its entropy: for regression the differential entropy of the residuals
    (:func:`vasicek_entropy`), for classification the :func:`predictive_entropy`, or the entropy of the weights. The two
    states are a model before and after training on the same data, or one model on two sets of data. Unit: loss per
    nat. Between two calibrated states of a classifier it is 1 with the cross-entropy loss, since there energy and
    entropy are the same. It is negative where the loss rises while the entropy falls, as in overfitting.

    It differs from the kinetic temperature, which is read off the noise of single steps: this one needs two states and
    no step. Relative error: that of the two differences, so it says little where the entropies differ by no more than
    their standard errors.

    Source: Zhang 2024, "On the Temperature of Machine Learning Systems". The choice of energy and entropy is this
    project's own reading.

    Args:
        energy_initial: Mean loss of the first state, any shape.
        energy_final: Mean loss of the second state.
        entropy_initial: Entropy of the first state in nats.
        entropy_final: Entropy of the second state in nats.

    Returns:
        The temperature, of the shape that the arguments broadcast to; NaN where the entropies are equal or one of them
        is infinite, since a point mass and a density have no finite difference.

    Example:
        >>> import torch
        >>> energies, entropies = torch.tensor([2.3, 0.3]), torch.tensor([2.5, 1.5])
        >>> round(transition_temperature(*energies, *entropies).item(), 4)
        2.0
    """
    change = entropy_initial - entropy_final
    return torch.where((change != 0) & change.isfinite(), (energy_initial - energy_final) / change, torch.nan)


class StateMoments(NamedTuple):
    """Energy and entropy of a state with their covariance."""

    mean: Tensor  # energy and entropy, [2]; NaN or infinite where one has no value
    covariance: Tensor  # of their errors, [2, 2]; NaN with fewer than two replicates
    replicates: Tensor  # a scalar


def state_moments(record: StateRecord) -> StateMoments:
    """Energy and entropy of a state from its sums, with their covariance."""
    samples, replicates = record.totals[2], record.replicates.to(record.totals)
    mean = record.totals[:2] / samples
    # deviations of a replicate's sums from what its number of samples lets expect
    contrast = torch.cat([torch.eye(2).to(mean), -mean[:, None]], 1)
    # the mean is that of the same replicates; K / (K - 1) where all are of one size
    share = record.products[2, 2] / samples.square()
    correction = torch.where(share < 1.0, 1.0 / (1.0 - share), torch.nan)
    covariance = correction * (contrast @ record.products @ contrast.T) / samples.square()
    kept = record.residuals[:, record.residuals[0].isfinite()]
    if kept.shape[1]:
        mean, covariance = _with_residuals(kept, mean, covariance, correction / samples)
    return StateMoments(mean, covariance, replicates)


def _with_residuals(kept: Tensor, mean: Tensor, covariance: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Put the residuals' entropy and its errors beside the energy."""
    _, values, losses, counts = kept
    count = values.numel()
    if count < FEWEST_RESIDUALS:
        return torch.stack([mean[0], mean.new_tensor(torch.nan)]), torch.full_like(covariance, torch.nan)
    deviations = surprisals(values)
    entropy, deviations = entropy_of(deviations), deviations - deviations.mean()
    variance = deviations.square().sum() / (count - 1) / count
    # the energy is that of all samples, of which these are some: both share 1/n of the samples' covariance
    common = (deviations * (losses - counts * mean[0])).mean() * scale
    return (
        torch.stack([mean[0], entropy]),
        torch.stack([torch.stack([covariance[0, 0], common]), torch.stack([common, variance])]),
    )


def resolved_temperature(energy_change: Tensor, entropy_change: Tensor, entropy_variance: Tensor) -> Tensor:
    """Transition temperature from changes, any shape; NaN where that of entropy is within two standard errors."""
    zero = torch.zeros_like(entropy_change)
    value = transition_temperature(energy_change, zero, entropy_change, zero)
    unresolved = entropy_change.abs() <= RESOLVED * entropy_variance.clamp(min=0.0).sqrt()  # not so where it's NaN
    return torch.where(unresolved, torch.nan, value)


def temperature_estimate(first: StateMoments, second: StateMoments) -> Estimate:
    """Transition temperature, with its standard error by the delta method; NaN where the entropies are too close."""
    # s^2(T) = (Var(dE) - 2 T Cov(dE, dS) + T^2 Var(dS)) / dS^2; the samples of the two states count as independent
    change, covariance = first.mean - second.mean, first.covariance + second.covariance
    value = resolved_temperature(change[0], change[1], covariance[1, 1])
    direction = torch.stack([torch.ones_like(value), -value])
    stderr = (direction @ covariance @ direction).clamp(min=0.0).sqrt() / change[1].abs()
    degrees = (torch.minimum(first.replicates, second.replicates) - 1).clamp(min=0.0)
    return Estimate(value, stderr, degrees)


def missing_reason(first: StateMoments, second: StateMoments) -> str | None:
    """Why two states have no transition temperature, as half a sentence; None where there is one."""
    for name, state in (("initial", first), ("final", second)):
        energy, entropy = state.mean.tolist()
        if not state.replicates > 0:
            return f"the {name} state has no samples"
        if not torch.tensor(energy).isfinite():
            return f"the mean loss of the {name} state is {energy}"
        if not torch.tensor(entropy).isfinite():
            return (
                f"the entropy of the {name} state is {entropy}: outputs that are not finite, residuals or weights with "
                f"a point mass, or fewer than {FEWEST_RESIDUALS} of them"
            )
    if temperature_estimate(first, second).value.isnan():
        return (
            f"the states' entropies, {first.mean[1]:.4g} and {second.mean[1]:.4g} nats, are equal within "
            f"{RESOLVED:g} standard errors"
        )
    return None
