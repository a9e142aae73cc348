"""Entropies of samples and of predictions, in nats."""

from __future__ import annotations

import torch
from torch import Tensor

from thermo_callbacks.functional.spacings import entropy_of, surprisals


def vasicek_entropy(samples: Tensor) -> Tensor:
    r"""Differential entropy of a sample, from the spacings of its ordered values (Vasicek's estimator).

    .. math:: \hat h = \frac1n \sum_{i=1}^{n} \ln\Big(\frac{n}{2m}\,\big(x_{(i+m)} - x_{(i-m)}\big)\Big), \qquad
              m = \big\lfloor \sqrt n + \tfrac12 \big\rfloor

    with :math:`x_{(1)} \le \dots \le x_{(n)}` and indices beyond an end replaced by that end. Unit: nats. It follows a
    change of scale and place exactly, :math:`\hat h(ax + b) = \hat h(x) + \ln|a|`.

    Variance about :math:`\mathrm{Var}(\ln p)/n` (:math:`1/(2n)` for a Gaussian). The bias is mostly negative: exactly

    .. math:: \ln\frac{n}{2m} + \Big(1 - \frac{2m}{n}\Big)\psi(2m) - \psi(n+1) + \frac2n \sum_{i=1}^{m} \psi(i+m-1)

    for a uniform density (:math:`\psi` the digamma function), about -0.1 at n = 100, -0.03 at 1,000 and -0.009 at
    10,000; the curvature of a density adds to it (a Gaussian reads -0.007 at 1,000 and +0.003 at 10,000). For two
    samples of one size and one shape of density it is the same, and their entropies' difference is free of it.

    A sample with m + 1 equal values at one of its ends, or 2m + 1 anywhere, has a spacing of zero, and the entropy is
    minus infinity: so it is for a density with a point mass, and for weights that all start at zero. Fewer ties,
    as rounding to bfloat16 makes them, do not show; the value then holds for the density that was rounded as long as
    the spacings are wide against the rounding.

    Source: Vasicek 1976, "A test for normality based on sample entropy"; this m is that of Grzegorzewski and
    Wieczorkowski 1999, "Entropy-based goodness-of-fit test for exponentiality".

    Args:
        samples: Values :math:`x_i`, independent draws, shape ``[n]``, n at least 5.

    Returns:
        The entropy, a scalar of at least float32; minus infinity where ties make a spacing vanish, NaN where a value
        isn't finite.

    Raises:
        ValueError: If ``samples`` isn't a floating-point tensor of shape ``[n]``, or n is below 5.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> sample = torch.randn(100_000, generator=generator, dtype=torch.float64)
        >>> print(f"{vasicek_entropy(sample):.1f}")  # ln(2 pi e) / 2 = 1.4189
        1.4
    """
    if samples.ndim != 1 or not samples.is_floating_point():
        raise ValueError(
            f"samples must be a floating-point tensor of shape [n], got shape {tuple(samples.shape)} and "
            f"{samples.dtype}: flatten it"
        )
    count = samples.shape[0]
    if count < 5:
        raise ValueError(f"samples must hold at least 5 values to show a density, got {count}: take more")
    return entropy_of(surprisals(samples.sort().values))  # the same sum whatever the order


def predictive_entropy(logits: Tensor) -> Tensor:
    r"""Mean Shannon entropy of a classifier's predictions.

    .. math:: S = -\frac1B \sum_{b=1}^{B} \sum_{c=1}^{C} p_{bc} \ln p_{bc}, \qquad p_b = \mathrm{softmax}(z_b)

    Unit: nats, from 0 (certain of every sample) to :math:`\ln C` (all classes alike). For a calibrated classifier it
    equals the expected cross-entropy loss. A class with logit minus infinity is ruled out and adds nothing.

    Args:
        logits: Unnormalised log-probabilities :math:`z`, shape ``[B, C]``, B at least 1 and C at least 2. A binary
            classifier with one logit :math:`z` per sample is the case ``[0, z]``.

    Returns:
        The entropy, a scalar of at least float32.

    Raises:
        ValueError: If ``logits`` isn't a floating-point tensor of that shape.

    Example:
        >>> import torch
        >>> predictive_entropy(torch.zeros(3, 4))  # ln 4
        tensor(1.3863)
    """
    if logits.ndim != 2 or not logits.is_floating_point() or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must be a floating-point tensor of shape [B, C] with B >= 1 samples and C >= 2 classes, got shape "
            f"{tuple(logits.shape)} and {logits.dtype}: give a single logit z as two columns [0, z]"
        )
    return prediction_entropies(logits.to(torch.promote_types(logits.dtype, torch.float32))).mean()


def prediction_entropies(logits: Tensor) -> Tensor:
    """Shannon entropy of each prediction in nats, ``[B]``, from logits ``[B, C]``."""
    entropies: Tensor = torch.special.entr(logits.softmax(1)).sum(1)
    return entropies
