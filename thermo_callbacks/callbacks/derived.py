"""What follows from an extra pass and the last window together."""

from __future__ import annotations

import math

from thermo_callbacks.catalog import Scalars


def total_laplacian_record(record: Scalars, latest: Scalars) -> Scalars:
    """Laplacian of the total free energy, when the extra pass has measured that of the complexity; else empty."""
    values = {**latest, **record}
    if "thermo/complexity_laplacian" not in record or "thermo/laplacian" not in values:
        return {}
    temperature = record["thermo/equipartition_temperature"]
    stderrs = (values["thermo/laplacian_stderr"], temperature * record["thermo/complexity_laplacian_stderr"])
    return {
        "thermo/total_laplacian": values["thermo/laplacian"] + temperature * record["thermo/complexity_laplacian"],
        "thermo/total_laplacian_stderr": math.hypot(*stderrs),
    }
