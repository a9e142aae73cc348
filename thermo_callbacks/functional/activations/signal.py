"""Learning signal at an activation, against that at the last one."""

from __future__ import annotations

from torch import Tensor

from thermo_callbacks.functional.activations.powers import power_ratio, sample_powers


def learning_signal(grad_output: Tensor, last_grad_output: Tensor) -> Tensor:
    r"""Learning signal at an activation relative to that at the last activation of the network, per unit.

    .. math:: \frac{\frac{1}{n} \sum (\partial L/\partial a)^2}
              {\frac{1}{n_\mathrm{last}} \sum (\partial L/\partial a_\mathrm{last})^2}

    The sums are over samples, positions (pixels, tokens) and units, n counts units: a position that a pooling layer
    drops takes nothing away. 1 through the whole depth where the signal arrives in full; it vanishes or explodes where
    it changes by a factor in each layer, so read it in powers of ten. The unit and sign of the loss don't matter.
    Dimensionless.

    Source: the variance of back-propagated gradients of Glorot and Bengio 2010, "Understanding the difficulty of
    training deep feedforward neural networks", relative to the last layer.

    Args:
        grad_output: Gradients of the loss with respect to the activation's output a, shape ``[B, units]`` or
            ``[B, units, positions...]``.
        last_grad_output: The same at the last activation, of its own shape with the same B.

    Returns:
        The ratio, a float64 scalar; NaN where no signal reaches the last activation.

    Raises:
        ValueError: If a tensor has fewer than two dimensions, or is empty.

    Example:
        >>> import torch
        >>> learning_signal(torch.full((3, 8), 0.1), torch.ones(3, 2))
        tensor(0.0100, dtype=torch.float64)
    """
    for name, tensor in (("grad_output", grad_output), ("last_grad_output", last_grad_output)):
        if tensor.ndim < 2 or tensor.numel() == 0:
            raise ValueError(f"{name} must have shape [B, units, ...] and elements, got shape {tuple(tensor.shape)}")
    power, last_power = (sample_powers(tensor).sum() for tensor in (grad_output, last_grad_output))
    return signal_ratio(power, last_power / last_grad_output.shape[1], grad_output.shape[1])


def signal_ratio(power: Tensor, last_per_unit: Tensor, units: Tensor | int) -> Tensor:
    """Power per unit over that at the last activation, any shape; NaN where the last is zero or one isn't finite."""
    return power_ratio(power, units * last_per_unit)
