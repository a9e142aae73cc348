"""Curvature of a module's loss during training: traces of its Hessian, layer by layer, from one random vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import rademacher
from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.curvature.layer_rows import ROWS, CurvatureSample, LayerOrder, Mobilities, parameter_rows
from thermo_callbacks.probes.curvature.products import (
    Derivatives,
    EvaluationPoint,
    by_double_backward,
    by_finite_differences,
)
from thermo_callbacks.probes.curvature.vectors import probe_generator
from thermo_callbacks.probes.replay import SKIPPED, Replay, ReplayError, SkippedBatch
from thermo_callbacks.probes.replay.losses import leaf

Method = Literal["auto", "double_backward", "finite_difference"]


class CurvatureProbe:
    r"""Measures the trace of the Hessian of the training loss, for all layers at once.

    .. math:: \tau_l = \frac1K \sum_k \sum_{i \in l} v_{ki} (H v_k)_i, \qquad E\,\tau_l = \mathrm{tr}\,H_{ll}

    with K fresh vectors v of independent signs at every step (Hutchinson 1990), the same on all ranks. H v comes from a
    second backward pass; where an operation has no second derivative (fused attention that has no plain counterpart,
    cuDNN's recurrent layers, a function that may be differentiated once), or hides parameters from autograd, it comes
    from central differences of the gradient, from then on. Reentrant checkpointing is such an operation. Those with a
    backward pass of their own are trusted only after both ways have agreed at the first measurement.

    The loss is that of the batch, as it is in training: dropout is on, at the same random numbers for all derivatives,
    and BatchNorm uses the batch's statistics. Units: loss per unit of parameter squared; mobility traces have the unit
    of loss per (parameter squared) times that of the mobility.

    Args:
        replay: The loss.
        layers: Layer name to its parameters.
        seed: Seed of the vectors.
        method: ``"double_backward"``, ``"finite_difference"``, or ``"auto"`` for the former as long as it works.
        within_layers: Whether each layer has a product of its own, with v cut off outside of it: less variance, at the
            price of L products.
        warn_once: Called with a topic and a message when something is worth knowing.
        probes: Number of vectors K, at least 1.
        memory: For the vectors and what else is written anew each time; None for an own one.

    Raises:
        ValueError: If ``layers`` holds no parameter, ``probes`` is below 1, or ``method`` is none of the three.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> replay = Replay(layer, loss_fn=lambda module, batch: module(batch).square().mean())
        >>> probe = CurvatureProbe(replay, {"layer": [layer.weight]}, seed=0)
        >>> inputs = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> probe.measure({layer.weight: layer.weight.detach()}, inputs, step=0).traces  # 2 * (1 + 4) / 2
        tensor([5.], dtype=torch.float64)
    """

    def __init__(
        self,
        replay: Replay,
        layers: Mapping[str, Sequence[nn.Parameter]],
        *,
        seed: int,
        method: Method = "auto",
        within_layers: bool = False,
        probes: int = 1,
        warn_once: Callable[[str, str], None] | None = None,
        memory: KeptMemory | None = None,
    ) -> None:
        if method not in get_args(Method):
            raise ValueError(f"method must be one of {', '.join(map(repr, get_args(Method)))}, got {method!r}")
        if probes < 1:
            raise ValueError(f"probes must be at least 1, got {probes}")
        self._parameters = [parameter for owned in layers.values() for parameter in owned]
        if not self._parameters:
            raise ValueError(
                f"layers must hold at least one parameter, got {dict(layers)!r}: freeze less of the module"
            )
        self.names = tuple(layers)
        self._replay, self._seed, self._memory = replay, seed, memory or KeptMemory()
        self._warn_once, self._probes, self._within_layers = warn_once, probes, within_layers
        self._gradients: dict[nn.Parameter, Tensor] = {}
        self._as_trained = False
        self._finite_difference = method == "finite_difference"
        self._may_change = method == "auto"
        self._trusted = False
        counts = [len(owned) for owned in layers.values()]
        self._order = LayerOrder(counts, within_layers=within_layers)

    @property
    def method(self) -> str:
        """Method of Hessian-vector products now."""
        return "finite_difference" if self._finite_difference else "double_backward"

    def measure(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int = 0,
        *,
        step: int,
        mobilities: Mobilities | None = None,
        gradients: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> CurvatureSample:
        """Measure once, and leave no trace in the run.

        Args:
            values: Parameters' values to measure at; those left out are as they are. A training step that writes to its
                parameters writes to these.
            batch: The batch.
            batch_idx: Its number in the epoch.
            step: Number of the step, which with the seed fixes the vector.
            mobilities: Displacement of parameters per unit of gradient, a tensor of the parameter's shape or one
                number; a parameter without one makes its layer's value NaN.
            gradients: Gradients of another batch at the same values, with noise independent of this batch's: the
                products are then unbiased for the squared gradient of the mean loss. A parameter without one had none.

        Returns:
            The sample; all NaN if the training step skips the batch.

        Raises:
            ReplayError: If the training step can't be replayed.
            RuntimeError: From the training step or autograd, where no other method is left.
        """
        with torch.inference_mode(False):
            try:
                packed = self._packed(values, batch, batch_idx, step, mobilities, gradients)
            except SkippedBatch as reason:
                self._tell(SKIPPED, str(reason))
                size, device = ROWS * (len(self.names) + 1) + 2, self._parameters[0].device
                self._gradients = {}
                packed = torch.full((size,), torch.nan, dtype=torch.float64, device=device)
            finally:
                self._memory.rest()
            packed = self._of_all_processes(packed).cpu().double()  # the one time that the device is waited for
        rows, gradients = packed[:-2].view(ROWS, len(self.names) + 1), self._gradients
        as_trained, self._gradients, self._as_trained = self._as_trained, {}, False
        layers, (degrees_of_freedom, loss) = rows[:, :-1], packed[-2:].tolist()
        return CurvatureSample(
            layers[0], layers[1], layers[2], layers[3], layers[4],
            whole=rows[:, -1], degrees_of_freedom=degrees_of_freedom, loss=loss, gradients=gradients,
            as_trained=as_trained,
        )  # fmt: skip

    def _packed(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int,
        step: int,
        mobilities: Mobilities | None,
        gradients: Mapping[nn.Parameter, Tensor] | None,
    ) -> Tensor:
        """Rows of this process, and behind them degrees of freedom and its loss."""
        point = self._point(values, batch, batch_idx, step)
        derivatives = self._derivatives(point, gradients is not None)
        return self._rows(derivatives, point, mobilities, gradients)

    def _rows(
        self,
        derivatives: Derivatives,
        point: EvaluationPoint,
        mobilities: Mobilities | None,
        gradients: Mapping[nn.Parameter, Tensor] | None,
    ) -> Tensor:
        by_parameter, loss = parameter_rows(derivatives, point, mobilities, gradients)
        self._keep_gradients(() if derivatives.steps else derivatives.gradients)  # differences are not exact
        return torch.cat([self._order.by_layer(by_parameter).flatten(), torch.full_like(loss, torch.inf), loss])

    def _keep_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        pairs = zip(self._parameters, gradients, strict=True) if gradients else ()
        self._gradients = {parameter: gradient for parameter, gradient in pairs if gradient is not None}

    def _of_all_processes(self, packed: Tensor) -> Tensor:
        return packed

    def _point(
        self, values: Mapping[nn.Parameter, Tensor], batch: Any, batch_idx: int, step: int | None
    ) -> EvaluationPoint:
        """Evaluation point: leaves with the values, and the random vectors of a step."""
        # a step may write to its parameters: to the caller's values, but not to the run's
        watched = {p: leaf(p, values.get(p, p)) for p in self._parameters}
        rest = {p: leaf(p, value) for p, value in values.items() if p not in watched}
        return EvaluationPoint(
            {**rest, **watched}, batch, batch_idx, self._parameters, list(watched.values()),
            [] if step is None else self._draw(watched, step), self._order.groups, self._memory,
        )  # fmt: skip

    def _draw(self, leaves: Mapping[nn.Parameter, Tensor], step: int) -> list[list[Tensor]]:
        """K vectors of signs."""
        generator = probe_generator(self._seed, step, self._parameters[0].device)
        vectors = []
        for number in range(self._probes):
            places = [self._memory.like(("vector", number, parameter), leaf) for parameter, leaf in leaves.items()]
            vectors.append(rademacher(list(leaves.values()), generator, out=places))
        return vectors

    def _derivatives(self, point: EvaluationPoint, gradients: bool) -> Derivatives:
        """Derivatives by the method that works for this module, which the first measurement finds out."""
        if self._finite_difference:
            return by_finite_differences(self._replay, point, gradients=gradients)
        try:
            exact = by_double_backward(self._replay, point)
        except ReplayError:
            raise
        except RuntimeError as fault:
            if not self._may_change:
                raise
            return self._change_method(point, str(fault))
        if not exact.own_backward or self._trusted:
            return exact
        return self._put_to_the_test(exact, point)

    def _put_to_the_test(self, exact: Derivatives, point: EvaluationPoint) -> Derivatives:
        """Compare with finite differences: an operation's own backward may be wrong or hide parameters."""
        approximate = by_finite_differences(self._replay, point)
        if exact.agrees(approximate):
            self._trusted = True
            return exact
        reason = "an operation's own backward pass gives no right second derivative, or hides parameters"
        if not self._may_change:
            raise RuntimeError(f"{reason}: use method='auto' or 'finite_difference'")
        self._finite_difference = True
        self._tell_method(reason)
        return approximate

    def _change_method(self, point: EvaluationPoint, reason: str) -> Derivatives:
        derivatives = by_finite_differences(self._replay, point)  # if this fails too, the method was not to blame
        self._finite_difference = True
        self._tell_method(reason)
        return derivatives

    def _tell_method(self, reason: str) -> None:
        first_line = reason.strip().partition("\n")[0]
        self._tell(
            "method",
            "curvature comes from finite differences of the gradient; where activations have kinks (ReLU), these can "
            f"be far off. The reason: {first_line}",
        )

    def _tell(self, topic: str, message: str) -> None:
        if self._warn_once is not None:
            self._warn_once(topic, message)
