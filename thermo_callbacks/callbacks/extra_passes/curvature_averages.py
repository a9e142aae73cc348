"""Running averages of the curvature over extra passes, and the values that are recorded of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.curvature.averages import RughSums, TraceSums, rugh_sums, trace_sums

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
    """Averages over extra passes of Laplacian, entropy destruction and configurational temperature, as ``wanted``."""

    def __init__(self, wanted: Collection[str], warn_once: Callable[[str, str], None]) -> None:
        self._wanted, self._warn_once = wanted, warn_once
        self.extra_passes = 0
        self._names: tuple[str, ...] = ()
        self._sums: dict[str, Any] = {}
        self._restored: dict[str, Any] | None = None

    def start(self, names: tuple[str, ...]) -> None:
        """Start afresh if the layers are others, and with the sums of a checkpoint if they belong to these."""
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
        """Take what an extra pass has found, ``[columns, L]``, into the averages."""
        found = dict(zip(COLUMNS, columns, strict=True))
        weight = float(self.extra_passes**FORGETTING)
        updates: dict[str, Any] = {"laplacian": trace_sums(found["traces"], found["trace_variances"], weight)}
        if "destruction" in self._wanted:
            updates["destruction"] = trace_sums(found["mobility_traces"], found["mobility_variances"], weight)
        if "rugh" in self._wanted:
            updates["rugh"] = rugh_sums(found["gradient_products"], found["traces"], weight)
        for name, sums in updates.items():
            self._sums[name] = type(sums)(*map(torch.add, self._sums[name], sums))

    def record(self, rate: float) -> Scalars:
        """Averages with their standard errors; ``rate`` is the largest learning rate now."""
        record: Scalars = {}
        for name, tag in _TAGS.items():
            if name not in self._wanted:
                continue
            factor = rate if name == "destruction" else 1.0
            estimate = self._sums[name].estimate()
            # the last column is that of all layers together
            values, errors = ([factor * number for number in part.tolist()] for part in estimate[:2])
            record |= {f"thermo/{tag}": values[-1], f"thermo/{tag}_stderr": errors[-1]}
            if name != "rugh":
                record |= zip((f"thermo_{tag}/{layer}" for layer in self._names), values, strict=False)
            if name == "laplacian":
                lower, upper = estimate.interval(0.95)
                record |= {"thermo/laplacian_lower": float(lower[-1]), "thermo/laplacian_upper": float(upper[-1])}
                record |= zip((f"thermo_laplacian_stderr/{layer}" for layer in self._names), errors, strict=False)
            if math.isnan(values[-1]):
                self._warn_once(f"thermo/{tag}", f"no value (NaN) for thermo/{tag} at an extra pass: {_REASONS[name]}.")
        return record

    def state_dict(self) -> dict[str, Any]:
        """Sums of the running averages."""
        sums = {
            name: {field: value.clone() for field, value in sums._asdict().items()} for name, sums in self._sums.items()
        }
        return {"names": list(self._names), "extra_passes": self.extra_passes, "metrics": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first extra pass shows whether they belong to the same layers."""
        self._restored = state
