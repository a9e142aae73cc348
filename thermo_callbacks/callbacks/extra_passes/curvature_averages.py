"""Running averages of the curvature over extra passes, and the values that are recorded of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.curvature.averages import (
    RughSums,
    TraceSums,
    rugh_average,
    rugh_sums,
    trace_average,
    trace_sums,
)
from thermo_callbacks.functional.statistics import Estimate

COLUMNS = ("traces", "trace_variances", "mobility_traces", "mobility_variances", "gradient_products")
"""What an extra pass finds for each layer: fields of a curvature sample."""
_SUMS: dict[str, Any] = {"laplacian": TraceSums, "destruction": TraceSums, "rugh": RughSums}
_TAGS = {"laplacian": "laplacian", "destruction": "entropy_destruction", "rugh": "rugh_temperature"}
_REASONS = {
    "laplacian": "the curvature of some layer is not finite",
    "destruction": "it needs the displacement per unit of gradient, which this optimizer does not tell (Nesterov's "
    "look-ahead, or a preconditioner that its state does not show)",
    "rugh": "it needs a Laplacian above zero, and one optimizer that steps once a batch",
}
FORGETTING = 3
"""Power of its number that an extra pass weighs with in the averages: the last fifth of a run weighs half, and the
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
        self._sums: dict[str, Any] = {}
        self._restored: dict[str, Any] | None = None

    def start(self, names: tuple[str, ...]) -> None:
        """Start afresh if the layers are others, and with the sums of a checkpoint if they belong to these.

        Args:
            names: Names of the layers that are measured from now on.
        """
        if self._names == names:
            return
        self._names, self.extra_passes = names, 0
        restored: dict[str, Any] = {}
        if self._restored is not None and self._restored["names"] == list(names):
            self.extra_passes, restored = self._restored["extra_passes"], self._restored["metrics"]
        empty = torch.zeros(len(names) + 1, dtype=torch.float64)
        self._sums = {
            name: kind(**{field: restored.get(name, {}).get(field, empty).clone() for field in kind._fields})
            for name, kind in _SUMS.items()
        }
        self._restored = None

    def add(self, columns: Tensor) -> None:
        """Take an extra pass into the averages.

        Args:
            columns: What it has found, ``[columns, L]``.
        """
        found = dict(zip(COLUMNS, columns, strict=True))
        weight = float(self.extra_passes**FORGETTING)
        self._add("laplacian", trace_sums(found["traces"], found["trace_variances"], weight))
        if "destruction" in self._wanted:
            self._add("destruction", trace_sums(found["mobility_traces"], found["mobility_variances"], weight))
        if "rugh" in self._wanted:
            self._add("rugh", rugh_sums(found["gradient_products"], found["traces"], weight))

    def _add(self, name: str, sums: TraceSums | RughSums) -> None:
        self._sums[name] = type(sums)(*(one + more for one, more in zip(self._sums[name], sums, strict=True)))

    def record(self, rate: float) -> Scalars:
        """Values under their tags: averages with their standard errors.

        Args:
            rate: The largest learning rate now.

        Returns:
            Tag to value.
        """
        record: Scalars = {}
        if "laplacian" in self._wanted:
            laplacian = trace_average(self._sums["laplacian"])
            record |= self._values("laplacian", laplacian)
            record |= self._by_layer("thermo_laplacian", laplacian.value)
            lower, upper = (end[-1] for end in laplacian.interval(0.95))
            record |= {"thermo/laplacian_lower": float(lower), "thermo/laplacian_upper": float(upper)}
            record |= self._by_layer("thermo_laplacian_stderr", laplacian.stderr)
        if "destruction" in self._wanted:
            destruction = trace_average(self._sums["destruction"])
            record |= self._values("destruction", destruction, rate)
            record |= self._by_layer("thermo_entropy_destruction", rate * destruction.value)
        if "rugh" in self._wanted:
            record |= self._values("rugh", rugh_average(self._sums["rugh"]))
        for name in self._wanted:
            tag = f"thermo/{_TAGS[name]}"
            if math.isnan(record[tag]):
                self._warn_once(tag, f"no value (NaN) for {tag} at an extra pass: {_REASONS[name]}.")
        return record

    def _values(self, name: str, estimate: Estimate, factor: float = 1.0) -> Scalars:
        """Value of all layers together and its error, times a factor."""
        tag = f"thermo/{_TAGS[name]}"
        return {tag: factor * float(estimate.value[-1]), f"{tag}_stderr": factor * float(estimate.stderr[-1])}

    def _by_layer(self, family: str, columns: Tensor) -> Scalars:
        return {f"{family}/{name}": value for name, value in zip(self._names, columns[:-1].tolist(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Sums of the running averages."""
        sums = {
            name: {field: value.clone() for field, value in sums._asdict().items()} for name, sums in self._sums.items()
        }
        return {"names": list(self._names), "extra_passes": self.extra_passes, "metrics": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first extra pass shows whether they belong to the same layers."""
        self._restored = state
