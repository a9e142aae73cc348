"""What is logged of a window's entropy balance in the directions that it resolves."""

from __future__ import annotations

import math
from collections.abc import Callable

from thermo_callbacks.callbacks.windows.projections import WindowBalance
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.second_law import second_law


def balance_record(found: WindowBalance, latest: Scalars, warn_once: Callable[[str, str], None]) -> Scalars:
    """Production, rate and second law of the resolved directions, and their share of the whole destruction."""
    (production, destruction), (production_stderr, destruction_stderr) = found.balance.total(found.destruction_stderr)
    if found.reason:
        warn_once("resolved balance", f"no value (NaN) for thermo/entropy_production in a window: {found.reason}.")
    law = second_law(
        production, destruction, production_stderr=production_stderr, destruction_stderr=destruction_stderr
    )
    record = {
        "thermo/entropy_production": float(production),
        "thermo/entropy_production_stderr": float(production_stderr),
        "thermo/entropy_rate": float(law.rate),
        "thermo/entropy_rate_stderr": float(law.stderr),
        "thermo/second_law": float(law.flag),
        "thermo/second_law_score": float(law.z),
    }
    return record | _share(found, latest, warn_once)


def _share(found: WindowBalance, latest: Scalars, warn_once: Callable[[str, str], None]) -> Scalars:
    """Destruction along the resolved directions over the whole, both of the last extra pass."""
    whole, error = (latest.get(f"thermo/entropy_destruction{end}", math.nan) for end in ("", "_stderr"))
    if not whole > 0.0:
        warn_once(
            "resolved share",
            "no value (NaN) for thermo/resolved_share in a window: the destruction of all directions together is "
            f"{whole:.3g}, of which there is no share.",
        )
        return {"thermo/resolved_share": math.nan, "thermo/resolved_share_stderr": math.nan}
    chosen = found.balance.resolved
    share = float(found.at_pass[chosen].sum()) / whole
    # errors of the curvatures are of one batch and add up; nothing resolved is nothing for sure
    relative = float(found.destruction_stderr[chosen].sum() / found.balance.destruction[chosen].sum()) if share else 0.0
    stderr = share * math.hypot(relative, error / whole)
    return {"thermo/resolved_share": share, "thermo/resolved_share_stderr": stderr}
