"""Collector of curvature: Laplacian, entropy destruction, configurational temperature."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import agree, mean_over_processes
from thermo_callbacks.callbacks.extra_passes.curvature_values import COLUMNS, CurvatureValues
from thermo_callbacks.callbacks.extra_passes.measured_step import FreshGradient, MeasuredStep, check_trained
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings, ReplayingCollector
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample, SampleCurvatureProbe
from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.curvature.sharded_probe import ShardedCurvatureProbe
from thermo_callbacks.probes.parameters.optimizers import MobilityOf, decay_contraction
from thermo_callbacks.probes.parameters.stated import largest_rate
from thermo_callbacks.probes.real_numbers import real_count
from thermo_callbacks.probes.replay import SKIPPED
from thermo_callbacks.probes.sharding import is_distributed, is_sharded, local_part, part_of, sum_over_processes
from thermo_callbacks.probes.together import Together

Layers = Mapping[str, Sequence[nn.Parameter]]
PROBES = 2
"""Random vectors of weights that can't be probed sample by sample: each costs about as much as a training step."""


class CurvatureCollector(ReplayingCollector):
    """Measures the curvature of the loss at the parameters before a step, on the batch after it.

    The batch after the step knows nothing of the parameters before it, and nothing of the step's own batch: two
    gradients at one place with independent noise, whose product is the squared slope of the true loss. ``wanted`` says
    which of ``"laplacian"``, ``"destruction"`` and ``"rugh"`` to record.
    """

    key = "curvature"

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        settings: ExtraPassSettings,
        *,
        layers: Callable[[], Layers],
        mobility: MobilityOf,
        wanted: Collection[str],
        measured: MeasuredStep,
    ) -> None:
        super().__init__(trainer, pl_module, settings, "measurement of curvature")
        self._layers, self._wanted = layers, frozenset(wanted)
        self._mobility_of = mobility
        self._module, self._sharded = pl_module, is_sharded(pl_module)
        self._probe: CurvatureProbe
        self._together = Together(trainer.strategy.root_device)
        self._seed, self._within_layers = settings.seed, settings.within_layers
        self._signature: tuple[int, ...] = ()
        self._record = CurvatureValues(self._wanted, self._explain)
        self._degrees_of_freedom = math.nan
        self._rate = math.nan  # largest learning rate at the extra pass
        self._step = measured
        # of several optimizers each may have a loss of its own
        self._takes_gradients = "rugh" in self._wanted and len(trainer.optimizers) == 1
        measured.keeps_gradients |= self._takes_gradients
        self._memory = KeptMemory()
        self._skipped = False  # the training step had no loss for the batch

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """Keep parameters and gradients, until the next batch."""
        self._step.keep(scale)

    def after_step(self, batch: Any, batch_idx: int) -> Scalars:
        """Measure at the parameters that were kept, on the batch that is here now."""
        columns: Tensor | None = None
        if self._sharded:  # the passes to come wait for all processes
            agree(self.guard, self._trainer.strategy.root_device)
        with self.guard.protect("measuring curvature"):
            if not self.guard.disabled:
                with self._together if self._sharded else contextlib.nullcontext():
                    columns = self._measure(self._layers(), batch, batch_idx)
            self._memory.rest()
        # every rank takes part, also one where something failed: the others would wait for it for ever
        columns = mean_over_processes(self._trainer, self.guard, columns)
        self._record.extra_passes += 1
        skipped, self._skipped = self._skipped, False
        if columns is None or skipped:
            return {}
        self._record.add(columns, self._degrees_of_freedom)
        return self._record.record(self._rate)

    def _measure(self, layers: Layers, batch: Any, batch_idx: int) -> Tensor:
        """Columns of one extra pass, ``[columns, L + 1]``."""
        check_trained(layers)
        signature = tuple(id(parameter) for owned in layers.values() for parameter in owned)
        if signature != self._signature:  # layers thaw and freeze
            options: dict[str, Any] = {
                "seed": self._seed,
                "within_layers": self._within_layers,
                "probes": PROBES,
                "warn_once": self._warn_once,
            }
            if self._sharded:
                self._probe = ShardedCurvatureProbe(
                    self._replay, self._module, layers, together=self._together, **options
                )
            else:
                self._probe = SampleCurvatureProbe(self._replay, layers, memory=self._memory, **options)
            self._signature = signature
            self._record.start(tuple(layers))
        sample = self._probe.measure(
            self._step.values,
            batch,
            batch_idx,
            step=self._record.extra_passes,
            mobilities=self._relative_mobilities() if "destruction" in self._wanted else None,
            gradients=self._own_gradients(),
        )
        self._degrees_of_freedom = sample.degrees_of_freedom
        self._hand_over(sample)
        columns = torch.stack([getattr(sample, name) for name in COLUMNS])
        columns = torch.cat([columns, sample.whole.unsqueeze(1)], 1)
        if "destruction" in self._wanted:
            decay = self._decay(layers)
            columns[COLUMNS.index("mobility_traces")] += torch.cat([decay, decay.sum(0, keepdim=True)])
        return columns

    def _hand_over(self, sample: CurvatureSample) -> None:
        """Loss and gradients of the fresh batch, to the other collectors, if all are there and as training has them."""
        if self._step.fresh is None and sample.as_trained and sample.gradients.keys() >= self._step.gradients.keys():
            loss = torch.tensor(sample.loss, dtype=torch.float64)
            self._step.fresh = FreshGradient(loss, dict(sample.gradients))

    def _own_gradients(self) -> Mapping[nn.Parameter, Tensor] | None:
        """The step's gradients, where they are wanted and those of one loss."""
        return (self._step.gradients or None) if self._takes_gradients else None

    def _decay(self, layers: Layers) -> Tensor:
        """What the optimizers' own weight decay contracts, per largest learning rate, ``[L]``."""
        owners = {
            parameter: (optimizer, group)
            for optimizer in self._trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        sums, shares = (torch.zeros(len(layers), dtype=torch.float64) for _ in range(2))
        for place, owned in enumerate(layers.values()):
            values = [(self._contraction(*owners[parameter], parameter), parameter) for parameter in owned]
            whole = [_total(value, p) for value, p in values if not (isinstance(value, Tensor) and is_distributed(p))]
            parts = [_share(value, p) for value, p in values if isinstance(value, Tensor) and is_distributed(p)]
            sums[place], shares[place] = math.fsum(whole), math.fsum(parts)
        if self._sharded:
            self._together.point()
            sums += sum_over_processes(shares, self._trainer.strategy.root_device)
        return sums / self._rate

    def _contraction(self, optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter) -> Tensor | float:
        return decay_contraction(optimizer, group, parameter, _all, self._mobility_of)

    def _relative_mobilities(self) -> dict[nn.Parameter, Tensor | float]:
        """Displacement of each parameter per unit of gradient and of the largest learning rate."""
        # schedules move the learning rate from pass to pass, preconditioners move slowly: an average of what is left
        # when the learning rate is taken out stays right when that jumps
        groups = [(optimizer, group) for optimizer in self._trainer.optimizers for group in optimizer.param_groups]
        self._rate = largest_rate([group for _, group in groups])
        mobilities: dict[nn.Parameter, Tensor | float] = {}
        for optimizer, group in groups:
            for parameter in group["params"]:
                mobility = self._mobility_of(optimizer, group, parameter, _all)
                mobilities[parameter] = mobility / self._rate if self._rate else math.nan
        return mobilities

    def _explain(self, topic: str, message: str) -> None:
        # curvature that is not finite can be mended; the rest follows from the optimizer, of which windows tell, and
        # from where the run is
        tell = self.guard.warn_once if topic == "thermo/laplacian" else self.guard.note_once
        tell(message, topic=topic)

    def _warn_once(self, topic: str, message: str) -> None:
        if topic == SKIPPED:  # nothing is wrong with the run, nor with its curvature: this pass has none
            self._skipped = True
            self.guard.note_once(message, topic=topic)
        else:
            self.guard.warn_once(message, topic=topic)

    def close(self) -> None:
        """Drop the copies."""
        self._memory.drop()

    def state_dict(self) -> dict[str, Any]:
        """Sums of the Rugh temperature."""
        return self._record.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first extra pass shows whether they belong to the same layers."""
        self._record.load_state_dict(state)


def _all(tensor: Tensor) -> Tensor:
    """All that this process holds of a parameter's state, where other callers pick a sample."""
    return local_part(tensor)


def _total(value: Tensor | float, parameter: nn.Parameter) -> float:
    """Sum over a parameter's coordinates of one value each, or the same for all."""
    return float(value.double().sum()) if isinstance(value, Tensor) else value * real_count(parameter)


def _share(value: Tensor, parameter: nn.Parameter) -> float:
    """What this process adds to the sum over the coordinates of a parameter that is spread over processes."""
    return float(value.double().sum()) if part_of(parameter, "that is summed over").counted else 0.0
