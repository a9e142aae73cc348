"""Temperature of the passage between two states, as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.functional.transition import StateMoments, missing_reason, state_moments, temperature_estimate
from thermo_callbacks.functional.transition_state import (
    StateRecord,
    empty_state,
    lowest_priorities,
    with_samples,
    with_weights,
    without_free_places,
)
from thermo_callbacks.metrics.base import SummedMetric

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

    Unit: loss per nat. The standard error is that of the delta method. Losses and entropies of one sample go into
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

    _sums = StateRecord

    def __init__(self, entropy: Entropy = "outputs", *, max_residuals: int = 16_384, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if entropy not in get_args(Entropy):
            raise ValueError(f"entropy must be one of {', '.join(get_args(Entropy))}, got {entropy!r}")
        self.entropy, self.max_residuals = entropy, max_residuals
        self._dimensions: int | None = None  # dimensions of the outputs so far
        for name, part in empty_state(max_residuals)._asdict().items():
            merge = lowest_priorities if name == "residuals" else "sum"
            part = part[:, :0] if name == "residuals" and entropy == "weights" else part
            self.add_state(name, torch.stack([part, part]), dist_reduce_fx=merge)

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
        record = self._record(_STATES[state])
        if self.entropy == "weights":
            record = with_weights(record, losses, [outputs] if isinstance(outputs, Tensor) else list(outputs), count)
        else:
            if count is not None:
                raise ValueError(
                    f"count is for a mean loss beside weights, got {count} beside outputs that tell it: leave it out"
                )
            samples: Any = outputs  # is checked to be one tensor
            record = with_samples(record, losses, samples, dimensions=self._dimensions)
            self._dimensions = samples.ndim
        for name, part in record._asdict().items():
            states = getattr(self, name).clone()
            states[_STATES[state]] = part
            setattr(self, name, states)

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
        return without_free_places(self._over_ranks(lambda: self._record(_STATES[state])))

    def _estimate(self) -> Estimate:
        return temperature_estimate(*self._moments())

    def _moments(self) -> tuple[StateMoments, StateMoments]:
        return state_moments(self._record(0)), state_moments(self._record(1))

    def _record(self, index: int) -> StateRecord:
        return StateRecord(*(states[index] for states in self._total()))
