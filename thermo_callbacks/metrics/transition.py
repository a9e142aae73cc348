"""Temperature of the passage between two states, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from thermo_callbacks.functional import vasicek_entropy
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.metrics.base import SummedMetric
from thermo_callbacks.metrics.transition_state import (
    StateMoments,
    StateRecord,
    enter_lowest,
    lowest_priorities,
    missing_reason,
    priorities,
    state_moments,
    temperature_estimate,
)

Entropy = Literal["outputs", "weights"]
State = Literal[0, 1, "initial", "final"]
_STATES: dict[Any, int] = {0: 0, 1: 1, "initial": 0, "final": 1}


class TransitionTemperature(SummedMetric):
    r"""Transition temperature; see :func:`~thermo_callbacks.functional.transition_temperature`.

    .. math:: T = \frac{E_0 - E_1}{S_0 - S_1}

    with E the mean loss of a state and S its entropy in nats:

    - ``entropy="outputs"``, logits ``[B, C]``: mean Shannon entropy of the predictions; with the cross-entropy loss T
      is 1 between two calibrated states.
    - ``entropy="outputs"``, residuals ``[B]``: differential entropy of the residuals by Vasicek's estimator, whose bias
      is nearly the same in both states. It needs the residuals themselves: up to ``max_residuals`` of each state are
      kept, a random sample of all where there are more.
    - ``entropy="weights"``, weights of each layer l: :math:`S = \sum_l N_l h(q_l)` with h Vasicek's estimator. The
      weights are the state, not a sample of it: S counts as exact.

    Unit: that of the loss. The standard error is that of the delta method. Losses and entropies of one sample go into
    it as a pair, since they vary together. The two states count as independent: where the same samples show both, their
    losses tend to rise and fall together, and the error is then too large. Where a batch's mean loss is all that is
    known, batches are the replicates, and the errors come from their scatter. T is NaN where the entropies lie within
    two of their standard errors of each other; :meth:`reason` says so.

    As input to ``update``: the state, the losses ``[B]`` or their mean, and the outputs. As output of ``compute``: the
    temperature, a scalar. States add up over batches and ranks, and nothing grows with their number.

    Args:
        entropy: What the entropy is that of.
        max_residuals: Residuals kept of each state, at least 100; the relative error of their entropy is about
            :math:`1/\sqrt{2\,\texttt{max\_residuals}}` or larger.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``entropy`` is unknown or ``max_residuals`` below 100.

    Example:
        >>> import torch
        >>> metric = TransitionTemperature()
        >>> metric.update("initial", torch.tensor([0.6, 0.8]), torch.zeros(2, 2))  # loss 0.7, entropy ln 2
        >>> metric.update("final", torch.tensor([0.1, 0.1]), torch.tensor([[50.0, 0.0], [0.0, 50.0]]))  # 0.1, 0
        >>> round(metric.compute().item(), 4)  # 0.6 / ln 2
        0.8656
    """

    totals: Tensor
    products: Tensor
    replicates: Tensor
    residuals: Tensor

    def __init__(self, entropy: Entropy = "outputs", *, max_residuals: int = 16_384, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if entropy not in get_args(Entropy):
            raise ValueError(f"entropy must be one of {', '.join(get_args(Entropy))}, got {entropy!r}")
        if max_residuals < 100:
            raise ValueError(f"max_residuals must be at least 100 to show a density, got {max_residuals}")
        self.entropy, self.max_residuals = entropy, max_residuals
        self._dimensions: int | None = None  # dimensions of the outputs so far
        for name, shape in (("totals", (2, 3)), ("products", (2, 3, 3))):
            self.add_state(name, torch.zeros(*shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("replicates", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        places = max_residuals if entropy == "outputs" else 0
        free = torch.full((2, 4, places), torch.inf, dtype=torch.float64)
        self.add_state("residuals", free, dist_reduce_fx=lowest_priorities)

    def update(
        self, state: State, losses: Tensor, outputs: Tensor | Sequence[Tensor], *, count: int | None = None
    ) -> None:
        """Add samples of a state.

        Args:
            state: 0 or ``"initial"``, 1 or ``"final"``.
            losses: Loss of each sample, ``[B]``, or the batch's mean loss, a scalar.
            outputs: Logits ``[B, C]``, C at least 2, or residuals ``[B]``; for the weights' entropy a tensor for each
                layer, of any shape with at least 5 elements.
            count: Samples behind a mean loss that stands beside weights; None: one. Outputs tell it themselves.

        Raises:
            ValueError: If ``state`` is unknown, or shapes don't fit ``entropy`` or each other.
        """
        if state not in _STATES:
            raise ValueError(f"state must be 0 or 'initial', 1 or 'final', got {state!r}")
        index = _STATES[state]
        if losses.ndim > 1:
            raise ValueError(
                f"losses must hold one number a sample, [B], or their mean, a scalar, got shape {tuple(losses.shape)}: "
                "flatten them"
            )
        losses = losses.detach().double()
        if self.entropy == "weights":
            self._add_weights(index, losses, outputs, count)
            return
        outputs = _checked_outputs(outputs, losses, count)
        if self._dimensions not in {None, outputs.ndim}:
            raise ValueError(
                f"outputs must be of one kind, logits [B, C] or residuals [B], got shape {tuple(outputs.shape)} after "
                "the other kind: reset first"
            )
        self._dimensions = outputs.ndim
        if outputs.ndim == 2:
            entropies = torch.special.entr(outputs.detach().double().softmax(1)).sum(1)
            self._add(index, _replicates(losses, entropies))
        else:
            rows = _replicates(losses, torch.zeros_like(outputs, dtype=torch.float64))
            self._keep(index, outputs.detach().double(), rows)
            self._add(index, rows)

    def reset(self) -> None:
        """Forget all samples, and which kind of outputs they had."""
        super().reset()
        self._dimensions = None

    def compute(self) -> Tensor:
        """The transition temperature, a scalar; NaN where it has no value, for the reason that :meth:`reason` gives."""
        return self._estimate().value

    def estimate(self) -> Estimate:
        """The temperature with its standard error, scalars; the error is NaN with fewer than two replicates a state."""
        return self._over_ranks(self._estimate)

    def reason(self) -> str | None:
        """Why the temperature has no value, as half a sentence; None where it has one."""
        return self._over_ranks(lambda: missing_reason(*self._moments()))

    def record(self, state: State) -> StateRecord:
        """Sums of one state over all ranks, which outlive a reset.

        Args:
            state: 0 or ``"initial"``, 1 or ``"final"``.

        Returns:
            The sums, with only the residuals that there are.
        """
        record = self._over_ranks(lambda: self._record(_STATES[state]))
        return record._replace(residuals=record.residuals[:, record.residuals[0].isfinite()])

    def _estimate(self) -> Estimate:
        return temperature_estimate(*self._moments())

    def _moments(self) -> tuple[StateMoments, StateMoments]:
        return state_moments(self._record(0)), state_moments(self._record(1))

    def _record(self, index: int) -> StateRecord:
        return StateRecord(self.totals[index], self.products[index], self.replicates[index], self.residuals[index])

    def _add_weights(self, index: int, losses: Tensor, weights: Tensor | Sequence[Tensor], count: int | None) -> None:
        layers = [weights] if isinstance(weights, Tensor) else list(weights)
        if not layers:
            raise ValueError("outputs must hold the weights of at least one layer, got none")
        entropies = [layer.numel() * vasicek_entropy(layer.detach().double().reshape(-1)) for layer in layers]
        entropy = torch.stack(entropies).sum()
        if losses.ndim:
            count = 1
        rows = torch.stack([losses, entropy.expand_as(losses), torch.ones_like(losses)]).reshape(3, -1)
        self._add(index, rows * (1 if count is None else count))

    def _keep(self, index: int, residuals: Tensor, rows: Tensor) -> None:
        """Enter residuals into the sample of those that are kept."""
        behind = rows[:, :1].expand(-1, residuals.numel()) if rows.shape[1] == 1 else rows
        order = priorities(residuals, self.totals[index, 2].long())
        entered = torch.stack([order, residuals, behind[0], behind[2]])
        kept = self.residuals.clone()
        kept[index] = enter_lowest(kept[index], entered)
        self.residuals = kept

    def _add(self, index: int, rows: Tensor) -> None:
        """Add replicates: rows of summed losses, summed entropies and numbers of samples, ``[3, K]``."""
        for name, sums in (("totals", rows.sum(1)), ("products", rows @ rows.T), ("replicates", rows.shape[1])):
            state = getattr(self, name).clone()
            state[index] += sums
            setattr(self, name, state)


def _replicates(losses: Tensor, entropies: Tensor) -> Tensor:
    """Samples as replicates, or their batch as one where only its mean loss is known, ``[3, K]``."""
    if losses.ndim:
        return torch.stack([losses, entropies, torch.ones_like(entropies)])
    samples = entropies.new_tensor(entropies.numel())
    return torch.stack([losses * samples, entropies.sum(), samples])[:, None]


def _checked_outputs(outputs: Any, losses: Tensor, count: int | None) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim not in {1, 2} or not outputs.is_floating_point():
        what = (
            f"shape {tuple(outputs.shape)} and {outputs.dtype}"
            if isinstance(outputs, Tensor)
            else type(outputs).__name__
        )
        raise ValueError(
            f"outputs must be a floating-point tensor, logits [B, C] or residuals [B], got {what}: flatten positions "
            "into samples, or say entropy='weights'"
        )
    if outputs.ndim == 2 and outputs.shape[1] < 2:
        raise ValueError(
            f"outputs must hold logits of at least 2 classes, got shape {tuple(outputs.shape)}: give a single logit z "
            "as two columns [0, z], residuals as [B]"
        )
    if count is not None:
        raise ValueError(
            f"count is for a mean loss beside weights, got {count} beside outputs that tell it: leave it out"
        )
    if not outputs.shape[0] or (losses.ndim and losses.shape[0] != outputs.shape[0]):
        raise ValueError(
            f"outputs must hold the samples of the losses, {losses.numel() if losses.ndim else 'at least 1'}, got "
            f"{outputs.shape[0]}"
        )
    return outputs
