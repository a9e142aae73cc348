"""Collector of the energy balance of a step: what it promises, what it does on its own batch, and on a fresh one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import mean_over_processes
from thermo_callbacks.callbacks.extra_passes.measured_step import FreshGradient, MeasuredStep, check_trained
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings, ReplayingCollector
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.step_balance import BalanceSums, balance_sums
from thermo_callbacks.probes.parameters.stated import largest_rate
from thermo_callbacks.probes.real_numbers import as_real
from thermo_callbacks.probes.replay import SkippedBatch
from thermo_callbacks.probes.replay.losses import StepBatch, mean_gradient, mean_loss
from thermo_callbacks.probes.sharding import is_sharded

Layers = Mapping[str, Sequence[nn.Parameter]]
ShiftSink = Callable[[Sequence[str], Tensor, Tensor, float], None]
FADING = 0.5
"""Weight of an extra pass relative to the next one: the ratio is that of about three passes, and lags by one."""


class StepBalanceCollector(ReplayingCollector):
    """Measures step efficiency, transfer, and each layer's share of the heat.

    The loss is evaluated four times: on the step's own batch and on the one after it, at the parameters before the step
    and after it. The gradients of the fresh batch at both places say by how much the move turns the next gradient:
    ``add_shift`` takes it. Gradients are those of the step, or of ``loss_fn`` where that is given.
    """

    key = "step_balance"

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        settings: ExtraPassSettings,
        *,
        layers: Callable[[], Layers],
        measured: MeasuredStep,
        add_shift: ShiftSink,
    ) -> None:
        super().__init__(trainer, pl_module, settings, "energy balance of a step")
        self._layers, self._step, self._add_shift = layers, measured, add_shift
        self._own_loss = settings.loss_fn is not None  # gradients are to be those of this loss, not of the step
        if is_sharded(pl_module):
            self.guard.disable("it needs whole parameters in one process, and these are sharded")
        else:
            measured.keeps_batches = True
            measured.keeps_gradients |= not self._own_loss
        self._sums: dict[str, BalanceSums] = {}
        self._heat: dict[str, float] = {}

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """Keep parameters and gradients, until the next batch."""
        self._step.keep(scale)

    def after_step(self, batch: Any, batch_idx: int) -> Scalars:
        """Measure the step that was made, on its own batches and on this one."""
        layers: Layers = {}
        columns: Tensor | None = None
        with self.guard.protect("measuring a step"):
            if not self.guard.disabled:
                layers = self._layers()
                check_trained(layers)
                columns = torch.full((3 * len(layers) + 2,), math.nan, dtype=torch.float64)
                if self._step.values and self._step.batches:
                    columns = self._measure(layers, batch, batch_idx)
        # every process takes part, also one where something failed: the others would wait for it for ever
        columns = mean_over_processes(self._trainer, self.guard, columns)
        if columns is None or not columns.isfinite().all():
            return {}
        heat, power, shift = columns[:-2].view(3, -1)
        if not heat.sum():  # nothing moved: a step that the gradient scaler skipped, or a learning rate of zero
            return {}
        rate = largest_rate([group for owner in self._trainer.optimizers for group in owner.param_groups])
        if len(self._trainer.optimizers) == 1:
            self._add_shift(tuple(layers), shift, power, rate)
        return self._record(layers, heat, columns[-2:])

    def _measure(self, layers: Layers, batch: Any, batch_idx: int) -> Tensor:
        """Heat, squared gradient and turn of the next gradient of each layer, then work on own and on fresh batch."""
        step, moves = self._step, self._step.displacements
        before = step.values
        after = {parameter: as_real(parameter.detach()) for parameter in before}
        own_before, gradients = (None, step.gradients)
        if self._own_loss:
            own_before, gradients = mean_gradient(self._replay, before, step.batches)
        try:
            fresh = step.fresh or FreshGradient(*mean_gradient(self._replay, before, [StepBatch(batch, batch_idx)]))
            fresh_after, turned = mean_gradient(self._replay, after, [StepBatch(batch, batch_idx)])
        except SkippedBatch as reason:
            self.guard.note_once(f"no values of a step's energy balance at an extra pass: {reason}", topic="skipped")
            return torch.full((3 * len(layers) + 2,), math.nan, dtype=torch.float64)
        own_before = mean_loss(self._replay, before, step.batches) if own_before is None else own_before
        own = mean_loss(self._replay, after, step.batches) - own_before
        rows = [
            torch.stack([_products(owned, gradients, other) for other in (moves, gradients, turned, fresh.gradients)])
            for owned in layers.values()
        ]
        heat, power, after_move, before_move = torch.stack(rows, 1)
        works = torch.stack([own, fresh_after - fresh.loss.double()]).to(heat)
        return torch.cat([heat, power, after_move - before_move, works]).cpu()

    def _record(self, layers: Layers, heat: Tensor, works: Tensor) -> Scalars:
        record: Scalars = {}
        for name, work in zip(("efficiency", "transfer"), works, strict=True):
            sums = balance_sums(work, heat.sum())
            if name in self._sums:
                sums = BalanceSums(*map(torch.add, self._sums[name].faded(FADING), sums))
            self._sums[name] = sums
            ratio = sums.estimate()
            record |= {f"thermo/step_{name}": float(ratio.value), f"thermo/step_{name}_stderr": float(ratio.stderr)}
        old = self._heat
        self._heat = {n: FADING * old.get(n, 0.0) + float(q) for n, q in zip(layers, heat, strict=True)}
        total = math.fsum(self._heat.values())
        return record | {f"thermo_heat_share/{name}": value / total for name, value in self._heat.items()}

    def state_dict(self) -> dict[str, Any]:
        """Sums of the ratios and of the heat."""
        sums = {name: {f: value.clone() for f, value in part._asdict().items()} for name, part in self._sums.items()}
        return {"sums": sums, "heat": dict(self._heat)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self._sums = {name: BalanceSums(**sums) for name, sums in state["sums"].items()}
        self._heat = dict(state["heat"])


def _products(
    owned: Sequence[nn.Parameter], first: Mapping[nn.Parameter, Tensor], second: Mapping[nn.Parameter, Tensor]
) -> Tensor:
    """Scalar product over a layer's parameters, in double precision; a parameter without a gradient adds nothing."""
    total = torch.zeros((), dtype=torch.float64, device=owned[0].device)
    for parameter in owned:
        if parameter in first and parameter in second:
            one, other = first[parameter].flatten(), second[parameter].flatten()
            total += torch.dot(one.float(), other.float()) if one.dtype != torch.float64 else torch.dot(one, other)
    return total
