"""Dead units and saturated elements of an activation."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.checks import Activation
from thermo_callbacks.functional.activations.flat import FLAT, flat_part, never_leaving, unit_extremes
from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.statistics import ratio_of_sums


def dead_unit_fraction(input: Tensor, activation: Activation, threshold: float = FLAT) -> Tensor:
    r"""Share of an activation's units that never leave the flat part of its function over a batch.

    A unit is dead where :math:`|f'(z)|` is below the threshold for every sample: no learning signal gets through it, so
    that nothing before it can bring it back. A ReLU is dead where it puts out 0 for all samples; a tanh where all its
    inputs lie beyond 3; a LeakyReLU never. A unit whose output happens to be constant is not dead: its input is. An
    input at a turning point (the minimum of GELU) is not in the flat part, see the source of
    ``functional.activations.flat``. It depends on the size of the batch, since a rare unit looks dead in a small one:
    one that leaves the flat part with probability p does so with probability :math:`(1-p)^B`.

    Args:
        input: Pre-activations z, shape ``[B, ...]``, B at least 2 samples; each place behind the first dimension is a
            unit. Move positions that share a unit (pixels, tokens) into the first dimension to count channels.
        activation: The elementwise function or module; evaluated as in :func:`gaussian_efficiency`.
        threshold: Magnitude of the slope below which the function is flat, positive.

    Returns:
        The fraction in [0, 1], a scalar.

    Raises:
        ValueError: If there are fewer than two samples, no unit, or no floating dtype, ``activation`` isn't an
            elementwise function, or ``threshold`` isn't positive.

    Example:
        >>> import torch
        >>> z = torch.tensor([[-1.0, 2.0, 5.0], [-3.0, 2.0, -5.0]])
        >>> dead_unit_fraction(z, torch.relu), dead_unit_fraction(z, torch.tanh)
        (tensor(0.3333), tensor(0.3333))
    """
    _check_units("input", input)
    dead = never_leaving(unit_extremes(input.detach(), [0]), flat_part(activation, threshold))
    return dead.to(torch.promote_types(input.dtype, torch.float32)).mean()


def dead_fraction(output: Tensor) -> Tensor:
    """Share of an activation's neurons whose output is the same for every sample of a batch; deprecated.

    A constant output is no sign of death: a unit that is fed a constant has a live slope, and a saturated tanh that
    wiggles in its last digits has none. Use :func:`dead_unit_fraction`, which asks the function.

    Args:
        output: Activations, shape ``[B, ...]``, B at least 2 samples; each place behind the first dimension is a
            neuron.

    Returns:
        The fraction in [0, 1], a scalar.

    Raises:
        ValueError: If there are fewer than two samples, no neuron, or no floating dtype.
    """
    warnings.warn(
        "dead_fraction(output) counts constant outputs, which need not be dead: use dead_unit_fraction(input, "
        "activation)",
        DeprecationWarning,
        stacklevel=2,
    )
    _check_units("output", output)
    constant = output.amax(0) == output.amin(0)
    return constant.to(torch.promote_types(output.dtype, torch.float32)).mean()


def _check_units(name: str, tensor: Tensor) -> None:
    if tensor.ndim < 1 or tensor.shape[0] < 2 or tensor.numel() == 0 or not tensor.is_floating_point():
        raise ValueError(
            f"{name} must be a floating-point tensor of shape [B, ...] with B >= 2 samples, got shape "
            f"{tuple(tensor.shape)} and {tensor.dtype}: one sample can't show whether a unit answers"
        )


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
