"""Temperature of the passage from one state of a model to another."""

from __future__ import annotations

import torch
from torch import Tensor


def transition_temperature(
    energy_initial: Tensor, energy_final: Tensor, entropy_initial: Tensor, entropy_final: Tensor
) -> Tensor:
    r"""Transition temperature: loss given up per nat of entropy given up between two states.

    .. math:: T = \frac{E_0 - E_1}{S_0 - S_1}

    with E a state's mean loss and S its entropy: for regression the differential entropy of the residuals
    (:func:`vasicek_entropy`), for classification the :func:`predictive_entropy`, or the entropy of the weights. The two
    states are a model before and after training on the same data, or one model on two sets of data. Unit: that of the
    loss. Between two calibrated states of a classifier it is 1 with the cross-entropy loss, since there energy and
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
