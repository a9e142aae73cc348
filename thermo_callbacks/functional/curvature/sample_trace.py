"""Traces from directions that differ from sample to sample."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate


def sample_trace(contributions: Tensor) -> Estimate:
    r"""Trace of a Hessian from a random direction of each sample's own, samples being the replicates.

    .. math:: \tau = \sum_i y_i, \qquad y_i = v_i^\top H_i v_i, \qquad
              s^2(\tau) = \frac{B}{B - 1} \sum_i (y_i - \bar y)^2

    for a loss that is a sum over B samples, :math:`L = \sum_i l_i` (a mean of them counts :math:`1/B` to each), with
    the Hessians :math:`H_i` of the terms and independent directions :math:`E\,v_i v_i^\top = 1`. Each term is probed
    by signs of its own, so that what one vector for all would be shaken by averages out: unbiased, and the variance
    falls with the number of samples. One product with the Hessian gives all :math:`y_i`, since no term couples two
    samples; where one does (BatchNorm in training, contrastive losses), this is not the trace.

    The error is that of the loss of the whole population: it holds the scatter of the probes and that of the batches,
    since the samples of a batch scatter by both. It is right if samples are drawn independently; of a batch that is
    all there is, it is too large.

    Source: Hutchinson 1990 for the directions; independent ones for each term are this project's own.

    Args:
        contributions: The :math:`y_i`, ``[B, ...]``, for example of several layers; a sum over layers is an estimate of
            the trace of all of them, with an error that their common samples are in.

    Returns:
        Trace, standard error and B - 1 degrees of freedom, each ``[...]``; the error is NaN for a single sample.

    Raises:
        ValueError: If there is no sample.

    Example:
        >>> import torch
        >>> trace = sample_trace(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        >>> trace.value.item(), trace.stderr.item()  # 3 times the mean's error of 1 / sqrt(3)
        (6.0, 1.7320508075688772)
    """
    if contributions.ndim == 0 or len(contributions) == 0:
        raise ValueError(
            f"contributions must hold at least one sample, got shape {tuple(contributions.shape)}: give a batch"
        )
    samples = len(contributions)
    value = contributions.sum(0)
    variance = samples * contributions.var(0) if samples > 1 else torch.full_like(value, torch.nan)
    return Estimate(value, variance.sqrt(), torch.full_like(value, samples - 1))
