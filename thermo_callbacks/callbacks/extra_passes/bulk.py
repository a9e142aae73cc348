"""Collector of the bulk: complexity, bulk loss, and the state functions that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings, ReplayingCollector
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.display import write_spectrum
from thermo_callbacks.functional.bulk.thermodynamics import bulk_first_law_residual
from thermo_callbacks.probes.bulk.result import BulkReading
from thermo_callbacks.probes.replay import SkippedBatch

HISTOGRAM = 1024
"""Values that a spectrum is drawn from."""


class BulkCollector(ReplayingCollector):
    """Measures neuron states on the batch after a step, under the weights before it and after it."""

    key = "bulk"

    def __init__(self, trainer: Any, pl_module: Any, settings: ExtraPassSettings, measured: MeasuredStep) -> None:
        super().__init__(trainer, pl_module, settings, "measurement of the bulk")
        self._module, self._step = pl_module, measured
        self._probe, self._seed = settings.bulk_probe, settings.seed
        self._untrained: dict[nn.Parameter, Tensor] = {}  # values of parameters that no optimizer has
        self._last: tuple[float, ...] | None = None  # of the last extra pass, for the first law
        self._extra_passes_made = 0

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """Keep the parameters, until the next batch."""
        self._step.keep(scale)
        if not self._untrained:
            self._untrained = {p: p.detach().clone() for p in self._module.parameters() if p not in self._step.values}

    def after_step(self, batch: Any, batch_idx: int) -> Scalars:
        """Measure under the parameters that were kept and those that are there now."""
        if self.guard.disabled:
            return {}
        kept, self._untrained = {**self._untrained, **self._step.values}, {}
        before = {parameter: kept[parameter] for parameter in self._module.parameters() if parameter in kept}
        after = {parameter: parameter.detach() for parameter in before}
        generator = torch.Generator().manual_seed((self._seed << 32) + self._extra_passes_made)
        self._extra_passes_made += 1

        def step() -> Tensor:
            with self._replay.loss({}, batch, batch_idx) as loss:
                return loss.value

        try:
            reading = self._probe.measure(
                self._module, step, generator=generator, before=before or None, after=after or None
            )
        except SkippedBatch:  # no extra pass this time
            return {}
        except ValueError as fault:
            if not isinstance(fault.__cause__, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
                raise
            self.guard.note_once("no value (NaN) of the bulk at an extra pass: its neurons are too large to be seen.")
            return {}
        eigenvalues, step_now = reading.spectrum.quantiles(HISTOGRAM), logging_step(self._trainer)
        logger_output(self._trainer).write(
            self._trainer,
            step_now,
            lambda writers: write_spectrum(writers, "thermo/bulk_spectrum", eigenvalues, step_now),
        )
        return self._record(reading)

    def _record(self, reading: BulkReading) -> Scalars:
        """Values under their tags, at the equipartition temperature."""
        if reading.laplacian_reason:
            self.guard.note_once(f"No Laplacian of complexity (NaN): {reading.laplacian_reason}", topic="laplacian")
        temperature = reading.equipartition_temperature
        state = reading.thermodynamics(temperature)
        record = {
            "thermo/complexity": float(reading.complexity.value),
            "thermo/complexity_stderr": float(reading.complexity.stderr),
            "thermo/complexity_laplacian": float(reading.laplacian.value),
            "thermo/complexity_laplacian_stderr": float(reading.laplacian.stderr),
            "thermo/bulk_loss": float(reading.bulk_loss.value),
            "thermo/pinned_bulk_loss": float(reading.pinned_bulk_loss),
            "thermo/boundary_loss": float(reading.boundary_loss),
            "thermo/equipartition_temperature": float(temperature),
            "thermo/bulk_log_partition": float(state.log_partition),
            "thermo/bulk_entropy": float(state.entropy),
            "thermo/bulk_free_energy": float(state.free_energy),
        }
        now = (float(state.mean_loss), float(temperature), record["thermo/complexity"])
        if self._last is not None:
            losses, temperatures, complexities = torch.tensor([self._last, now], dtype=torch.float64).T
            residual = bulk_first_law_residual(losses, temperatures, complexities, reading.neurons)
            record["thermo/bulk_first_law_residual"] = float(residual.sum())
        self._last = now
        return record

    def close(self) -> None:
        """Drop the copies."""
        self._untrained = {}

    def state_dict(self) -> dict[str, Any]:
        """Number of extra passes, the values of the last one for the first law, and what is kept for the next batch."""
        parameters = list(self._module.parameters())
        return {
            "extra_passes": self._extra_passes_made,
            "last": None if self._last is None else list(self._last),
            "untrained": {parameters.index(p): value.to("cpu", copy=True) for p, value in self._untrained.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self._extra_passes_made = state["extra_passes"]
        self._last = None if state["last"] is None else tuple(state["last"])
        parameters = list(self._module.parameters())
        kept = {parameters[place]: value for place, value in state.get("untrained", {}).items()}
        self._untrained = {parameter: value.to(parameter.device) for parameter, value in kept.items()}
