"""Dead neurons and saturated elements of an activation."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.statistics import ratio_of_sums


def dead_fraction(output: Tensor) -> Tensor:
    """Share of an activation's neurons whose output is the same for every sample of a batch.

    Such neurons tell nothing of the input: ReLUs that never open, and saturated ones whose output rounds to one value.
    It depends on the size of the batch, since a rare neuron looks dead in a small one.

    Args:
        output: Activations, shape ``[B, ...]``, B at least 2 samples; each place behind the first dimension is a
            neuron. Move positions that share a neuron (pixels, tokens) into the first dimension to count channels.

    Returns:
        The fraction in [0, 1], a scalar.

    Raises:
        ValueError: If there are fewer than two samples, no neuron, or no floating dtype.

    Example:
        >>> import torch
        >>> dead_fraction(torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 1.5, 2.0, 1.0]]))
        tensor(0.5000)
    """
    if output.ndim < 1 or output.shape[0] < 2 or output.numel() == 0 or not output.is_floating_point():
        raise ValueError(
            f"output must be a floating-point tensor of shape [B, ...] with B >= 2 samples, got shape "
            f"{tuple(output.shape)} and {output.dtype}: one sample can't show whether a neuron answers"
        )
    constant = constant_neurons(output, [0])
    return constant.to(torch.promote_types(output.dtype, torch.float32)).mean()


def constant_neurons(output: Tensor, samples: list[int]) -> Tensor:
    """Mask of the neurons with the same output for every sample; samples lie along the given dimensions."""
    return output.amax(samples) == output.amin(samples)


def saturated_fraction(grad_input: Tensor, grad_output: Tensor, threshold: float = 0.01) -> Tensor:
    r"""Share of an activation's elements that let next to nothing of the learning signal back through.

    An element is saturated where :math:`|f'(z)| = |\partial L/\partial z| / |\partial L/\partial a|` is below the
    threshold. Elements that no signal reaches say nothing of their slope and aren't counted.

    Args:
        grad_input: Gradients of the loss with respect to the activation's input z, any shape.
        grad_output: Gradients with respect to its output a, same shape.
        threshold: Slope below which an element is saturated, positive.

    Returns:
        The fraction in [0, 1], a scalar of at least float32; NaN where no signal arrives.

    Raises:
        ValueError: If shapes differ, a tensor is empty or isn't of a floating dtype, or ``threshold`` isn't positive.

    Example:
        >>> import torch
        >>> z = torch.tensor([-9.0, -1.0, 0.0, 1.0], requires_grad=True)
        >>> z.sigmoid().sum().backward()
        >>> saturated_fraction(z.grad, torch.ones(4))
        tensor(0.2500)
    """
    if not threshold > 0.0:
        raise ValueError(f"threshold must be a positive slope (for example 0.01), got {threshold}")
    arrived, sent = paired(grad_input=grad_input, grad_output=grad_output)
    known = arrived.isfinite() & sent.isfinite()
    saturated, reached = saturation_counts(arrived[known].abs(), sent[known].abs(), threshold).to(arrived.dtype)
    return ratio_of_sums(saturated, reached)


def saturation_counts(at_input: Tensor, at_output: Tensor, threshold: float) -> Tensor:
    """Numbers of saturated elements and of all that a signal reaches, from magnitudes of gradients, ``[2]``."""
    saturated = at_input < threshold * at_output  # false where nothing arrives at the output
    return torch.stack([saturated.count_nonzero(), at_output.count_nonzero()])
