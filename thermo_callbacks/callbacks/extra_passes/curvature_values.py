"""Values of the curvature that are recorded of an extra pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.curvature.averages import RughSums, rugh_sums

COLUMNS = ("traces", "trace_variances", "mobility_traces", "mobility_variances", "gradient_products")
"""What an extra pass finds for each layer: fields of a curvature sample."""
_OF_A_PASS = {"laplacian": ("laplacian", 0), "destruction": ("entropy_destruction", 2)}
_REASONS = {
    "laplacian": "the curvature of some layer is not finite",
    "destruction": "it needs the displacement per unit of gradient, which this optimizer does not tell (Nesterov's "
    "look-ahead, or a preconditioner that its state does not show)",
    "rugh": "it needs a trace of the Hessian above zero, and one optimizer that steps once a batch",
}
FORGETTING = 3
"""Power of its number that an extra pass weighs with in the sums of the Rugh temperature: the last fifth of a run
weighs half, and the error still falls as one over the root of the number of extra passes."""


class CurvatureValues:
    """Laplacian and entropy destruction of the last extra pass, and the Rugh temperature of all, as ``wanted``.

    The Rugh temperature is a ratio whose parts come from one product of two gradients each pass, which scatters far too
    widely to be divided by itself: it is one of sums over passes. The others are those of one pass, and don't lag.
    """

    def __init__(self, wanted: Collection[str], warn_once: Callable[[str, str], None]) -> None:
        self._wanted, self._warn_once = wanted, warn_once
        self.extra_passes = 0
        self._names: tuple[str, ...] = ()
        self._columns = torch.empty(0)
        self._degrees_of_freedom = math.nan
        self._rugh: RughSums
        self._restored: dict[str, Any] | None = None

    def start(self, names: tuple[str, ...]) -> None:
        """Start afresh if the layers are others, and with the sums of a checkpoint if they belong to these."""
        if self._names == names:
            return
        self._names, self.extra_passes = names, 0
        restored: dict[str, Any] = {}
        if self._restored is not None and self._restored["names"] == list(names):
            self.extra_passes, restored = self._restored["extra_passes"], self._restored["metrics"].get("rugh", {})
        empty = torch.zeros(len(names) + 1, dtype=torch.float64)
        self._rugh = RughSums(**{field: restored.get(field, empty).clone() for field in RughSums._fields})
        self._restored = None

    def add(self, columns: Tensor, degrees_of_freedom: float) -> None:
        """Take what an extra pass has found, ``[columns, L + 1]``, the last of all layers together."""
        self._columns, self._degrees_of_freedom = columns, degrees_of_freedom
        if "rugh" in self._wanted:
            found = dict(zip(COLUMNS, columns[:, :-1], strict=True))
            sums = rugh_sums(found["gradient_products"], found["traces"], float(self.extra_passes**FORGETTING))
            self._rugh = RughSums(*map(torch.add, self._rugh, sums))

    def record(self, rate: float) -> Scalars:
        """Values with their standard errors; ``rate`` is the largest learning rate now."""
        record: Scalars = {}
        for name, (tag, place) in _OF_A_PASS.items():
            if name in self._wanted:
                factor = rate if name == "destruction" else 1.0
                values, variances = self._columns[place], self._columns[place + 1]
                record |= self._of_pass(name, tag, factor * values, factor * variances.sqrt())
        if "rugh" in self._wanted:
            ratio = self._rugh.estimate()
            value = float(ratio.value[-1])
            record |= {"thermo/rugh_temperature": value, "thermo/rugh_temperature_stderr": float(ratio.stderr[-1])}
            self._explain("rugh", "rugh_temperature", value)
        return record

    def _of_pass(self, name: str, tag: str, values: Tensor, errors: Tensor) -> Scalars:
        whole, error = float(values[-1]), float(errors[-1])
        record: Scalars = {f"thermo/{tag}": whole, f"thermo/{tag}_stderr": error}
        record |= zip((f"thermo_{tag}/{layer}" for layer in self._names), values.tolist(), strict=False)
        if name == "laplacian":
            freedom = torch.tensor(self._degrees_of_freedom, dtype=torch.float64)
            lower, upper = Estimate(values[-1], errors[-1], freedom).interval(0.95)
            record |= {"thermo/laplacian_lower": float(lower), "thermo/laplacian_upper": float(upper)}
            record |= zip((f"thermo_laplacian_stderr/{layer}" for layer in self._names), errors.tolist(), strict=False)
        self._explain(name, tag, whole)
        return record

    def _explain(self, name: str, tag: str, value: float) -> None:
        if math.isnan(value):
            self._warn_once(f"thermo/{tag}", f"no value (NaN) for thermo/{tag} at an extra pass: {_REASONS[name]}.")

    def state_dict(self) -> dict[str, Any]:
        """Sums of the Rugh temperature; the rest is of one pass."""
        if self._restored is not None:  # no extra pass since
            return self._restored
        sums = {field: value.clone() for field, value in self._rugh._asdict().items()} if self._names else {}
        return {"names": list(self._names), "extra_passes": self.extra_passes, "metrics": {"rugh": sums}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the sums until the first extra pass shows whether they belong to the same layers."""
        # earlier versions have sums of the other two there as well, for averages over passes
        self._restored = state
