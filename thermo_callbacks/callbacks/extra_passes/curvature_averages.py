"""Running averages of the curvature that looks find, and the values that are recorded of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.metrics import EntropyDestruction, FreeEnergyLaplacian, RughTemperature
from thermo_callbacks.metrics.base import EstimatedMetric

COLUMNS = ("traces", "trace_variances", "mobility_traces", "mobility_variances", "gradient_products")
"""What an extra pass finds for each layer: fields of a curvature sample."""
_TAGS = {"laplacian": "laplacian", "destruction": "entropy_destruction", "rugh": "rugh_temperature"}
_REASONS = {
    "laplacian": "the curvature of some layer is not finite",
    "destruction": "it needs the displacement per unit of gradient, which this optimizer does not tell (Nesterov's "
    "look-ahead, or a preconditioner that its state does not show)",
    "rugh": "it needs a Laplacian above zero, and one optimizer that steps once a batch",
}
FORGETTING = 3
"""Power of the look's number that it weighs with in the running averages: the last fifth of a run weighs half, and the
error still falls as one over the root of the number of extra passes."""


class CurvatureAverages:
    """Averages over extra passes of Laplacian, entropy destruction and configurational temperature.

    Args:
        wanted: Which of ``"laplacian"``, ``"destruction"`` and ``"rugh"`` to record.
        warn_once: Called with a topic and a message when a value can't be given.
    """

    def __init__(self, wanted: Collection[str], warn_once: Callable[[str, str], None]) -> None:
        self._wanted, self._warn_once = wanted, warn_once
        self.extra_passes = 0
        self._names: tuple[str, ...] = ()
        self._metrics: dict[str, EstimatedMetric] = {}
        self._restored: dict[str, Any] | None = None

    def start(self, names: tuple[str, ...]) -> None:
        """Start afresh if the layers are others, and with the sums of a checkpoint if they belong to these.

        Args:
            names: Names of the layers that are looked at from now on.
        """
        if self._names == names:
            return
        self._names, self.extra_passes = names, 0
        options: dict[str, Any] = {"sizes": [1] * len(names), "sync_on_compute": False}
        self._metrics = {
            "laplacian": FreeEnergyLaplacian(**options),
            "destruction": EntropyDestruction(**options),
            "rugh": RughTemperature(**options),
        }
        if self._restored is not None and self._restored["names"] == list(names):
            self.extra_passes = self._restored["extra_passes"]
            for name, states in self._restored["metrics"].items():
                _load(self._metrics[name], states)
        self._restored = None

    def add(self, columns: Tensor) -> None:
        """Take an extra pass into the averages.

        Args:
            columns: What it has found, ``[columns, L]``.
        """
        look = dict(zip(COLUMNS, columns, strict=True))
        weight = float(self.extra_passes**FORGETTING)
        traces = look["traces"]
        self._metrics["laplacian"].update(traces, look["trace_variances"], weight)
        if "destruction" in self._wanted:
            self._metrics["destruction"].update(look["mobility_traces"], look["mobility_variances"], weight)
        if "rugh" in self._wanted:
            self._metrics["rugh"].update(look["gradient_products"], traces, weight)

    def record(self, rate: float) -> Scalars:
        """Values under their tags: averages with their standard errors.

        Args:
            rate: The largest learning rate now.

        Returns:
            Tag to value.
        """
        record: Scalars = {}
        if "laplacian" in self._wanted:
            laplacian = self._metrics["laplacian"]
            record |= self._values_of("laplacian", "thermo_laplacian", 1.0)
            lower, upper = laplacian.estimate().interval(0.95)
            record |= {"thermo/laplacian_lower": float(lower), "thermo/laplacian_upper": float(upper)}
            by_layer = zip(self._names, laplacian.estimate_layers().stderr.tolist(), strict=True)
            record |= {f"thermo_laplacian_stderr/{name}": value for name, value in by_layer}
        if "destruction" in self._wanted:
            record |= self._values_of("destruction", "thermo_entropy_destruction", rate)
        if "rugh" in self._wanted:
            record |= self._values_of("rugh", "", 1.0)
        for name in self._wanted:
            tag = f"thermo/{_TAGS[name]}"
            if math.isnan(record[tag]):
                self._warn_once(tag, f"no value (NaN) for {tag} at an extra pass: {_REASONS[name]}.")
        return record

    def _values_of(self, name: str, family: str, factor: float) -> Scalars:
        """One metric's values times a factor: global with its error, and by layer."""
        metric, tag = self._metrics[name], f"thermo/{_TAGS[name]}"
        estimate = metric.estimate()
        record = {tag: factor * float(estimate.value), f"{tag}_stderr": factor * float(estimate.stderr)}
        if family:
            layers = zip(self._names, metric.compute_layers().tolist(), strict=True)
            record |= {f"{family}/{layer}": factor * value for layer, value in layers}
        return record

    def state_dict(self) -> dict[str, Any]:
        """Sums of the running averages."""
        states = {
            name: {state: getattr(metric, state).cpu().clone() for state in metric.metric_state}
            for name, metric in self._metrics.items()
        }
        return {"names": list(self._names), "extra_passes": self.extra_passes, "metrics": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first extra pass shows whether they belong to the same layers."""
        self._restored = state


def _load(metric: EstimatedMetric, states: Mapping[str, Tensor]) -> None:
    """Put sums into a metric, with the bookkeeping of an update."""
    for name, value in states.items():
        setattr(metric, name, value.clone())
    metric._update_count += 1
    metric._computed = None
