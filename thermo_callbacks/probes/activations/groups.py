"""Values of activations that are shown as one: each ratio from the sums over the members of what it is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from thermo_callbacks.functional.activations.efficiency import implied_init_gain
from thermo_callbacks.probes.activations.records import ActivationRecord


def pooled_values(members: Sequence[ActivationRecord]) -> dict[str, float]:
    """Values of one activation or a group, by the names of a record's fields; NaN if no member has one."""
    if len(members) == 1:
        (only,) = members
        return {name: getattr(only, name) for name in (*only.ratios, "implied_gain")}
    values = {name: _pooled(members, name) for name in members[0].ratios}
    values["carnot_bound"] = 1.0 - values["carnot_bound"]
    gain = implied_init_gain(torch.tensor(values["work_efficiency"], dtype=torch.float64))
    return values | {"implied_gain": float(gain)}


def common_engine(members: Sequence[ActivationRecord]) -> str | None:
    """Type of engine of all members; None if they differ."""
    engines = {member.engine for member in members}
    return engines.pop() if len(engines) == 1 else None


def _pooled(members: Sequence[ActivationRecord], name: str) -> float:
    parts = [member.ratios[name] for member in members if not math.isnan(getattr(member, name))]
    below = math.fsum(bottom for _, bottom in parts)
    return math.fsum(top for top, _ in parts) / below if below else math.nan
