"""What follows from an extra pass and the last window together."""

from __future__ import annotations

import math

import torch

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.second_law import second_law


def balance_record(record: Scalars, latest: Scalars) -> Scalars:
    """Balance of entropy, when the extra pass has measured its destruction and a window its production; else empty."""
    sides = []
    for name, values in (("production", latest), ("destruction", record)):
        tag = f"thermo/entropy_{name}"
        if tag not in values:
            return {}
        sides.append(torch.tensor([values[tag], values[f"{tag}_stderr"]], dtype=torch.float64))
    (production, production_stderr), (destruction, destruction_stderr) = sides
    balance = second_law(
        production,
        destruction,
        production_stderr=production_stderr,
        destruction_stderr=destruction_stderr,
        resolution=latest["thermo/entropy_production_floor"],
    )
    return {
        "thermo/entropy_rate": float(balance.rate),
        "thermo/entropy_rate_stderr": float(balance.stderr),
        "thermo/second_law": float(balance.flag),
        "thermo/second_law_score": float(balance.z),
    }


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
