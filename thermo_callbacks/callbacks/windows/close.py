"""What is logged when windows end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWatch
from thermo_callbacks.callbacks.windows.records import Record, Recorder, energy_record, free_energy_record
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.probes.parameters.transition import TypeOneTransition


def close_windows(
    plan: Plan,
    session: Session,
    complete: Sequence[OptimizerWatch],
    recorder: Recorder,
    *,
    transition: TypeOneTransition,
    say: Callable[[str, str], None],
) -> Record:
    """End windows, and compute what is to be logged.

    Args:
        plan: What is measured.
        session: The session of the fit.
        complete: Watches whose window ends.
        recorder: Computes the quantities of the windows.
        transition: Knows the state that training began in.
        say: Warns of a topic, once.

    Returns:
        Tag to value.
    """
    losses = complete[0].losses() if len(session.watches) == 1 else None
    for watch in complete:
        watch.close(session.batch_size)
    windows = [(watch.probe.names, watch.last) for watch in session.watches if watch.last is not None]
    fresh = {name for watch in complete for name in watch.probe.names}
    record = recorder.record(windows, fresh, say)
    ledgers = [watch.ledger for watch in session.watches]
    if plan.heat:
        record |= energy_record(ledgers, fresh)
        record["thermo/skipped_steps"] = float(sum(watch.skipped for watch in session.watches))
    if plan.transition:
        heat = {name: value for ledger in ledgers for name, value in ledger.heat.items()}
        record |= transition.close_window(session.layers(), losses=losses, heat=heat, say=say)
    if plan.free_energy:
        record |= free_energy_record(record, ledgers)
    return record
