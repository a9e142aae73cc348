"""Curvature from directions that differ from sample to sample, where the loss allows it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.curvature import rademacher
from thermo_callbacks.functional.curvature.sample_directions import Factor
from thermo_callbacks.probes.curvature.layer_rows import ROWS, LayerOrder, Mobilities, gradient_products, parameter_rows
from thermo_callbacks.probes.curvature.probe import CurvatureProbe
from thermo_callbacks.probes.curvature.products import Derivatives, EvaluationPoint, gradients_with_graph, products_of
from thermo_callbacks.probes.curvature.sample_calls import CallRecorder, unity
from thermo_callbacks.probes.curvature.sample_layers import Factors
from thermo_callbacks.probes.curvature.sample_products import SampleProducts, added, sample_rows
from thermo_callbacks.probes.curvature.vectors import probe_generator
from thermo_callbacks.probes.replay import ReplayedLoss, ReplayError

LEAST_SAMPLES = 8
"""Samples that it takes for an error from their scatter: of four, 95 % intervals cover the truth in 89 of 100 cases."""
_ATTEMPTS = 4  # a graph shows in turn what is used otherwise, what is used twice, and that rows aren't a sample's


class SampleCurvatureProbe(CurvatureProbe):
    r"""Measures the trace of the Hessian with a direction of each sample's own, for all layers at once.

    .. math:: \tau_l = \sum_i v_i^\top (H_i v)_l, \qquad L = \sum_i l_i

    for weights that a step uses in linear layers, convolutions, embeddings and norms alone, if no sample's loss depends
    on another sample: see :func:`~thermo_callbacks.functional.curvature.sample_trace.sample_trace`. The direction of
    sample i moves the outputs of its layers, so one second backward pass to zeros that were added there gives what
    every sample contributes. Other weights have K common vectors of signs, each with a second backward pass of its own.

    Which weights those are, the graph of the loss says each time. That samples don't depend on each other is put to the
    test whenever the operations of the graph are others than before: a direction of a random half of the samples
    must have no product on the other half. If it has, as with BatchNorm in training or contrastive losses, and in
    whatever else :class:`CurvatureProbe` has other ways for, that does the measurement, with K common vectors.

    Args:
        *args: Those of :class:`CurvatureProbe`.
        **options: Likewise.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._common: set[int] = set()  # parameters that have common vectors
        self._repeated: set[int] = set()
        self._passed: set[int] = set()  # graphs whose samples are independent
        self._may_fold = self._by_samples = True

    def _packed(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int,
        step: int,
        mobilities: Mobilities | None,
        gradients: Mapping[nn.Parameter, Tensor] | None,
    ) -> Tensor:
        arguments = (values, batch, batch_idx, step, mobilities, gradients)
        samples = batch_samples(batch)
        if not self._by_samples or self._finite_difference or samples < LEAST_SAMPLES:
            return super()._packed(*arguments)
        try:
            for _ in range(_ATTEMPTS):
                packed = self._attempt(samples, *arguments)
                if packed is not None:
                    return packed
                if not self._by_samples:
                    break
        except ReplayError:
            raise
        except RuntimeError:
            # no second derivative, say, or a checkpoint runs repeated calls again, which save no zeros then
            packed = super()._packed(*arguments)  # if it fails here too, the samples were not to blame
            self._by_samples = False
            return packed
        return super()._packed(*arguments)

    def _attempt(
        self,
        samples: int,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int,
        step: int,
        mobilities: Mobilities | None,
        given: Mapping[nn.Parameter, Tensor] | None,
    ) -> Tensor | None:
        """What :meth:`_packed` gives; None if the graph has taught something, and it is to be tried again."""
        point = self._point(values, batch, batch_idx, None)
        owners = self._order.owners
        layers = {id(leaf): owners[i] for i, leaf in enumerate(point.leaves) if i not in self._common}
        if not layers:
            self._by_samples = False
            return None
        mobility = _factor(point, mobilities)
        recorder = CallRecorder(
            layers,
            samples,
            probe_generator(self._seed, step, point.leaves[0].device, 1 + _rank()),
            mobility=mobility or unity,
            repeated=frozenset(id(point.leaves[index]) for index in self._repeated),
            may_fold=self._may_fold,
        )
        with self._replay.loss(values=point.values, batch=batch, batch_idx=batch_idx, within=recorder) as loss:
            if not self._suits(recorder, loss, point.leaves):
                return None
            leaves = [*point.leaves, *(call.offset for call in recorder.calls)]
            slopes = gradients_with_graph(loss, leaves)
            own = slopes[: len(point.leaves)]
            products = SampleProducts(recorder.calls, slopes[len(point.leaves) :], len(self.names), self._within_layers)
            common = self._common_point(point, step)
            found = self._of_samples(products, loss, recorder, mobility, keep=bool(common.parameters))
            if found is None:
                return None
            along = products_of([own[index] for index in sorted(self._common)], common) if common.parameters else []
        own = [None if slope is None else slope.detach() for slope in own]
        rows = self._of_common(Derivatives(loss.value.detach(), (), along, False), common, mobilities)
        if given is None:
            rows[4] = torch.nan
        else:
            rows[4] = gradient_products(own, point, given, like=rows[4])
        self._keep_gradients(own)
        self._as_trained = not recorder.other_operations
        return self._joined(rows, found, samples, loss.value.detach())

    def _suits(self, recorder: CallRecorder, loss: ReplayedLoss, leaves: Sequence[Tensor]) -> bool:
        """Whether the graph is what was expected; else what it has taught is known from then on."""
        if recorder.coupled or loss.own_backward or not recorder.calls:
            self._by_samples = False
            return False
        settled = True
        for index, leaf in enumerate(leaves):
            ends, calls = loss.uses.get(id(leaf), 0), recorder.uses.get(id(leaf), 0)
            if index in self._common or not ends:
                continue
            if ends != calls:
                self._common.add(index)
                settled = False
            elif calls > 1 and index not in self._repeated:
                self._repeated.add(index)
                settled = False
        return settled

    def _of_samples(
        self,
        products: SampleProducts,
        loss: ReplayedLoss,
        recorder: CallRecorder,
        mobility: Factors | None,
        *,
        keep: bool,
    ) -> tuple[Tensor, Tensor] | None:
        """Contributions of the samples, ``[B, L]``; None if samples depend on each other."""
        shifts = products.shifts()
        if loss.operations in self._passed:
            return products.contributions(shifts, products.products(shifts, None, keep=keep), mobility)
        (signs,) = rademacher([shifts[0].new_empty(()).expand(recorder.samples)], recorder.generator)
        chosen = (signs + 1.0) / 2.0
        chosen[0], chosen[1] = 1.0, 0.0  # neither half is empty
        half = products.products(shifts, chosen, keep=True)
        if products.coupled(shifts, chosen, half):
            self._may_fold, self._by_samples = False, recorder.folded
            return None
        if bool(loss.value.isfinite()):  # else nothing has been tested
            self._passed.add(loss.operations)
        rest = products.products(shifts, 1.0 - chosen, keep=keep)
        return products.contributions(shifts, added(half, rest), mobility)

    def _common_point(self, point: EvaluationPoint, step: int) -> EvaluationPoint:
        """The point with the parameters that have common vectors alone."""
        chosen = sorted(self._common)
        parameters, leaves = [point.parameters[i] for i in chosen], [point.leaves[i] for i in chosen]
        generator = probe_generator(self._seed, step, point.leaves[0].device)
        # with the product of the samples' directions as many in all as without
        count = max(1, self._probes - 1)
        vectors = [rademacher(leaves, generator) for _ in range(count)] if leaves else []
        counts = list(Counter(self._order.owners[i] for i in chosen).values())
        groups = LayerOrder(counts, within_layers=self._within_layers).groups if chosen else []
        return dataclasses.replace(point, parameters=parameters, leaves=leaves, vectors=vectors, groups=groups)

    def _of_common(self, derivatives: Derivatives, point: EvaluationPoint, mobilities: Mobilities | None) -> Tensor:
        """Rows of all parameters, ``[ROWS, P]``, zero for those that are probed sample by sample."""
        rows = torch.zeros(ROWS, len(self._parameters), dtype=torch.float64, device=derivatives.loss.device)
        if point.parameters:
            rows[:, sorted(self._common)] = parameter_rows(derivatives, point, mobilities, None)[0]
        elif mobilities is None:
            rows[2:4] = torch.nan
        return rows

    def _joined(self, rows: Tensor, found: tuple[Tensor, Tensor], samples: int, loss: Tensor) -> Tensor:
        """Sums over layers of both kinds, with the degrees of freedom of the whole trace, and the loss."""
        processes = _processes()
        own = sample_rows(found, processes)
        total = self._order.by_layer(rows)
        total[:4] += own
        share = own[1, -1] / total[1, -1]
        # the bound of common vectors counts as known
        degrees_of_freedom = (samples * processes - 1) / share.square()
        return torch.cat([total.flatten(), degrees_of_freedom.reshape(1), loss.reshape(1).to(total)])


def batch_samples(batch: Any) -> int:
    """Number of samples in a batch: rows of the first tensor in it; 0 if there is none."""
    return next((len(tensor) for tensor in _tensors(batch) if tensor.ndim), 0)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _tensors(part)


def _factor(point: EvaluationPoint, mobilities: Mobilities | None) -> Factors | None:
    """Mobility of a leaf."""
    if mobilities is None:
        return None
    owners = {id(leaf): parameter for leaf, parameter in zip(point.leaves, point.parameters, strict=True)}

    def mobility(leaf: Tensor) -> Factor:
        found = mobilities.get(owners[id(leaf)], torch.nan)
        return found.to(leaf) if isinstance(found, Tensor) else found

    return mobility


def _rank() -> int:
    return torch.distributed.get_rank() if _distributed() else 0


def _processes() -> int:
    return torch.distributed.get_world_size() if _distributed() else 1


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
