"""Ordinary runs have no warning from a monitor (here it would be an error), and no value that is never there."""

from __future__ import annotations

import math

import pytest
from integration.models import RecordingLogger
from integration.ordinary_runs import RUNS

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.catalog import quantity_of

SLOW = {"Entropy production", "Entropy rate", "Second law"}
"""No direction relaxes five times within 8 steps, the windows of so short a run: there is no balance to be drawn."""
NO_CHAIN = {"Trace of the Hessian of the total free energy"}
"""The complexity of networks that are no chain of layers has no Laplacian here."""
SEVERAL = {"Rugh temperature", "Stability margin"}
"""Each of several optimizers has an edge of its own, and the step that the Rugh temperature takes is none of one."""
NEVER_THERE = {
    "SGD": SLOW,
    "momentum": SLOW,
    "Adam": SLOW,
    "AdamW with warm-up": SLOW,
    "convolutions with batch norm": SLOW | NO_CHAIN,
    "transformer": SLOW | NO_CHAIN,
    "LSTM": NO_CHAIN,
    "accumulation": SLOW,
    "GAN by hand": SEVERAL,
    "bf16": SLOW,
}


def never_there(logger: RecordingLogger) -> set[str]:
    """Tags that were logged, and had no value at any time."""
    values: dict[str, list[float]] = {}
    for _, row in logger.thermo_rows:
        for tag, value in row.items():
            values.setdefault(tag, []).append(value)
    return {tag for tag, column in values.items() if all(map(math.isnan, column))}


@pytest.mark.parametrize("name", RUNS)
def test_no_warning_and_all_values(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = RecordingLogger()
    with caplog.at_level("INFO", "thermo_callbacks"):
        RUNS[name].fit([ThermoMonitor("full", **RUNS[name].monitor)], logger)
    assert len(logger.thermo_rows) > 10
    missing = {quantity_of(tag).name for tag in never_there(logger)}
    assert missing <= NEVER_THERE[name]
    # nothing is silent: what is not there is explained in the log
    assert all(WORDS[each] in caplog.text for each in missing)


WORDS = {
    **dict.fromkeys(SLOW, "for thermo/entropy_production in a window: "),
    **dict.fromkeys(NO_CHAIN, "No Laplacian of complexity (NaN):"),
    "Rugh temperature": "for thermo/rugh_temperature at an extra pass: ",
    "Stability margin": "for thermo/stability_margin: several optimizers step",
}
"""What the log says of each."""
