"""Curvature where parameters are sharded: finite differences of the gradient, with the parameters moved in place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature.finite_differences import difference_step
from thermo_callbacks.functional.curvature.rademacher import rademacher
from thermo_callbacks.probes.curvature.layer_rows import Mobilities, parameter_rows
from thermo_callbacks.probes.curvature.probe import CurvatureProbe
from thermo_callbacks.probes.curvature.products import Derivatives, EvaluationPoint
from thermo_callbacks.probes.curvature.vectors import probe_generator
from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.replay import Replay, ReplayError
from thermo_callbacks.probes.sharding import local_part, part_of, reshard, sum_over_processes
from thermo_callbacks.probes.together import Together


class ShardedCurvatureProbe(CurvatureProbe):
    r"""Measures the trace of the Hessian of the training loss, where each process holds a part of the parameters.

    .. math:: \tau_l = \sum_{i \in l} v_i (H v)_i, \qquad
        H v \approx \frac{\nabla L(q + h v) - \nabla L(q - h v)}{2 h}

    with the vector v that an unsharded run would take: each process has its part of it, and the parts of the sums are
    added up over the processes. There is no second backward pass through the operations that gather the parameters, so
    that all products are differences, of the gradients that the training's own backward pass leaves in ``.grad``:
    already the mean over the processes, as the loss is. For that the parameters themselves are moved, and put back bit
    by bit, with their gradients. All processes have to measure together: each gives values, mobilities and gradients of
    its own parts, and all get the same sample; a measurement is a part of the block ``together``, so that where it
    fails in one process it ends in all. 16-bit parameters are refused with a :class:`ReplayError`.
    """

    def __init__(
        self,
        replay: Replay,
        module: nn.Module,
        layers: Mapping[str, Sequence[nn.Parameter]],
        *,
        seed: int,
        within_layers: bool = False,
        probes: int = 1,
        warn_once: Callable[[str, str], None] | None = None,
        together: Together,
    ) -> None:
        super().__init__(
            replay, layers, seed=seed, method="finite_difference", within_layers=within_layers, probes=probes,
            warn_once=warn_once,
        )  # fmt: skip
        self._module, self._together = module, together
        self._parts = {p: part_of(p, f"of layer {name}") for name, owned in layers.items() for p in owned}

    def _packed(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int,
        step: int,
        mobilities: Mobilities | None,
        gradients: Mapping[nn.Parameter, Tensor] | None,
    ) -> Tensor:
        """Rows of this process's parts, and behind them its share of the mean loss."""
        self._check_precision()
        self._tell_method(
            "the parameters are sharded, and no second derivative passes through the operations that gather them"
        )
        with contextlib.ExitStack() as stack:
            leaves, vectors = stack.enter_context(self._in_place(values)), self._vectors(step)
            point = EvaluationPoint({}, batch, batch_idx, self._parameters, leaves, vectors, self._order.groups)
            rows, loss = parameter_rows(self._differences(point), point, mobilities, gradients)
        counted = torch.tensor([self._parts[p].counted for p in self._parameters], device=rows.device)
        sums = self._order.by_layer(torch.where(counted, rows, 0.0))
        unbounded = torch.full_like(loss, torch.inf)
        return torch.cat([sums.flatten(), unbounded, loss / torch.distributed.get_world_size()])

    def _of_all_processes(self, packed: Tensor) -> Tensor:
        self._together.point()
        return sum_over_processes(packed, packed.device)

    def _check_precision(self) -> None:
        """Refuse 16-bit parameters: no digits for a difference, and a replay can't change what a wrapper gathers."""
        modules: Iterator[Any] = self._module.modules()
        casts = {
            getattr(module._get_fsdp_state()._mp_policy, "param_dtype", None)
            for module in modules
            if hasattr(module, "_get_fsdp_state")
        }
        narrow = {dtype for dtype in casts | {p.dtype for p in self._parameters} if dtype and dtype.itemsize < 4}
        if narrow:
            raise ReplayError(
                f"the module computes with sharded parameters of {', '.join(map(str, sorted(narrow, key=str)))}, which "
                "leaves no digits for finite differences of the gradient: use 32-bit parameters, with autocast"
            )

    def _vectors(self, step: int) -> list[list[Tensor]]:
        """This process's parts of the vectors that a process with all parameters would draw."""
        generator = probe_generator(self._seed, step, self._parameters[0].device)
        return [[self._cut(parameter, generator) for parameter in self._parameters] for _ in range(self._probes)]

    def _cut(self, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        own = local_part(parameter.detach())
        (whole,) = rademacher([own.new_empty(()).expand(parameter.shape)], generator)
        return self._parts[parameter].cut(whole)

    def _differences(self, point: EvaluationPoint) -> Derivatives:
        """Loss, gradients and products; the step is that of an unsharded network."""
        squares = torch.stack(
            [
                torch.linalg.vector_norm(leaf, dtype=torch.float64).square() * self._parts[parameter].counted
                for parameter, leaf in zip(point.parameters, point.leaves, strict=True)
            ]
        )
        self._together.point()
        sizes = sum_over_processes(squares, squares.device).tolist()
        losses: list[Tensor] = []
        gradients: list[Tensor] = []
        products: list[list[Tensor]] = []
        for number in range(self._probes):
            found, along = self._along(point, number, sizes, losses)
            gradients = gradients or found  # those of the first vector
            products.append(along)
        return Derivatives(torch.stack(losses).mean(), gradients, products, own_backward=False)

    def _along(
        self, point: EvaluationPoint, number: int, sizes: Sequence[float], losses: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients and products with one of the vectors."""
        gradients: list[Tensor] = []
        products: list[Tensor] = []
        for group in point.groups:
            inside = range(len(point.parameters))[group]
            step = difference_step(
                point.parameters, sizes, [float(p.numel()) * (i in inside) for i, p in enumerate(point.parameters)]
            )
            sides = []
            for signed in (step, -step):
                with _moved(point.leaves[group], point.vectors[number][group], signed):
                    loss, found = self._one_side(point, group)
                losses.append(loss)
                sides.append(found)
            for above, below in zip(*sides, strict=True):
                products.append((above - below).mul_(0.5 / step))
                gradients.append(torch.lerp(above, below, 0.5))
        return gradients, products

    def _one_side(self, point: EvaluationPoint, group: slice) -> tuple[Tensor, list[Tensor]]:
        """Loss of this process's batch, and its part of the gradient of the mean loss."""
        everything = {parameter: parameter for parameter in self._module.parameters()}
        for parameter in everything:
            parameter.grad = None
        options: dict[str, Any] = {"second_order": False, "within": self._together.pass_}
        with self._replay.loss(everything, point.batch, point.batch_idx, **options) as loss:
            if not loss.value.requires_grad:
                raise ReplayError(
                    "the loss of this batch depends on no parameter: return one that is made from the network"
                )
            with self._together.pass_:
                torch.autograd.backward(loss.value)
        reshard(self._module)
        found = []
        for parameter, leaf in zip(point.parameters[group], point.leaves[group], strict=True):
            slope = parameter.grad
            found.append(torch.zeros_like(leaf) if slope is None else local_part(slope, parameter).to_dense().clone())
        return loss.value.detach(), found

    @contextlib.contextmanager
    def _in_place(self, values: Mapping[nn.Parameter, Tensor]) -> Iterator[list[Tensor]]:
        """Give parameters their values for a while, then the old ones again, with the old gradients."""
        # yields the memory of this process's parts of the watched parameters
        reshard(self._module)
        gradients = [(parameter, parameter.grad) for parameter in self._module.parameters()]
        places = {parameter: local_part(parameter.detach()) for parameter, _ in gradients}
        with torch.no_grad():
            kept = [(place, place.clone()) for place in places.values()]

        def give_back() -> None:
            reshard(self._module)
            with torch.no_grad():
                for place, value in kept:
                    place.copy_(value)
            for parameter, gradient in gradients:
                parameter.grad = gradient

        with finished(give_back):
            with torch.no_grad():
                for parameter, value in values.items():
                    places[parameter].copy_(value)
            with interruptible():
                yield [places[parameter] for parameter in self._parameters]


@contextlib.contextmanager
def _moved(places: Sequence[Tensor], vectors: Sequence[Tensor], step: float) -> Iterator[None]:
    """Move tensors along a vector for a while."""
    with torch.no_grad():
        kept = [place.clone() for place in places]
        for place, vector in zip(places, vectors, strict=True):
            place.add_(vector, alpha=step)
    try:
        yield
    finally:
        with torch.no_grad():
            for place, value in zip(places, kept, strict=True):
                place.copy_(value)
