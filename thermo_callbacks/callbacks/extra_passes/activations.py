"""Collector of activations as heat engines: efficiencies, learning signal, dead and saturated units."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from thermo_callbacks.callbacks.agreement import samples_factor, several_processes
from thermo_callbacks.callbacks.extra_passes.activation_groups import ActivationGroups
from thermo_callbacks.callbacks.extra_passes.joint_activations import join_processes
from thermo_callbacks.callbacks.extra_passes.schedule import Collector, ExtraPassSettings
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.activations.powers import power_sums
from thermo_callbacks.probes.activations import ActivationProbe, compiles_functions, is_compiled
from thermo_callbacks.probes.activations.calls import Reading
from thermo_callbacks.probes.activations.groups import common_engine, pooled_values
from thermo_callbacks.probes.activations.records import ActivationRecord, make_records
from thermo_callbacks.probes.replay import SkippedBatch
from thermo_callbacks.probes.replay.stand_ins import stand_in
from thermo_callbacks.probes.sharding import is_sharded


class ActivationCollector(Collector):
    """Measures activations in the training's own pass, or in a replay where that pass runs as compiled code."""

    key = "activations"

    def __init__(self, trainer: Any, pl_module: Any, settings: ExtraPassSettings) -> None:
        super().__init__(
            f"{settings.name}'s measurement of activations", quiet=not trainer.is_global_zero, told=settings.told
        )
        self._trainer = trainer
        self._module, self._loss_fn, self._engines = pl_module, settings.loss_fn, settings.engines
        self._replay_of = settings.replay
        self._probe = ActivationProbe(pl_module, activations=settings.activations)
        self._told = settings.activation_groups
        self._most, self._groups = settings.most_activations, ActivationGroups(settings.most_activations)

    def before_forward(self, batch: Any, batch_idx: int) -> None:
        """Start the probe, or measure a replay."""
        if not self._runs_compiled():
            self._probe.start()
            return
        if is_sharded(self._module):
            self.guard.disable("compiled code is looked at in a replay, which sharded parameters do not allow")
            return
        # a mode or a hook around compiled code would compile it anew, for this step and again for the next
        # torch tells that the probe's hooks see the compiled module's shell as well: the probe knows shells
        leaves = {p: stand_in(p) for p in self._module.parameters() if p.requires_grad}
        with (
            contextlib.suppress(SkippedBatch),
            warnings.catch_warnings(action="ignore"),
            self._probe,
            self._replay_of(self._module).loss(leaves, batch, batch_idx, second_order=False) as loss,
        ):
            torch.autograd.grad(loss.value, list(leaves.values()), allow_unused=True)

    def _runs_compiled(self) -> bool:
        """Whether the step may run compiled code; where there is no replay, only if some has run in this process."""
        replayed = self._loss_fn is not None or getattr(self._module, "automatic_optimization", True)
        return is_compiled(self._module) or compiles_functions(called=not replayed)

    def after_backward(self) -> Scalars:
        """Stop the probe, and give the values of all processes."""
        reading: Reading | None = None
        with self.guard.protect("measuring a batch"):
            self._probe.stop()
            if not self.guard.disabled:
                reading = self._probe.reading()
        if several_processes(self._trainer) and samples_factor(self._trainer) == 1.0:
            join_processes(self.guard, self._trainer.strategy.root_device, reading)
        return {} if reading is None or self.guard.disabled else self._values(make_records(reading.finish()))

    def _values(self, records: dict[str, ActivationRecord]) -> Scalars:
        self._tell_of_unseen(records)
        gathered = self._groups.gather(records)
        self._told.update(self._groups.made)
        shown = {name: [records[member] for member in members] for name, members in gathered.items()}
        self._engines.update({name: common_engine(members) for name, members in shown.items()})
        return _record(records, shown, self._most)

    def _tell_of_unseen(self, records: Mapping[str, ActivationRecord]) -> None:
        fused = [module for module in self._module.modules() if isinstance(module, nn.RNNBase | nn.RNNCellBase)]
        if fused:
            names = dict.fromkeys(f"{type(module).__module__}.{type(module).__name__}" for module in fused)
            kinds = ", ".join(names).replace("torch.nn.modules.rnn", "nn")
            self.guard.note_once(
                f"no values of the activations inside of {kinds}: it computes its gates within one call, where nobody "
                "can look. Gates that are written out, with torch.sigmoid and torch.tanh, have values.",
                topic="fused activations",
            )
        elif not records:
            self.guard.note_once(
                "no values of activations: the training step calls no activation function that is known. Give those of "
                "your own as activations.",
                topic="no activations",
            )

    def state_dict(self) -> dict[str, Any]:
        """Names that are shown."""
        return self._groups.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the same names."""
        self._groups.load_state_dict(state)

    def close(self) -> None:
        """Stop the probe, also in a pass that an exception ended."""
        self._probe.stop()


def _record(
    engines: Mapping[str, ActivationRecord], shown: Mapping[str, Sequence[ActivationRecord]], most: int | None
) -> Scalars:
    """Efficiencies of each activation or group that is shown, of ``most`` types, and of the whole network."""
    if not engines:
        return {}
    powers = [engine.powers for engine in engines.values()]
    sums = power_sums([power.output for power in powers], [power.input for power in powers])
    pooled = sums.pooled()
    record = {
        "thermo/work_efficiency": float(pooled.value),
        "thermo/work_efficiency_stderr": float(pooled.stderr),
        "thermo/work_efficiency_product": float(sums.network().value),
    }
    for name, members in shown.items():
        record |= {f"thermo_{value}/{name}": number for value, number in pooled_values(members).items()}
    types = itertools.islice(sums.by_type([engine.activation for engine in engines.values()]).items(), most)
    return record | {f"thermo_engine/{kind}": float(estimate.value) for kind, estimate in types}
