"""Temperatures of an activation's input and output."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.activations.powers import temperature_drop_of_variances, variance_from_sums


def temperature_drop(input: Tensor, output: Tensor) -> Tensor:
    r"""Relative fall of the temperature from an activation's input to its output.

    .. math:: 1 - \frac{T_\mathrm{cold}}{T_\mathrm{hot}} = 1 - \frac{\mathrm{Var}(a)}{\mathrm{Var}(z)}

    with the variances over all elements. Between heat baths of these temperatures it would be Carnot's efficiency, but
    an activation is no such engine, and it bounds nothing: for input of mean 0,
    :func:`~thermo_callbacks.functional.work_efficiency` exceeds it exactly where
    :math:`2\,\mathrm{Var}(a) + \bar a^2 > \mathrm{Var}(z)`, as for the identity (1 against 0). Negative where the
    output is hotter than the input. Dimensionless.

    Args:
        input: Pre-activations z, any shape.
        output: Activations a, same shape.

    Returns:
        The drop, a scalar of at least float32; NaN where the input doesn't vary.

    Raises:
        ValueError: If shapes differ, a tensor is empty or isn't of a floating dtype.

    Example:
        >>> import torch
        >>> z = torch.tensor([-2.0, 2.0])
        >>> temperature_drop(z, z / 2)
        tensor(0.7500)
    """
    z, a = paired(input=input, output=output)
    hot, cold = _centred(z), _centred(a)
    scale = torch.maximum(hot.abs().amax(), cold.abs().amax())  # 1e-25 squared is 0 in float32
    return temperature_drop_of_variances(*(_variance(deviations / scale) for deviations in (hot, cold)))


def carnot_bound(input: Tensor, output: Tensor) -> Tensor:
    """Former name of :func:`temperature_drop`, which bounds nothing; deprecated.

    Args:
        input: Pre-activations z, any shape.
        output: Activations a, same shape.

    Returns:
        The drop.
    """
    warnings.warn("carnot_bound is called temperature_drop now: it bounds nothing", DeprecationWarning, stacklevel=2)
    return temperature_drop(input, output)


def _centred(tensor: Tensor) -> Tensor:
    """Deviations from the mean, exactly 0 for a constant."""
    shifted = tensor - tensor.flatten()[0]
    return shifted - shifted.mean()


def _variance(tensor: Tensor) -> Tensor:
    return variance_from_sums(tensor.square().sum(), tensor.sum(), tensor.new_tensor(tensor.numel()))
