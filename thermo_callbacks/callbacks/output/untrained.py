"""The layers that are not trained: since when, and their table among TensorBoard's texts."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.catalog.untrained import FORGOTTEN
from thermo_callbacks.display.tensorboard.writers import write_text
from thermo_callbacks.display.text.untrained import UNTRAINED_TAG, UntrainedRow, untrained_text
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.untrained import Training, find_untrained


class UntrainedLog:
    """Follows which parameters are not trained, and writes it down when that changes."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # label and reason to the first step of the window that showed it
        self._written: list[str] | None = None

    def look(self, session: Session, patterns: Any, guard: Guard, steps: int) -> dict[str, float]:
        """Look at the model after a window of ``steps``; the share of its weights that are not trained."""
        trainer = session.trainer
        found = find_untrained(session.pl_module, trainer.optimizers, patterns, session.untrained())
        # frozen is what users freeze; but whoever requires a gradient wants to be trained
        if forgotten := [each.label for each in found.untrained if each.reason == FORGOTTEN]:
            more = f" and {len(forgotten) - 3} more" if len(forgotten) > 3 else ""
            guard.warn_once(
                f"parameters require a gradient and are in no optimizer: {', '.join(forgotten[:3])}{more}. They are "
                "not trained: give them to an optimizer, or set requires_grad to False.",
                topic="in no optimizer",
            )
        self._follow(trainer, found, steps)
        return {"thermo/untrained_share": found.untrained_share}

    def _follow(self, trainer: Any, found: Training, steps: int) -> None:
        step = logging_step(trainer)
        keys = [f"{each.label}: {each.reason}" for each in found.untrained]
        first = 0 if self._written is None and not self._since else max(0, step - steps + 1)
        self._since = {key: self._since.get(key, first) for key in keys}
        if keys != self._written:
            rows = [
                UntrainedRow(each.label, each.size, each.reason, self._since[key])
                for each, key in zip(found.untrained, keys, strict=True)
            ]
            text = untrained_text(rows, found.size)
            logger_output(trainer).write(trainer, step, lambda writers: write_text(writers, UNTRAINED_TAG, text, step))
            self._written = keys

    @property
    def reasons(self) -> dict[str, str]:
        """Label of each layer that is not trained to the reason, for the configuration of the run."""
        pairs = (key.rpartition(": ") for key in self._since)
        return {label: reason for label, _, reason in pairs}

    def state_dict(self) -> dict[str, int]:
        """State for a checkpoint."""
        return dict(self._since)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Take back :meth:`state_dict`."""
        self._since = dict(state)
