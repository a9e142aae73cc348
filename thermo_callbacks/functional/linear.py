r"""Linear models with a transition temperature in closed form, to compare a measured one with.

The data are :math:`y = w^* \cdot x + \varepsilon` with :math:`x \sim N(0, I_d)`, :math:`|w^*| = 1` and noise
:math:`\varepsilon` of variance :math:`s^2`; the model :math:`w \cdot x` starts from independent random weights of mean
0 and variance :math:`\sigma^2` each and ends at the best weights.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch

from thermo_callbacks.functional import transition
from thermo_callbacks.functional.characteristic_functions import (
    Initialisation,
    LogCharacteristic,
    Numbers,
    differential_entropy,
    gaussian,
    linear_output,
    mean_by_kernel,
)

Loss = Literal["mse", "mae", "bce"]

LOWEST_NOISE = 1e-8  # of the whole variance, below which the density's peak needs too fine a grid


class StateChange(NamedTuple):
    """Energy and entropy of a model before and after training.

    Attributes:
        energy_initial: Expected loss of the initial state.
        energy_final: Expected loss of the trained state.
        entropy_initial: Entropy of the initial state in nats.
        entropy_final: Entropy of the trained state in nats.
    """

    energy_initial: float
    energy_final: float
    entropy_initial: float
    entropy_final: float


def transition_temperature(
    loss: Loss = "mse",
    init: Initialisation = "normal",
    *,
    dim: int,
    init_variance: float,
    noise_variance: float,
    exact: bool = False,
) -> float:
    r"""Transition temperature of a linear model, initialised to trained, in closed form.

    .. math:: T = \frac{E_0 - E_1}{S_0 - S_1}

    of the :func:`state_change`. Asymptotically, with :math:`v_0 = 1 + s^2 + d\sigma^2` and :math:`v_1 = s^2`,

    .. math:: T_\mathrm{MSE} = \frac{2 (v_0 - v_1)}{\ln(v_0/v_1)}, \qquad
              T_\mathrm{MAE} = \sqrt{\frac8\pi}\, \frac{\sqrt{v_0} - \sqrt{v_1}}{\ln(v_0/v_1)}

    whatever the distribution of the weights. Unit: that of the loss. For few inputs the residuals of the initial state
    are not Gaussian, and ``exact`` differs: with the example's :math:`s = 0.3` and :math:`d\sigma^2 = 1` by 8 % (MSE)
    and 12 % (MAE) for one input, by less than 1 % for 32. For binary cross-entropy it is 1 where the initial weights
    are zero, since both states are then calibrated; it grows with them, without bound, and is negative once they are so
    large that the initial model is more certain than the trained one.

    Source: Zhang 2024, "On the Temperature of Machine Learning Systems". The closed forms are this project's own.

    Args:
        loss: Mean squared error, mean absolute error or binary cross-entropy.
        init: Distribution of the initial weights; without ``exact`` it is of no matter.
        dim: Number of inputs d.
        init_variance: Variance :math:`\sigma^2` of each initial weight.
        noise_variance: Variance :math:`s^2` of the noise.
        exact: For these d inputs, by quadrature, instead of in the limit of many.

    Returns:
        The temperature; NaN where the two entropies are equal.

    Raises:
        ValueError: As :func:`state_change`.

    Example:
        >>> setting = dict(dim=32, init_variance=1 / 32, noise_variance=0.09)
        >>> round(transition_temperature("mse", **setting), 4), round(transition_temperature("mae", **setting), 4)
        (1.2718, 0.5813)
        >>> round(transition_temperature("mse", dim=1, init_variance=1.0, noise_variance=0.09, exact=True), 4)
        1.372
    """
    change = state_change(loss, init, dim=dim, init_variance=init_variance, noise_variance=noise_variance, exact=exact)
    return transition.transition_temperature(*torch.tensor(change, dtype=torch.float64, device="cpu")).item()


def state_change(
    loss: Loss = "mse",
    init: Initialisation = "normal",
    *,
    dim: int,
    init_variance: float,
    noise_variance: float,
    exact: bool = False,
) -> StateChange:
    r"""Energy and entropy of a linear model before and after training, over data, noise and initial weights.

    *Regression* (``"mse"``, ``"mae"``; Gaussian noise). The residual of the trained model is the noise. That of the
    initial one is :math:`r = (w^* - w) \cdot x + \varepsilon`, a Gaussian whose variance
    :math:`s^2 + |w^* - w|^2` depends on the weights drawn; over all draws its characteristic function is
    :math:`e^{-s^2t^2/2} \prod_i E_w e^{-t^2 (w^*_i - w)^2/2}`. For many inputs the variance settles at
    :math:`1 + s^2 + d\sigma^2` and the residual is Gaussian. E is :math:`\langle r^2 \rangle` or
    :math:`\langle |r| \rangle`, S the differential entropy of the residuals. For weights that aren't normal the
    direction of :math:`w^*` matters a little; its components are equal here.

    *Classification* (``"bce"``; logistic noise, the one that makes the model right). The label is 1 where
    :math:`w^* \cdot x + \varepsilon > 0`, so with probability :math:`1/(1+e^{-\beta w^* \cdot x})`,
    :math:`\beta = \pi / (\sqrt3 s)`, and training ends at :math:`\beta w^*`. E is the mean binary cross-entropy and S
    the mean predictive entropy, two means over the logit a: the initial weights know nothing of the labels, so
    :math:`E_0 = \langle \ln 2\cosh(a/2) \rangle`, :math:`S = \langle \ln 2\cosh(a/2) - (a/2)\tanh(a/2) \rangle`, and
    :math:`E_1 = S_1`. The logit is Gaussian for the trained model, and for the initial one in the limit of many inputs.

    ``"mixed"`` draws each weight from the normal or the uniform distribution with equal chance. All three have the
    same variance. Relative error of the integrals: below 1e-6.

    Args:
        loss: Mean squared error, mean absolute error or binary cross-entropy.
        init: Distribution of the initial weights.
        dim: Number of inputs d, at least 1.
        init_variance: Variance :math:`\sigma^2` of each initial weight, at least 0.
        noise_variance: Variance :math:`s^2` of the noise, positive.
        exact: For these d inputs, by quadrature, instead of in the limit of many.

    Returns:
        Energies and entropies.

    Raises:
        ValueError: If a name is unknown, a number is outside its range, or an exact regression is asked for with a
            noise variance below 1e-8 of the whole.

    Example:
        >>> change = state_change("mse", dim=10, init_variance=0.1, noise_variance=0.5)
        >>> round(change.energy_initial, 6), change.energy_final
        (2.5, 0.5)
    """
    _check(loss, init, dim, init_variance, noise_variance)
    if loss == "bce":
        logits = linear_output(init, dim, init_variance, target=0.0) if exact else gaussian(dim * init_variance)
        return _classification(logits, dim * init_variance, noise_variance)
    total = 1.0 + noise_variance + dim * init_variance
    trained = (_gaussian_energy(loss, noise_variance), _gaussian_entropy(noise_variance))
    if exact:
        outputs = linear_output(init, dim, init_variance, target=1.0 / math.sqrt(dim))
        initial = _residual_state(loss, outputs, total, noise_variance)
    else:
        initial = (_gaussian_energy(loss, total), _gaussian_entropy(total))
    return StateChange(initial[0], trained[0], initial[1], trained[1])


def _gaussian_energy(loss: Loss, variance: float) -> float:
    return variance if loss == "mse" else math.sqrt(2.0 * variance / math.pi)


def _gaussian_entropy(variance: float) -> float:
    return 0.5 * math.log(2.0 * math.pi * math.e * variance)


def _residual_state(
    loss: Loss, outputs: LogCharacteristic, variance: float, noise_variance: float
) -> tuple[float, float]:
    """Energy and entropy of residuals that are a model's error and Gaussian noise."""
    if noise_variance < LOWEST_NOISE * variance:
        raise ValueError(
            f"noise_variance must be at least {LOWEST_NOISE:g} of the initial residuals' variance {variance:g} for the "
            f"exact form, got {noise_variance}: use exact=False or more noise"
        )
    noise = gaussian(noise_variance)

    def residuals(t: Numbers) -> Numbers:
        return outputs(t) + noise(t)

    def absolute_kernel(t: float) -> float:  # |r| is the integral of (1 - cos rt) times this
        return 2.0 / (math.pi * t * t)

    entropy = differential_entropy(residuals, variance)
    if loss == "mse":
        return variance, entropy
    return mean_by_kernel(residuals, absolute_kernel, 1.0 / math.sqrt(variance)), entropy


