"""What is logged when windows end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thermo_callbacks.callbacks.arguments import MINIMUM_STEPS
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.callbacks.windows.divergence import has_grown
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.records import (
    clipping_record,
    energy_record,
    free_energy_record,
    window_record,
)
from thermo_callbacks.callbacks.windows.resolved import balance_record
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.probes.parameters.transition import TypeOneTransition


def close_windows(
    plan: Plan,
    session: Session,
    complete: Sequence[OptimizerWindow],
    *,
    transition: TypeOneTransition,
    latest: Scalars,
    warn_once: Callable[[str, str], None],
) -> Scalars:
    """End the windows that are complete, and compute what the plan says is to be logged of them."""
    losses = complete[0].losses() if len(session.windows) == 1 else None
    if any(has_grown(window.balance.first_energy, window.losses()) for window in complete):
        session.guard.tell_divergence()
    complete = session.close(complete)
    last = [closed for window in session.windows if (closed := window.closed()) is not None]
    fresh = {name for window in complete for name in window.probe.names}
    record = window_record(plan.tags | plan.families, last, fresh, session.guard)
    if plan.clipping:
        record |= clipping_record([window.clipping for window in session.windows], session.guard)
    balances = [window.balance for window in session.windows]
    if plan.heat:
        record |= energy_record(balances, fresh)
        record["thermo/skipped_steps"] = float(sum(window.skipped for window in session.windows))
    if plan.sharpness:
        for window in complete:
            if window.resolved is not None:
                record |= balance_record(window.resolved, latest, warn_once)
    if plan.transition:
        heat = {name: value for balance in balances for name, value in balance.heat.items()}
        record |= transition.close_window(
            session.layers(),
            losses=losses,
            heat=heat,
            warn_once=warn_once,
            by_layer="thermo_transition_temperature" in plan.families,
        )
    if plan.free_energy:
        record |= free_energy_record(record, balances)
    return plan.keep(record)


def open_windows(plan: Plan, session: Session, *, known: bool) -> Scalars:
    """What the open windows say so far, where no value of any window is known yet; they go on."""
    if not session.first_window_open(known) or not (windows := session.with_steps(MINIMUM_STEPS)):
        return {}
    peeks = [window.opened() for window in windows]
    names = {name for peek in peeks for name in peek.names}
    return window_record(plan.tags | plan.families, peeks, names, session.guard)
