"""Batch normalisation that normalises with what it has never measured: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History


def _find(run: History) -> Sign | None:
    names = tuple(run.inspected.get("uncalibrated_norms", ()))
    if not names:
        return None
    return Sign(
        f"{len(names)} batch normalisation{'s are' if len(names) > 1 else ' is'} in eval mode, and has seen no batch: "
        "mean 0 and variance 1 stand for those of the data.",
        {},
        layers=names,
    )


CAUSE = Cause(
    name="batch norm in eval mode",
    rule=_find,
    reads=(),
    seen="It trains as if there were no normalisation at all.",
    means="Layers normalise with statistics that were never measured, so they do not normalise at all.",
    sign="A batch normalisation is not in training mode, and its count of batches is zero. One with statistics of an "
    "earlier training is no finding.",
    advice="Call train() on it, or load the statistics that belong to its weights.",
    mistaken="Weights loaded without the count of batches.",
    explains=("rate too high", "rate too low", "exploding signal", "vanishing signal", "wrong labels", "dead units"),
)
