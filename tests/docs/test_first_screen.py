"""What README and front page show first: the line of a planted fault as it is printed, and what ends such a run."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from faults import CASES
from faults.record import fit
from lightning.pytorch.callbacks import EarlyStopping

from thermo_callbacks import ThermoMonitor

# the weights of a layer that gets no gradient have no drift, as the monitor says
pytestmark = pytest.mark.filterwarnings("ignore:no value \\(NaN\\)")

ROOT = Path(__file__).parents[2]
SHOWN = {"README.md": "docs/images/finding.png", "docs/index.md": "images/finding.png"}
STOPPING = re.compile(r"`(EarlyStopping\(\"thermo/critical_findings\".*?\))`", re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def train(name: str, *callbacks: pl.Callback) -> tuple[ThermoMonitor, int, int]:
    """The monitor of a run, the steps it took, and those it was to take."""
    run, monitor = CASES[name].make(0), ThermoMonitor()
    run.settings["val_check_interval"] = 5  # the first time before the first window
    fit(run, [monitor, *callbacks])
    return monitor, run.module.global_step, run.settings["max_steps"]


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """Lines on the console while the planted fault trains."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, handler = logging.getLogger("thermo_callbacks"), Lines(logging.WARNING)
    log.addHandler(handler)
    try:
        train("dead_relus")
    finally:
        log.removeHandler(handler)
    return lines


@pytest.mark.parametrize("page", SHOWN)
def test_the_finding_stands_there_as_it_is_printed(page: str, printed: list[str]) -> None:
    (shown,) = re.findall(r"^> (.+)$", text_of(page), re.MULTILINE)
    assert shown == printed[0]
    step = re.search(r"At step (\d+) of (\d+)", text_of(page))
    assert step is not None
    assert f"up to step {step[1]}." in shown
    assert CASES["dead_relus"].make(0).settings["max_steps"] == int(step[2])  # type: ignore[attr-defined]
    assert f"({SHOWN[page]})" in text_of(page)


@pytest.mark.parametrize("page", ["README.md", "docs/findings.md", "docs/tutorial.md"])
@pytest.mark.parametrize(("name", "lost"), [("dead_relus", True), ("sgd", False)])
def test_what_ends_a_run_that_is_lost_ends_no_other(page: str, name: str, lost: bool) -> None:
    (call,) = STOPPING.findall(text_of(page))
    stopping: Any = eval(call, {"EarlyStopping": EarlyStopping})
    monitor, steps, planned = train(name, stopping)
    assert bool(monitor.findings()) == lost
    assert (steps < planned / 2) == lost
    assert lost or steps == planned
