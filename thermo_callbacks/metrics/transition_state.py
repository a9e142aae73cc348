"""What a transition temperature needs to know of one state of a model: sums over samples, and some residuals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional import transition_temperature
from thermo_callbacks.functional.spacings import entropy_of, surprisals
from thermo_callbacks.functional.statistics import Estimate

RESOLVED = 2.0
"""Standard errors that the entropies of two states must lie apart for their ratio to say anything."""
FEWEST_RESIDUALS = 5  # that show a density


class StateRecord(NamedTuple):
    """Sums over one state's replicates, which are samples, or batches where only a batch's mean loss is known.

    Attributes:
        totals: Sums of losses, of entropies and of samples, ``[3]``.
        products: Sums over replicates of the products of these three, ``[3, 3]``.
        replicates: Number of replicates, a scalar.
        residuals: Rows of priority (infinite where the place is free), residual, its replicate's sum of losses and
            number of samples, ``[4, k]``; k = 0 or all free for a state whose samples have entropies of their own.
    """

    totals: Tensor
    products: Tensor
    replicates: Tensor
    residuals: Tensor


class StateMoments(NamedTuple):
    """Energy and entropy of a state with their covariance.

    Attributes:
        mean: Energy and entropy, ``[2]``; NaN or infinite where one has no value.
        covariance: Squares of their standard errors, and their covariance, ``[2, 2]``; NaN with fewer than two
            replicates.
        replicates: Number of replicates, a scalar.
    """

    mean: Tensor
    covariance: Tensor
    replicates: Tensor


def state_moments(record: StateRecord) -> StateMoments:
    """Energy and entropy of a state, from its sums.

    Args:
        record: The state's sums.

    Returns:
        Means and covariance.
    """
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


def temperature_estimate(first: StateMoments, second: StateMoments) -> Estimate:
    r"""Transition temperature between two states, with its standard error by the delta method.

    .. math:: s^2(T) = \frac{\mathrm{Var}(\Delta E) - 2T\,\mathrm{Cov}(\Delta E, \Delta S)
                             + T^2\,\mathrm{Var}(\Delta S)}{(\Delta S)^2}

    The samples of the two states count as independent of each other.

    Args:
        first: The initial state.
        second: The final state.

    Returns:
        The temperature, NaN where the entropies don't differ by two standard errors.
    """
    value = transition_temperature(first.mean[0], second.mean[0], first.mean[1], second.mean[1])
    change, covariance = first.mean - second.mean, first.covariance + second.covariance
    unresolved = change[1].abs() <= RESOLVED * covariance[1, 1].clamp(min=0.0).sqrt()  # not so where it's NaN
    value = torch.where(unresolved, torch.nan, value)
    direction = torch.stack([torch.ones_like(value), -value])
    stderr = (direction @ covariance @ direction).clamp(min=0.0).sqrt() / change[1].abs()
    degrees = (torch.minimum(first.replicates, second.replicates) - 1).clamp(min=0.0)
    return Estimate(value, stderr, degrees)


def missing_reason(first: StateMoments, second: StateMoments) -> str | None:
    """Why two states have no transition temperature.

    Args:
        first: The initial state.
        second: The final state.

    Returns:
        The reason as half a sentence; None where there is a temperature.
    """
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


def lowest_priorities(residuals: Tensor) -> Tensor:
    """Merge the residuals of several processes: those of lowest priority are a random sample of all.

    Args:
        residuals: As in :class:`StateRecord` for each process and state, ``[R, 2, 4, k]``.

    Returns:
        Those that are kept, ``[2, 4, k]``.
    """
    ranks, states, rows, places = residuals.shape
    pooled = residuals.permute(1, 2, 0, 3).reshape(states, rows, ranks * places)
    return torch.stack([_lowest(state, places) for state in pooled])


def enter_lowest(kept: Tensor, entered: Tensor) -> Tensor:
    """Let residuals of low priority take the places of those of high priority.

    Args:
        kept: As in :class:`StateRecord`, ``[4, k]``.
        entered: More of them, ``[4, n]``.

    Returns:
        The k of lowest priority among both.
    """
    at_stake = min(kept.shape[1], entered.shape[1])
    highest = kept[0].topk(at_stake).indices
    return kept.index_copy(1, highest, _lowest(torch.cat([kept[:, highest], entered], 1), at_stake))


def _lowest(residuals: Tensor, places: int) -> Tensor:
    return residuals[:, residuals[0].topk(places, largest=False).indices]


def priorities(values: Tensor, first: Tensor) -> Tensor:
    """Pseudo-random numbers in [0, 1) from a residual's bits and its place in the order of arrival.

    No random stream is touched, and processes need not agree on who draws what: their residuals differ.

    Args:
        values: Residuals, float64 ``[B]``.
        first: Number of residuals before these, a scalar.

    Returns:
        One priority each, float64 ``[B]``.
    """
    place = torch.arange(values.numel(), device=values.device) + first
    mixed = values.view(torch.int64) ^ (place * -7046029254386353131)  # odd, near 2^64 / golden ratio
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):  # the finalizer of SplitMix64
        mixed = (mixed ^ _shifted(mixed, shift)) * factor
    return _shifted(mixed ^ _shifted(mixed, 31), 11).double() / 2.0**53


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift right, zeros coming in from the left."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
