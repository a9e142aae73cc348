"""Curvature at the parameters of one step: Laplacian, entropy destruction, configurational temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks._records import Record
from thermo_callbacks.callbacks._survey import Instrument
from thermo_callbacks.metrics import EntropyDestruction, FreeEnergyLaplacian, RughTemperature
from thermo_callbacks.metrics._base import EstimatedMetric
from thermo_callbacks.probes.curvature import CurvatureProbe
from thermo_callbacks.probes.optimizers import decay_contraction, parameter_mobility
from thermo_callbacks.probes.replay import Replay

Layers = Mapping[str, Sequence[nn.Parameter]]
_COLUMNS = ("traces", "trace_variances", "mobility_traces", "mobility_variances", "gradient_products")
_TAGS = {"laplacian": "laplacian", "destruction": "entropy_destruction", "rugh": "rugh_temperature"}
SMALL = 2**25
"""Bytes of copies that may lie about between looks."""
_REASONS = {
    "laplacian": "the curvature of some layer is not finite",
    "destruction": "it needs the displacement per unit of gradient, which this optimizer does not tell (Nesterov's "
    "look-ahead, or a preconditioner that its state does not show)",
    "rugh": "it needs a Laplacian above zero, and one optimizer that steps once a batch",
}
FORGETTING = 3
"""Power of the look's number that it weighs with in the running averages: the last fifth of a run weighs half, and the
error still falls as one over the root of the number of looks."""


class _Copies:
    """Memory for copies of parameters and gradients, kept from look to look where it is little.

    Fresh pages cost a small network several times what the copying does; those of a large one would be missed.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[nn.Parameter, str], Tensor] = {}

    def take(self, parameter: nn.Parameter, kind: str, source: Tensor, factor: Tensor | float) -> Tensor:
        """A copy of a parameter's tensor, times a factor."""
        place = self._kept.get((parameter, kind))
        if place is None or place.shape != source.shape or place.dtype != source.dtype or place.device != source.device:
            place = self._kept[parameter, kind] = torch.empty_like(source)
        if isinstance(factor, float) and factor == 1.0:
            return place.copy_(source)
        return torch.mul(source, factor, out=place)

    def rest(self) -> None:
        """The copies are not needed until the next look."""
        if sum(place.numel() * place.element_size() for place in self._kept.values()) > SMALL:
            self._kept.clear()


