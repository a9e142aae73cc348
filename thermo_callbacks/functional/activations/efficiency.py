"""Activations as heat engines: what they pass on of the power they take in."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.checks import Activation, scalar_function, slopes
from thermo_callbacks.functional.activations.gain import SMALLEST, exceeding_point
from thermo_callbacks.functional.activations.pairs import paired
from thermo_callbacks.functional.activations.powers import power_ratio_of_tensors
from thermo_callbacks.functional.activations.quadrature import Numbers, gaussian_mean_square

ACCURACY = 1e-5  # relative error above which gaussian_efficiency refuses: four digits would not be sure


class GaussianEfficiency(NamedTuple):
    """Efficiencies of an activation on Gaussian input.

    Attributes:
        work: Work efficiency, see :func:`work_efficiency`.
        learning: Learning efficiency, see :func:`learning_efficiency`.
    """

    work: float
    learning: float


def work_efficiency(input: Tensor, output: Tensor) -> Tensor:
    r"""Work efficiency of an activation: the share of the heat taken in that it passes on as work.

    .. math:: \eta_w = \frac{W}{Q_h} = \frac{\langle a^2 \rangle}{\langle z^2 \rangle}

    with heat :math:`Q_h = \langle z^2 \rangle/2` per neuron at the input z, work :math:`W = \langle a^2 \rangle/2` at
    the output a, and :math:`Q_c = Q_h - W` rejected. At most 1 for a passive activation, above 1 where a driven one
    gives out more than it takes in (:func:`engine_type`). Dimensionless; the mean is over all elements. Relative
    standard error about :math:`\sqrt{2/n}` or less for n independent elements of Gaussian input.

    Source: Zhang 2024, "On the Temperature of Machine Learning Systems". The definition is this project's own reading.

    Args:
        input: Pre-activations z, any shape.
        output: Activations a, same shape.

    Returns:
        The efficiency, a scalar of at least float32; NaN where the input is zero everywhere.

    Raises:
        ValueError: If shapes differ, a tensor is empty or isn't of a floating dtype.

    Example:
        >>> import torch
        >>> z = torch.tensor([-1.0, 1.0])
        >>> work_efficiency(z, z.relu())
        tensor(0.5000)
    """
    z, a = paired(input=input, output=output)
    return power_ratio_of_tensors(a, z)


def learning_efficiency(grad_input: Tensor, grad_output: Tensor) -> Tensor:
    r"""Learning efficiency of an activation: the share of the learning signal's power that gets back through it.

    .. math:: \eta_b = \frac{\langle (\partial L/\partial z)^2 \rangle}{\langle (\partial L/\partial a)^2 \rangle}

    For a signal that doesn't depend on the input it is :math:`\langle f'(z)^2 \rangle`. Dimensionless; the mean is over
    all elements, and the unit and sign of the loss don't matter.

    Source: Zhang 2024, "On the Temperature of Machine Learning Systems". The definition is this project's own reading.

    Args:
        grad_input: Gradients of the loss with respect to the activation's input z, any shape.
        grad_output: Gradients with respect to its output a, same shape.

    Returns:
        The efficiency, a scalar of at least float32; NaN where no signal arrives, all of ``grad_output`` being zero.

    Raises:
        ValueError: If shapes differ, a tensor is empty or isn't of a floating dtype.

    Example:
        >>> import torch
        >>> z = torch.tensor([-1.0, 1.0], requires_grad=True)
        >>> z.relu().sum().backward()
        >>> learning_efficiency(z.grad, torch.ones(2))
        tensor(0.5000)
    """
    arrived, sent = paired(grad_input=grad_input, grad_output=grad_output)
    return power_ratio_of_tensors(arrived, sent)


def implied_init_gain(efficiency: Tensor) -> Tensor:
    r"""Gain of the initial weights that makes up for an activation's work efficiency.

    .. math:: \mathrm{gain} = \frac{1}{\sqrt{\eta_w}}

    Weights of standard deviation :math:`\mathrm{gain}/\sqrt{n_\mathrm{in}}` keep the power of the pre-activations from
    layer to layer: :math:`\sqrt 2` for ReLU. For other activations it holds at the scale at which the efficiency was
    measured.

    Args:
        efficiency: Work efficiency :math:`\eta_w`, any shape.

    Returns:
        The gain, same shape; NaN where the efficiency isn't positive.

    Example:
        >>> import torch
        >>> implied_init_gain(torch.tensor(0.5))
        tensor(1.4142)
    """
    return torch.where(efficiency > 0, efficiency.rsqrt(), torch.nan)


def gaussian_efficiency(activation: Activation, std: float = 1.0) -> GaussianEfficiency:
    r"""Work and learning efficiency of an activation on Gaussian input, by quadrature.

    .. math:: \eta_w = \frac{E f(z)^2}{\mathrm{std}^2}, \qquad \eta_b = E f'(z)^2, \qquad z \sim N(0, \mathrm{std}^2)

    with the derivative that autograd gives, so 0 at a jump, and for a learning signal that doesn't depend on z. The
    quadrature is adaptive (SciPy's ``quad_vec``) and finds kinks and jumps; its target is a relative error of 1e-7,
    and beyond 1e-5 by its own estimate there is an error and no value. A feature narrower than about 2 % of its
    distance from 0 can escape it. The activation is called with float64 tensors on the CPU; a module is copied in
    evaluation mode, and its hooks aren't run.

    Args:
        activation: Elementwise function or module, differentiable by autograd.
        std: Standard deviation of the input, positive.

    Returns:
        Work and learning efficiency.

    Raises:
        ValueError: If ``std`` isn't positive and finite, ``activation`` isn't an elementwise function, or a mean square
            can't be found to 1e-5, for example because it doesn't exist.

    Example:
        >>> import torch
        >>> work, learning = gaussian_efficiency(torch.tanh)
        >>> round(work, 4), round(learning, 4)
        (0.3943, 0.4644)
        >>> round(gaussian_efficiency(torch.nn.SELU()).work, 4)  # unit variance is its fixed point
        1.0
    """
    if not 0.0 < std < math.inf:
        raise ValueError(f"std must be positive and finite, got {std}")
    with torch.inference_mode(False), torch.enable_grad():
        function = scalar_function(activation)

        def value(points: Numbers) -> Numbers:
            return function(torch.as_tensor(points, device="cpu")).detach().double().numpy() / std

        def slope(points: Numbers) -> Numbers:
            return slopes(function, torch.as_tensor(points, device="cpu")).numpy()

        work, learning = gaussian_mean_square(value, std), gaussian_mean_square(slope, std)
    for name, (mean, error) in (("(f(z)/std)", work), ("f'(z)", learning)):
        if not error <= ACCURACY * mean:
            raise ValueError(
                f"activation must have a mean of {name}^2 at std={std:g} that quadrature finds to {ACCURACY:g}, got "
                f"{mean:g} with an error of {error:g}: it may be infinite; try a smaller std"
            )
    return GaussianEfficiency(work[0], learning[0])


def engine_type(activation: Activation, *, limit: float = 1e6) -> Literal["passive", "driven"]:
    r"""Type of heat engine that an activation is: can it give out more than it takes in?

    *Passive*: :math:`|f(z)| \le |z|` for every z, so that the work efficiency can't exceed 1 on any input (ReLU, GELU,
    Tanh). *Driven*: somewhere :math:`|f(z)| > |z|` (SELU; Sigmoid, which gives out 1/2 for nothing). Decided from the
    function itself on about 100,000 points with :math:`|z|` from 0 and 1e-8 to ``limit``, no more than 0.12 % of z
    apart, and sixty times finer at the peaks of :math:`|f(z)|/|z|`. An excess of up to :math:`4\epsilon(1 + |z|)`, with
    the machine epsilon of the output's dtype, passes as rounding; an excess confined to less than the spacing of the
    points can escape, as can one beyond ``limit``.

    Source: Zhang 2024, "On the Temperature of Machine Learning Systems", for the two types. The criterion is this
    project's own reading.

    Args:
        activation: Elementwise function or module; evaluated as in :func:`gaussian_efficiency`.
        limit: Largest :math:`|z|` searched.

    Returns:
        ``"passive"`` or ``"driven"``.

    Raises:
        ValueError: If ``activation`` isn't an elementwise function, isn't finite within ``limit`` while it exceeds
            nowhere, or ``limit`` isn't finite and above 1e-8.

    Example:
        >>> import torch
        >>> engine_type(torch.nn.GELU()), engine_type(torch.nn.SELU())
        ('passive', 'driven')
    """
    if not SMALLEST < limit < math.inf:
        raise ValueError(f"limit must be finite and above {SMALLEST:g}, got {limit}")
    with torch.inference_mode(False):
        excess = exceeding_point(scalar_function(activation), limit)
    return "passive" if excess is None else "driven"
