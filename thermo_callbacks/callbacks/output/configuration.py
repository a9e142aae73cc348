"""Log of a monitor's configuration, written when training starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter, is_logger, write_text
from thermo_callbacks.display.text.configuration import CONFIGURATION_FILE, CONFIGURATION_TAG, configuration_text
from thermo_callbacks.display.text.layer_groups import GROUPS_TAG, groups_text
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.optimizers import group_momentum
from thermo_callbacks.probes.parameters.stated import stated_decay, stated_rate
from thermo_callbacks.probes.told import Told


def run_configuration(trainer: Any, session: Session) -> dict[str, Any]:
    """Describe the run that a monitor finds when training starts."""
    return {
        "version": version("thermo-callbacks"),
        "watched_layers": list(dict.fromkeys(name for window in session.windows for name in window.probe.names)),
        "batch_size": None if math.isnan(session.batch_size) else round(session.batch_size),
        "micro_batches": trainer.accumulate_grad_batches,
        "processes": trainer.world_size,
        "optimizers": [_describe(optimizer) for optimizer in trainer.optimizers],
    }


def _describe(optimizer: Optimizer) -> dict[str, Any]:
    """Class of an optimizer, and what its groups start with: a number, or a list where they differ."""
    groups = optimizer.param_groups
    return {
        "class": type(optimizer).__name__,
        "learning_rate": _distinct(float(stated_rate(group)) for group in groups if group.get("lr") is not None),
        "momentum": _distinct(group_momentum(optimizer, group).momentum for group in groups),
        "second_memory": _distinct(float(group["betas"][1]) for group in groups if _has_two_memories(group)),
        "weight_decay": _distinct(stated_decay(group) for group in groups),
    }


def _has_two_memories(group: dict[str, Any]) -> bool:
    """Whether a group has the constants of Adam and its like."""
    betas = group.get("betas")
    return isinstance(betas, (tuple, list)) and len(betas) > 1 and isinstance(betas[1], (int, float))


def _distinct(values: Iterable[float]) -> float | list[float] | None:
    kept = list(dict.fromkeys(values))
    return kept[0] if len(kept) == 1 else kept or None


class ConfigurationLog:
    """Writes the configuration of a monitor where a logger keeps text: TensorBoard's texts, a file beside CSVLogger's.

    Hyperparameters are the user's own, so other loggers get nothing. A run that goes on writes
    it again: its log may be another, and its settings too.
    """

    def __init__(self, name: str, told: Told | None = None) -> None:
        # of its own: a fault here is none of the measurements
        self._guard = Guard(f"The configuration log of {name}", told=told)
        self._suffix = ""
        self._written: dict[str, Any] = {}

    def start(self, trainer: Any, session: Session, settings: dict[str, Any], place: int) -> None:
        """Write what the user chose; ``place`` is that of the monitor among those of the run, from 0."""
        if not trainer.is_global_zero:
            return
        self._suffix = f"_{place + 1}" if place else ""
        with self._guard.protect("writing it"), self._guard.invisible(trainer.strategy.root_device):
            self._write(trainer, settings | run_configuration(trainer, session))

    def add_activations(
        self, trainer: Any, types: Mapping[str, str | None], groups: Mapping[str, Sequence[str]]
    ) -> None:
        """Write the engine types of the modules too, and which are shown together, once an extra pass has told them."""
        told = {"engine_types": dict(types)} | ({"activation_groups": dict(groups)} if groups else {})
        known = {name: self._written.get(name) for name in told}
        if self._written and not self._guard.disabled and types and told != known:
            with self._guard.protect("adding activations to it"):
                self._write(trainer, {**self._written, **told})

    def add_untrained(self, trainer: Any, reasons: Mapping[str, str]) -> None:
        """Write which layers are not trained and why, once it is known, and when it changes."""
        if reasons or "untrained_layers" in self._written:
            self.add(trainer, "untrained_layers", reasons)

    def add(self, trainer: Any, name: str, facts: Mapping[str, Any]) -> None:
        """Write what was found out about the run while it went on, once it is known, and when it changes."""
        if self._written and not self._guard.disabled and dict(facts) != self._written.get(name, {}):
            with self._guard.protect("adding facts to it"):
                self._write(trainer, {**self._written, name: dict(facts)})

    @property
    def written(self) -> dict[str, Any]:
        """What was written; empty in all processes but the first, and before training starts."""
        return self._written

    def _write(self, trainer: Any, configuration: dict[str, Any]) -> None:
        self._written = configuration
        text, tag = configuration_text(configuration), CONFIGURATION_TAG + self._suffix
        step, output = logging_step(trainer), logger_output(trainer)
        groups = groups_text(*(configuration.get(f"{kind}_groups", {}) for kind in ("layer", "activation")))

        def write_texts(writers: list[PrefixedWriter]) -> None:
            write_text(writers, tag, f"```json\n{text}\n```", step)
            if groups:
                write_text(writers, GROUPS_TAG + self._suffix, groups, step)

        def write_file(logger: Any) -> bool:
            if not is_logger(logger, "CSVLogger"):
                return False
            folder = Path(logger.experiment.log_dir)  # asking for the experiment creates its folder
            if folder.is_dir():  # and not a place in some cloud, where no report is made either
                (folder / f"{CONFIGURATION_FILE}{self._suffix}.json").write_text(text, encoding="utf-8")
            return True

        output.write(trainer, step, write_texts)
        output.each(trainer, step, write_file)
