"""Vitals of the weights in a window of optimizer steps: sizes of weights, gradient and moves, growth, weight decay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import batch_sums, ratio_of_sums
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.estimates import LayerEstimates, with_total, without_error
from thermo_callbacks.functional.window.statistics import WindowStatistics

GROWTH_STEPS = 1_000
"""Steps that the growth of the weights is told for."""


def update_ratio(parameters: Tensor, displacements: Tensor) -> Tensor:
    r"""Update ratio: how far a step moves the weights, relative to their size.

    .. math:: \sqrt{\langle |D|^2 \rangle / \langle |q|^2 \rangle}

    with means over the W steps of the window. Dimensionless, per step. Of a layer that learns it is about
    :math:`10^{-3}` as a rule of thumb: far above, steps wipe out what was learned; far below, nothing moves. Weights
    that start at zero (biases) have a large ratio at first. NaN where all parameters are zero.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.

    Returns:
        The ratio, a scalar.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> q = torch.tensor([[3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
        >>> round(update_ratio(q, 0.01 * q).item(), 6)
        0.01
    """
    window = ArrayWindow(1, parameters=[parameters], displacements=[displacements])
    return update_ratio_sums(window).estimate().whole.value


def gradient_norm(gradients: Tensor, total: int | None = None) -> Tensor:
    r"""Norm of the gradient of a step, its root mean square over a window.

    .. math:: \sqrt{\frac Nn \langle |g|^2 \rangle}

    with the mean over the W steps and the norm over the n watched of N coordinates. Unit: loss per unit of parameter.
    The square is unbiased under sampling; the norm of a batch's gradient holds its noise, and so falls with larger
    batches.

    Args:
        gradients: Gradients of the steps, shape ``[W, n]``.
        total: All coordinates N; None: n.

    Returns:
        The norm, a scalar.

    Raises:
        ValueError: If ``gradients`` is no floating-point tensor ``[W, n]`` with a step.

    Example:
        >>> import torch
        >>> gradient_norm(torch.tensor([[3.0, 4.0]]), total=8).item()  # four times the square of a norm of 5
        10.0
    """
    window = ArrayWindow(1, gradients=[gradients], sizes=None if total is None else [total])
    return gradient_norm_sums(window).estimate().whole.value


def weight_norm(parameters: Tensor, total: int | None = None) -> Tensor:
    r"""Norm of the weights, its root mean square over a window.

    .. math:: \sqrt{\frac Nn \langle |q|^2 \rangle}

    with the mean over the W steps and the norm over the n watched of N coordinates. Unit: that of the parameters.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        total: All coordinates N; None: n.

    Returns:
        The norm, a scalar.

    Raises:
        ValueError: If ``parameters`` is no floating-point tensor ``[W, n]`` with a step.

    Example:
        >>> import torch
        >>> weight_norm(torch.tensor([[3.0, 4.0], [4.0, 3.0]])).item()
        5.0
    """
    window = ArrayWindow(1, parameters=[parameters], sizes=None if total is None else [total])
    return weight_norm_sums(window).estimate().whole.value


def weight_growth(parameters: Tensor, displacements: Tensor) -> Tensor:
    r"""Growth of the weights: relative change of their norm in 1,000 steps at the pace of the window.

    .. math:: 1000\,\frac{\langle 2\,q \cdot D + |D|^2 \rangle}{2\,\langle |q|^2 \rangle}

    since :math:`|q'|^2 - |q|^2 = 2 q\cdot D + |D|^2` in a step, exactly. Dimensionless; 0.1: the norm grows by a tenth
    in 1,000 steps, were it to go on so. Positive without end in layers before a normalisation that have no weight
    decay. Its standard error has batches of about :math:`\sqrt W` successive steps as replicates, since moves with
    momentum go on for many steps. NaN where all parameters are zero.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.

    Returns:
        The growth, a scalar.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> q = torch.full((10, 4), 2.0, dtype=torch.float64)
        >>> round(weight_growth(q, 1e-6 * q).item(), 6)  # a millionth a step
        0.001
    """
    window = ArrayWindow(1, parameters=[parameters], displacements=[displacements])
    return weight_growth_sums(window).estimate().whole.value


def decay_share(parameters: Tensor, displacements: Tensor, contraction: Tensor | float) -> Tensor:
    r"""Decay share: part that weight decay has in what moves the weights.

    .. math:: \frac{a}{a + b}, \qquad a^2 = \langle |\kappa q|^2 \rangle, \quad b^2 = \langle |D + \kappa q|^2 \rangle

    Of the displacement :math:`D`, weight decay makes :math:`-\kappa q` and the gradient (with its momentum) all else:
    the share compares the sizes of both. 0 without weight decay, 1 where it is all that moves the weights, 1/2 where
    it pulls as hard as the gradient pushes. The contraction :math:`\kappa` is :math:`\eta w` for decoupled decay
    :math:`w`, :math:`m w` with the mobility :math:`m` for coupled decay; with momentum the coupled one acts over
    :math:`1/(1-\mu)` steps, in which the weights are taken not to change. Dimensionless.

    Args:
        parameters: Parameters before each step, shape ``[W, n]``.
        displacements: What the optimizer moved, shape ``[W, n]``.
        contraction: Share :math:`\kappa` by which decay shrinks a parameter in a step, shape ``[n]`` or one for all.

    Returns:
        The share in [0, 1], a scalar; NaN where nothing moved.

    Raises:
        ValueError: If shapes differ or there is no step.

    Example:
        >>> import torch
        >>> q = torch.full((5, 3), 2.0, dtype=torch.float64)
        >>> round(decay_share(q, 0.0 * q, 0.01).item(), 6)  # the gradient pushes as hard as the decay pulls
        0.5
        >>> round(decay_share(q, -0.01 * q, 0.01).item(), 6)
        1.0
    """
    window = ArrayWindow(1, parameters=[contraction * parameters], displacements=[displacements])
    squares, products = window.weight_square[None], window.position_displacement
    return _decay_share(squares, products, window.displacement_square).estimate().whole.value


class VitalEstimates(NamedTuple):
    """Estimates of one window that is complete."""

    estimates: LayerEstimates

    def estimate(self) -> LayerEstimates:
        """The estimates of layers and whole."""
        return self.estimates


def update_ratio_sums(window: WindowStatistics) -> VitalEstimates:
    """:func:`update_ratio` of layers and whole."""
    moves = with_total(_mean(window.displacement_square) * window.sample_scale)
    return _roots(ratio_of_sums(moves, with_total(window.weight_square)), window)


def gradient_norm_sums(window: WindowStatistics) -> VitalEstimates:
    """:func:`gradient_norm` of layers and whole."""
    power = window.mean_gradient_square
    if window.steps > 1:
        power = power + window.gradient_square.sum(0) / window.steps
    return _roots(with_total(power * window.sample_scale), window)


def weight_norm_sums(window: WindowStatistics) -> VitalEstimates:
    """:func:`weight_norm` of layers and whole, also of layers without a gradient."""
    square = with_total(window.weight_square)
    return VitalEstimates(without_error(square.sqrt() if window.steps else torch.full_like(square, torch.nan)))


def weight_growth_sums(window: WindowStatistics) -> VitalEstimates:
    """:func:`weight_growth` of layers and whole, batches of about the square root of W steps being the replicates."""
    change = 2.0 * window.position_displacement + window.displacement_square
    scale = 0.5 * GROWTH_STEPS / with_total(window.weight_square)
    scale = torch.where(scale.isfinite(), scale, torch.nan)
    steps = len(change)
    changes = with_total(change * window.sample_scale)
    batches = batch_sums(changes)
    count = len(batches)
    # batches differ by up to one step: the deviation of a batch is that from its steps at the mean pace
    lengths = batch_sums(torch.ones_like(changes[:, :1]))
    scatter = (batches - lengths * _mean(changes)).square().sum(0)
    variance = scatter * count / (count - 1) / steps**2 if count > 1 else torch.full_like(scatter, torch.nan)
    stderr = scale * (variance + with_total(window.growth_sampling_variance)).sqrt()
    degrees = torch.full_like(stderr, max(count - 1, 0))
    there = _present(window)
    value = torch.where(there, scale * _mean(changes), torch.nan)
    return VitalEstimates(LayerEstimates(value, torch.where(there, stderr, torch.nan), degrees))


def decay_share_sums(window: WindowStatistics) -> VitalEstimates | None:
    """:func:`decay_share` of layers and whole; None where no weight decays."""
    if bool((window.decay_square == 0).all()):
        return None
    scale = window.sample_scale
    terms = (window.decay_square, window.decay_displacement, window.displacement_square)
    return _decay_share(*((term * scale).view(-1, len(scale)) for term in terms))


def _decay_share(squares: Tensor, products: Tensor, moves: Tensor) -> VitalEstimates:
    """Share from the squares of the decay's moves, their products with the moves, and the squares of these."""
    decay, product, move = (with_total(_mean(term)) for term in (squares, products, moves))
    others = (move + 2.0 * product + decay).clamp(min=0.0).sqrt()
    return VitalEstimates(without_error(ratio_of_sums(decay.sqrt(), decay.sqrt() + others)))


def _roots(squares: Tensor, window: WindowStatistics) -> VitalEstimates:
    """Roots of layers' values and of the whole's; NaN of what had no gradient in a step that counts."""
    return VitalEstimates(without_error(torch.where(_present(window), squares.sqrt(), torch.nan)))


def _present(window: WindowStatistics) -> Tensor:
    """Layers, and the whole model, that had a gradient in a step that counts, ``[L + 1]``."""
    present = (window.watched > 0) & (window.steps > 0)
    return torch.cat([present, present.any().view(1)])


def _mean(rows: Tensor) -> Tensor:
    """Mean over steps; 0 of none."""
    return rows.sum(0) / max(1, len(rows))
