"""Entropy of the trainable variables and its destruction, as metrics."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from thermo_callbacks.functional.window.coordinate_terms import FEWEST_STEPS
from thermo_callbacks.functional.window.estimates import ExtensiveSums
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy_sums
from thermo_callbacks.metrics.base import MomentumMetric, Windows
from thermo_callbacks.metrics.curvature import TraceMetric


class ParameterEntropy(MomentumMetric):
    r"""Entropy of the trainable variables; see :func:`~thermo_callbacks.functional.parameter_entropy`.

    .. math:: S_l = \frac{N_l}{n_l} \sum_i \tfrac12 \big(\ln(2\pi e\,\mathrm{Var}_W(q_i)) - b_W\big), \qquad
              S = \sum_l S_l

    over the coordinates that moved, with the bias :math:`b_W` of independent steps taken out; the mean over windows.
    Unit: nats.

    The standard error has two parts. From watching :math:`n_l` of :math:`N_l` coordinates: the spread of their terms.
    From the finite window: a variance from W steps of relaxation time :math:`\tau_i` has a relative variance of about
    :math:`2\tau_i/W`, and coordinates share noise; the kinetic temperature's relative error s shows how many are
    independent, which makes it :math:`\frac{N_l}2 s \sqrt{\overline{\tau}}`, with :math:`\tau_i` the coordinate's
    variance over mobility times temperature, at most W, and :math:`\mu/(1-\mu)` on top. For coordinates of equal
    temperature that is the truth up to some 20 %, whatever their relaxation times and whatever noise they share; where
    temperatures differ it is too large. It does not know what the window is too short to show: see the function.

    As input to ``update``: ``parameters``, ``displacements``, ``gradients``, each ``[W, n]``, and ``mobility``
    ``[n]`` or a scalar, or lists with one for each layer. As output of ``compute``: the sum of the layers, a scalar.

    Args:
        sizes: All coordinates of each layer; None for one layer that is shown whole.
        momentum: Decay of the optimizer's momentum buffer (SGD ``momentum``, Adam ``betas[0]``).
        nesterov: Whether the optimizer looks ahead.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Raises:
        ValueError: If ``momentum`` is outside [0, 1), or ``sizes`` is empty or holds a number below 1.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, g = torch.randn(2, 1000, 100, generator=generator, dtype=torch.float64)
        >>> metric = ParameterEntropy()
        >>> metric.update(q, -0.1 * g, g, torch.tensor(0.1))
        >>> print(f"{metric.compute() / 100:.2f}")  # of a standard normal coordinate: ln(2 pi e) / 2
        1.42
    """

    _sums = ExtensiveSums

    def update(
        self, parameters: Windows, displacements: Windows, gradients: Windows, mobility: Tensor | Sequence[Tensor]
    ) -> None:
        """Add a window of consecutive steps.

        Args:
            parameters: Parameters before each step, ``[W, n]`` or one for each layer, W at least 4.
            displacements: What the optimizer moved, likewise.
            gradients: Gradients of the same steps, likewise.
            mobility: Whole displacement per unit of gradient, a scalar or ``[n]``, or one for each layer.
        """
        window = self._window(
            FEWEST_STEPS, parameters=parameters, displacements=displacements, gradients=gradients, mobility=mobility
        )
        self._add(parameter_entropy_sums(window))


class EntropyDestruction(TraceMetric):
    r"""Entropy that learning destroys in a step; see :func:`~thermo_callbacks.functional.entropy_destruction`.

    .. math:: \sigma_d = \mathrm{tr}(m H), \qquad m = \frac{\eta}{1-\mu} M

    global and of each layer's diagonal block, with the mobility m of each coordinate as the optimizer has it at the
    moment. Unit: nats per step.

    As input to ``update``: ``traces`` :math:`\mathrm{tr}(m H)` ``[L]``, their ``variances`` ``[L]`` and the update's
    ``weight``. As output of ``compute``: the weighted mean of the sum over layers, a scalar; its error, and that of the
    layers, from ``estimate`` and ``estimate_layers``. Formulas, weights and what is left out:
    :class:`~thermo_callbacks.metrics.curvature.TraceMetric`.

    Source: Vanchurin 2020, "Towards a theory of machine learning", for the Laplacian of the free energy as the rate at
    which learning removes entropy; the definition is this project's own reading.

    Args:
        sizes: One entry for each layer, its number of coordinates; None: a single layer.
        **kwargs: Passed to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = EntropyDestruction(sizes=[10, 20])
        >>> metric.update(0.1 * torch.tensor([1.0, 2.0]), torch.tensor([0.01, 0.03]))  # learning rate 0.1
        >>> round(metric.compute().item(), 6)
        0.3
    """
