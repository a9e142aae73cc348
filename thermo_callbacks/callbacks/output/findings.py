"""What rules find in a run while it goes on, and where that is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.display.tensorboard.writers import is_logger, write_text
from thermo_callbacks.display.text.findings import FINDINGS_TAG, console_line, console_lines, findings_text
from thermo_callbacks.findings import CAUSES, GROWTH, READS, Finding, History, diagnose
from thermo_callbacks.findings.history import VALIDATION_LOSS, is_validation_loss
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.told import LOGGER, Told

FINDINGS_FILE = "findings.json"
GENERATOR = "thermo-callbacks"
"""What a file of ours names as its maker: another one of that name is somebody else's, and stays."""
MOST_LINES = 5
"""Lines on the console when training ends, and at most three before."""
_MOST_AT_ONCE = 3


class FindingsLog:
    """Keeps what the rules read, asks them now and then, and tells what is new.

    Its guard is its own: a fault here is none of the measurements.
    """

    def __init__(self, name: str, told: Told | None = None) -> None:
        self._guard = Guard(f"The search for causes of {name}", told=told)
        self.history = History(READS)
        self.found: list[Finding] = []
        self._windows = 0
        self._next = 1.0  # windows from which on the rules are asked again
        self._told_at_once: set[str] = set()
        self._written: list[dict[str, Any]] = []

    def add(self, record: Scalars, step: int) -> None:
        """Take in what was logged at a step."""
        with self._guard.protect("keeping values"):
            self.history.add(record, step)
            self._windows += "thermo/learning_rate" in record

    def add_validation(self, trainer: Any) -> None:
        """Take in the run's own validation loss, if it logs one."""
        own = {str(tag): value for tag, value in trainer.callback_metrics.items() if is_validation_loss(str(tag))}
        if own and not self._guard.disabled:
            with self._guard.protect("keeping the validation loss"):
                self.history.add({VALIDATION_LOSS: float(next(iter(own.values())))}, logging_step(trainer))

    def look(self, trainer: Any, facts: Mapping[str, Any], *, last: bool = False) -> Scalars:
        """Ask the rules if it is time to; the number of critical findings now under its tag."""
        if self._guard.disabled:
            return {}
        with self._guard.protect("asking the rules"):
            if not (last or self._windows >= self._next):
                return self._critical()
            self._next = max(self._windows + 1.0, GROWTH * self._windows)
            self.history.facts = dict(facts)
            self.found = diagnose(self.history)
            if trainer.is_global_zero:
                self._tell_at_once()
                self._write(trainer)
                if last:
                    self._tell_at_end()
            return self._critical()
        return {}

    def _critical(self) -> Scalars:
        return {"thermo/critical_findings": float(sum(each.severity == "critical" for each in self.found))}

    def _tell_at_once(self) -> None:
        """Tell what is critical, and what was read off the run: neither will be otherwise later."""
        for each in self.found:
            grave = each.severity == "critical"
            certain = each.severity == "warning" and not CAUSES[each.cause].measured
            if (grave or certain) and each.cause not in self._told_at_once and len(self._told_at_once) < _MOST_AT_ONCE:
                self._told_at_once.add(each.cause)
                LOGGER.warning("%s", console_line(each))
            if grave:
                self._guard.told.explained()

    def _tell_at_end(self) -> None:
        # also what was told at once: a progress bar may have long covered it
        for line in console_lines(self.found, MOST_LINES):
            LOGGER.warning("%s", line)

    def _write(self, trainer: Any) -> None:
        """Write text and file where the findings are not those that were written last."""
        plain = [each.to_json() for each in self.found]
        if plain == self._written:
            return
        self._written = plain
        step, output = logging_step(trainer), logger_output(trainer)
        text = findings_text(self.found, self.history.step)
        output.write(trainer, step, lambda writers: write_text(writers, FINDINGS_TAG, text, step))
        content = json.dumps(
            {"generator": GENERATOR, "step": self.history.step, "findings": plain}, indent=2, allow_nan=False
        )

        def write_file(logger: Any) -> bool:
            return _write_file(logger, content) or _send_text(logger, text, self.found)

        output.each(trainer, step, write_file)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: plain values."""
        return {
            "history": self.history.state_dict(),
            "windows": self._windows,
            "next": self._next,
            "told_at_once": sorted(self._told_at_once),
            "found": [each.to_json() for each in self.found],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back :meth:`state_dict`; an empty state is a fresh start."""
        if state:
            self.history.load_state_dict(state["history"])
            self._windows, self._next = int(state["windows"]), float(state["next"])
            self._told_at_once = set(state["told_at_once"])
            self.found = [Finding.of_json(each) for each in state["found"]]


def _write_file(logger: Any, content: str) -> bool:
    """Write the file beside logs that lie in a folder of this machine."""
    if not (is_logger(logger, "CSVLogger") or is_logger(logger, "TensorBoardLogger")):
        return False
    folder = Path(logger.log_dir)
    target = folder / FINDINGS_FILE
    if folder.is_dir() and (not target.exists() or _is_ours(target)):
        target.write_text(content, encoding="utf-8")
    return True


def _is_ours(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text(encoding="utf-8"))["generator"] == GENERATOR)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _send_text(logger: Any, text: str, found: list[Finding]) -> bool:
    """Hand the text to a logger that keeps texts elsewhere, and raise its alarm for what is critical."""
    if is_logger(logger, "WandbLogger"):
        for each in found:
            if each.severity == "critical":
                logger.experiment.alert(title=f"thermo_callbacks: {each.cause}", text=each.line, wait_duration=3600)
        return True
    if is_logger(logger, "MLFlowLogger"):
        logger.experiment.log_text(logger.run_id, text, "thermo_findings.md")
        return True
    return False
