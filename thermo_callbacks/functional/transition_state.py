"""Sums over the samples of one state of a model, and a random sample of its residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.entropy import prediction_entropies, vasicek_entropy

_MOST_RESIDUALS = 10**8


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


def empty_state(max_residuals: int, device: torch.device | None = None) -> StateRecord:
    """A state before its first sample: zeros in double precision, and free places for residuals, at least 100."""
    # five numbers of eight bytes each: beyond, no machine has room for them
    if not isinstance(max_residuals, int) or not 100 <= max_residuals <= _MOST_RESIDUALS:
        raise ValueError(
            f"max_residuals must be a whole number of at least 100 to show a density, and at most {_MOST_RESIDUALS:,}, "
            f"got {max_residuals!r}"
        )
    return StateRecord(
        torch.zeros(3, dtype=torch.float64, device=device),
        torch.zeros(3, 3, dtype=torch.float64, device=device),
        torch.zeros((), dtype=torch.int64, device=device),
        torch.full((4, max_residuals), torch.inf, dtype=torch.float64, device=device),
    )


def with_samples(record: StateRecord, losses: Tensor, outputs: Any, *, dimensions: int | None = None) -> StateRecord:
    """A new state with one more batch: losses ``[B]`` or their mean, and logits ``[B, C]`` or residuals ``[B]``."""
    _check_losses(losses)
    _check_outputs(outputs, losses, dimensions)  # those of earlier outputs, if there are any
    losses, outputs = losses.detach().double(), outputs.detach().double()
    if outputs.ndim == 2:
        return _added(record, _replicates(losses, prediction_entropies(outputs)))
    rows = _replicates(losses, torch.zeros_like(outputs))
    behind = rows[:, :1].expand(-1, outputs.numel()) if rows.shape[1] == 1 else rows
    order = priorities(outputs, record.totals[2].long())
    entered = torch.stack([order, outputs, behind[0], behind[2]])
    return _added(record, rows)._replace(residuals=enter_lowest(record.residuals, entered))


def with_weights(record: StateRecord, losses: Tensor, weights: Sequence[Tensor], count: int | None) -> StateRecord:
    """A state with one more batch of losses, or a mean over ``count`` of them, beside the weights of each layer."""
    _check_losses(losses)
    if not weights:
        raise ValueError("outputs must hold the weights of at least one layer, got none")
    losses = losses.detach().double()
    entropies = [layer.numel() * vasicek_entropy(layer.detach().double().reshape(-1)) for layer in weights]
    entropy = torch.stack(entropies).sum()
    rows = torch.stack([losses, entropy.expand_as(losses), torch.ones_like(losses)]).reshape(3, -1)
    return _added(record, rows * (1 if count is None or losses.ndim else count))


def merge_states(records: StateRecord) -> StateRecord:
    """One state from records of several processes, which are the first dimension of each part."""
    totals, products, replicates = (part.sum(0) for part in records[:3])
    return StateRecord(totals, products, replicates, lowest_priorities(records.residuals.unsqueeze(1)).squeeze(0))


def without_free_places(record: StateRecord) -> StateRecord:
    """A state without the places that no residual took."""
    return record._replace(residuals=record.residuals[:, record.residuals[0].isfinite()])


def _check_losses(losses: Tensor) -> None:
    if losses.ndim > 1:
        raise ValueError(
            f"losses must hold one number a sample, [B], or their mean, a scalar, got shape {tuple(losses.shape)}: "
            "flatten them"
        )


def _check_outputs(outputs: Any, losses: Tensor, dimensions: int | None) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim not in {1, 2} or not outputs.is_floating_point():
        tensor = isinstance(outputs, Tensor)
        what = f"shape {tuple(outputs.shape)} and {outputs.dtype}" if tensor else type(outputs).__name__
        raise ValueError(
            f"outputs must be a floating-point tensor, logits [B, C] or residuals [B], got {what}: flatten positions "
            "into samples, or say entropy='weights'"
        )
    if outputs.ndim == 2 and outputs.shape[1] < 2:
        raise ValueError(
            f"outputs must hold logits of at least 2 classes, got shape {tuple(outputs.shape)}: give a single logit z "
            "as two columns [0, z], residuals as [B]"
        )
    if not outputs.shape[0] or (losses.ndim and losses.shape[0] != outputs.shape[0]):
        raise ValueError(
            f"outputs must hold the samples of the losses, {losses.numel() if losses.ndim else 'at least 1'}, got "
            f"{outputs.shape[0]}"
        )
    if dimensions not in {None, outputs.ndim}:
        raise ValueError(
            f"outputs must be of one kind, logits [B, C] or residuals [B], got shape {tuple(outputs.shape)} after "
            "the other kind: reset first"
        )


def _replicates(losses: Tensor, entropies: Tensor) -> Tensor:
    """Samples as replicates, or their batch as one where only its mean loss is known, ``[3, K]``."""
    if losses.ndim:
        return torch.stack([losses, entropies, torch.ones_like(entropies)])
    samples = entropies.new_tensor(entropies.numel())
    return torch.stack([losses * samples, entropies.sum(), samples])[:, None]


def _added(record: StateRecord, rows: Tensor) -> StateRecord:
    """Add replicates: rows of summed losses, summed entropies and numbers of samples, ``[3, K]``."""
    totals, products = record.totals + rows.sum(1), record.products + rows @ rows.T
    return StateRecord(totals, products, record.replicates + rows.shape[1], record.residuals)


def lowest_priorities(residuals: Tensor) -> Tensor:
    """Merge the residuals of R processes, ``[R, 2, 4, k]``: the k of lowest priority are a random sample of all."""
    ranks, states, rows, places = residuals.shape
    pooled = residuals.permute(1, 2, 0, 3).reshape(states, rows, ranks * places)
    return torch.stack([_lowest(state, places) for state in pooled])


def enter_lowest(kept: Tensor, entered: Tensor) -> Tensor:
    """The k residuals of lowest priority among those that are kept, ``[4, k]``, and those that enter, ``[4, n]``."""
    at_stake = min(kept.shape[1], entered.shape[1])
    highest = kept[0].topk(at_stake).indices
    return kept.index_copy(1, highest, _lowest(torch.cat([kept[:, highest], entered], 1), at_stake))


def _lowest(residuals: Tensor, places: int) -> Tensor:
    return residuals[:, residuals[0].topk(places, largest=False).indices]


def priorities(values: Tensor, first: Tensor) -> Tensor:
    """Pseudo-random numbers in [0, 1) from a residual's bits and its place in the order of arrival."""
    # no random stream is touched, and processes need not agree on who draws what: their residuals differ
    place = torch.arange(values.numel(), device=values.device) + first
    mixed = values.view(torch.int64) ^ (place * -7046029254386353131)  # odd, near 2^64 / golden ratio
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):  # the finalizer of SplitMix64
        mixed = (mixed ^ _shifted(mixed, shift)) * factor
    return _shifted(mixed ^ _shifted(mixed, 31), 11).double() / 2.0**53


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift right, zeros coming in from the left."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