def _classification(logits: LogCharacteristic, variance: float, noise_variance: float) -> StateChange:
    """Energies and entropies of a logistic model, from the characteristic function of the initial logit."""
    trained_variance = math.pi**2 / (3.0 * noise_variance)
    initial = _logistic_means(logits, variance)
    _, calibrated = _logistic_means(gaussian(trained_variance), trained_variance)
    return StateChange(initial[0], calibrated, initial[1], calibrated)


def _logistic_means(logits: LogCharacteristic, variance: float) -> tuple[float, float]:
    """Means of ln(2 cosh(a/2)), the loss of uninformed logits a, and of the entropy of their predictions."""
    # both kernels follow from the transform of (ln 2 cosh(a/2))'' = 1 / (4 cosh^2(a/2)), pi t / sinh(pi t)

    def loss_kernel(t: float) -> float:  # 1 / (t sinh(pi t)), in a form that doesn't overflow
        return -2.0 * math.exp(-math.pi * t) / (t * math.expm1(-2.0 * math.pi * t))

    def tilt_kernel(t: float) -> float:  # pi cosh(pi t) / sinh^2(pi t): of (a/2) tanh(a/2)
        decay = math.exp(-2.0 * math.pi * t)
        return 2.0 * math.pi * math.exp(-math.pi * t) * (1.0 + decay) / math.expm1(-2.0 * math.pi * t) ** 2

    scale = 1.0 / math.sqrt(max(1.0, variance))
    loss = math.log(2.0) + mean_by_kernel(logits, loss_kernel, scale)
    return loss, loss - mean_by_kernel(logits, tilt_kernel, scale)


def _check(loss: str, init: str, dim: int, init_variance: float, noise_variance: float) -> None:
    for name, value, choices in (("loss", loss, get_args(Loss)), ("init", init, get_args(Initialisation))):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    if dim < 1:
        raise ValueError(f"dim must be at least 1 input, got {dim}")
    if not 0.0 <= init_variance < math.inf:
        raise ValueError(f"init_variance must be at least 0 and finite, got {init_variance}: it is that of one weight")
    if not 0.0 < noise_variance < math.inf:
        raise ValueError(
            f"noise_variance must be positive and finite, got {noise_variance}: without noise the trained residuals "
            "have no density"
        )