class CurvatureInstrument(Instrument):
    """Curvature of the loss at the parameters before a step, on the batch after it.

    The batch after the step knows nothing of the parameters before it, and nothing of the step's own batch: two
    gradients at one place with independent noise, whose product is the squared slope of the true loss.

    Args:
        trainer: The Trainer.
        pl_module: The module in training.
        layers: Gives the layers that are watched now.
        wanted: Which of ``"laplacian"``, ``"destruction"`` and ``"rugh"`` to record.
        loss_fn: Loss of a module and a batch, in place of the training step.
        within_layers: Whether each layer has a probe of its own.
        seed: Seed of the probes.
        name: What to call the monitor in a warning.
    """

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        *,
        layers: Callable[[], Layers],
        wanted: Collection[str],
        loss_fn: Callable[[Any, Any], Tensor] | None,
        within_layers: bool,
        seed: int,
        name: str,
    ) -> None:
        super().__init__(f"{name}'s measurement of curvature", quiet=not trainer.is_global_zero)
        self._trainer, self._layers, self._wanted = trainer, layers, frozenset(wanted)
        with self.guard.watch("looking at the training step"):
            self._replay = Replay(pl_module, loss_fn)
        self._seed, self._within_layers = seed, within_layers
        self._signature: tuple[int, ...] = ()
        self._names: tuple[str, ...] = ()
        self._metrics: dict[str, EstimatedMetric] = {}
        self._restored: dict[str, Any] | None = None
        self._looks = 0
        self._rate = math.nan  # largest learning rate at the look
        self._values: dict[nn.Parameter, Tensor] = {}
        self._gradients: dict[nn.Parameter, Tensor] = {}
        self._copies = _Copies()

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """Keep parameters and gradients, until the next batch."""
        if self._values:  # LBFGS evaluates its closure again, or another optimizer steps in the same batch
            return
        optimizers = self._trainer.optimizers
        for owner in optimizers:
            for group in owner.param_groups:
                for parameter in group["params"]:
                    self._values[parameter] = self._copies.take(parameter, "value", parameter.detach(), 1.0)
        if "rugh" in self._wanted and len(optimizers) == 1:  # else each gradient may be that of another loss
            factor = scale()
            for parameter in self._values:
                if parameter.grad is not None:
                    gradient = parameter.grad.detach().to_dense()
                    self._gradients[parameter] = self._copies.take(parameter, "gradient", gradient, factor)

    def after_step(self, batch: Any, batch_idx: int) -> Record:
        """Measure at the parameters that were kept, on the batch that is here now."""
        layers = self._layers()
        columns = torch.full((len(_COLUMNS), len(layers)), torch.nan, dtype=torch.float64)
        with self.guard.watch("measuring curvature"):
            if not self.guard.disabled:
                columns = self._measure(layers, batch, batch_idx)
        self._values, self._gradients = {}, {}
        self._copies.rest()
        # every rank takes part, also one where something failed: the others would wait for it for ever
        columns, failed = self._over_ranks(columns)
        self._looks += 1
        if failed:
            self.guard.disable("it failed in another process")
        if self.guard.disabled:
            return {}
        self._average(dict(zip(_COLUMNS, columns, strict=True)))
        return self._record()

    def _measure(self, layers: Layers, batch: Any, batch_idx: int) -> Tensor:
        """Columns of one look, ``[columns, L]``."""
        signature = tuple(id(parameter) for owned in layers.values() for parameter in owned)
        if signature != self._signature:  # layers thaw and freeze
            self._probe = CurvatureProbe(
                self._replay, layers, seed=self._seed, within_layers=self._within_layers, say=self._say
            )
            self._signature = signature
            self._start_averages(tuple(layers))
        sample = self._probe.measure(
            self._values,
            batch,
            batch_idx,
            step=self._looks,
            mobilities=self._relative_mobilities() if "destruction" in self._wanted else None,
            gradients=self._gradients or None,
        )
        columns = {name: getattr(sample, name) for name in _COLUMNS}
        if "destruction" in self._wanted:
            columns["mobility_traces"] = columns["mobility_traces"] + self._decay(layers)
        return torch.stack(list(columns.values()))

    def _decay(self, layers: Layers) -> Tensor:
        """What the optimizers' own weight decay contracts, per largest learning rate, ``[L]``."""
        owners = {
            parameter: (optimizer, group)
            for optimizer in self._trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        sums = [
            math.fsum(_total(decay_contraction(*owners[parameter], parameter, _all), parameter) for parameter in owned)
            for owned in layers.values()
        ]
        return torch.tensor(sums, dtype=torch.float64) / self._rate

    def _relative_mobilities(self) -> dict[nn.Parameter, Tensor | float]:
        """Displacement of each parameter per unit of gradient and of the largest learning rate."""
        # schedules move the learning rate from look to look, preconditioners move slowly: an average of what is left
        # when the learning rate is taken out stays right when that jumps
        groups = [(optimizer, group) for optimizer in self._trainer.optimizers for group in optimizer.param_groups]
        self._rate = max(float(group.get("lr", math.nan)) for _, group in groups)
        mobilities: dict[nn.Parameter, Tensor | float] = {}
        for optimizer, group in groups:
            for parameter in group["params"]:
                mobility = parameter_mobility(optimizer, group, parameter, _all)
                mobilities[parameter] = mobility / self._rate if self._rate else math.nan
        return mobilities

    def _over_ranks(self, columns: Tensor) -> tuple[Tensor, bool]:
        """Mean over the processes, and whether one of them failed."""
        strategy = self._trainer.strategy
        if self._trainer.world_size == 1:
            return columns, False
        failed = columns.new_full((1,), float(self.guard.disabled))
        packed = torch.cat([columns.flatten(), failed]).to(strategy.root_device)
        packed = strategy.reduce(packed, reduce_op="mean").cpu()
        return packed[:-1].view_as(columns), bool(packed[-1] > 0)

    def _start_averages(self, names: tuple[str, ...]) -> None:
        if self._names == names:
            return
        self._names, self._looks = names, 0
        options: dict[str, Any] = {"sizes": [1] * len(names), "sync_on_compute": False}
        self._metrics = {
            "laplacian": FreeEnergyLaplacian(**options),
            "destruction": EntropyDestruction(**options),
            "rugh": RughTemperature(**options),
        }
        if self._restored is not None and self._restored["names"] == list(names):
            self._looks = self._restored["looks"]
            for name, states in self._restored["metrics"].items():
                _load(self._metrics[name], states)
        self._restored = None

    def _average(self, look: dict[str, Tensor]) -> None:
        """Take a look into the running averages."""
        weight = float(self._looks**FORGETTING)
        traces = look["traces"]
        self._metrics["laplacian"].update(traces, look["trace_variances"], weight)
        if "destruction" in self._wanted:
            self._metrics["destruction"].update(look["mobility_traces"], look["mobility_variances"], weight)
        if "rugh" in self._wanted:
            self._metrics["rugh"].update(look["gradient_products"], traces, weight)

    def _record(self) -> Record:
        """Values under their tags: running averages with their standard errors."""
        record: Record = {}
        if "laplacian" in self._wanted:
            laplacian = self._metrics["laplacian"]
            record |= self._values_of("laplacian", "thermo_laplacian", 1.0)
            lower, upper = laplacian.estimate().interval(0.95)
            record |= {"thermo/laplacian_lower": float(lower), "thermo/laplacian_upper": float(upper)}
            by_layer = zip(self._names, laplacian.estimate_layers().stderr.tolist(), strict=True)
            record |= {f"thermo_laplacian_stderr/{name}": value for name, value in by_layer}
        if "destruction" in self._wanted:
            record |= self._values_of("destruction", "thermo_entropy_destruction", self._rate)
        if "rugh" in self._wanted:
            record |= self._values_of("rugh", "", 1.0)
        for name in self._wanted:
            tag = f"thermo/{_TAGS[name]}"
            if math.isnan(record[tag]):
                self._say(tag, f"no value (NaN) for {tag} at a look: {_REASONS[name]}.")
        return record

    def _values_of(self, name: str, family: str, factor: float) -> Record:
        """One metric's values times a factor: global with its error, and by layer."""
        metric, tag = self._metrics[name], f"thermo/{_TAGS[name]}"
        estimate = metric.estimate()
        record = {tag: factor * float(estimate.value), f"{tag}_stderr": factor * float(estimate.stderr)}
        if family:
            layers = zip(self._names, metric.compute_layers().tolist(), strict=True)
            record |= {f"{family}/{layer}": factor * value for layer, value in layers}
        return record

    def _say(self, topic: str, message: str) -> None:
        self.guard.say(message, topic=topic)

    def close(self) -> None:
        """Drop the copies."""
        self._values, self._gradients, self._copies = {}, {}, _Copies()

    def state_dict(self) -> dict[str, Any]:
        """Sums of the running averages."""
        states = {
            name: {state: getattr(metric, state).cpu().clone() for state in metric.metric_state}
            for name, metric in self._metrics.items()
        }
        return {"names": list(self._names), "looks": self._looks, "metrics": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first look shows whether they belong to the same layers."""
        self._restored = state


def _load(metric: EstimatedMetric, states: Mapping[str, Tensor]) -> None:
    """Put sums into a metric, with the bookkeeping of an update."""
    for name, value in states.items():
        setattr(metric, name, value.clone())
    metric._update_count += 1
    metric._computed = None


def _all(tensor: Tensor) -> Tensor:
    """A parameter's whole state, where other callers pick a sample."""
    return tensor


def _total(value: Tensor | float, parameter: nn.Parameter) -> float:
    """Sum over a parameter's coordinates of one value each, or the same for all."""
    return float(value.double().sum()) if isinstance(value, Tensor) else value * parameter.numel()
