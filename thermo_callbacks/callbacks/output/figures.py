"""Drawing of a run's figures, each by itself: one that fails takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, cast

from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter, SummaryWriterLike, tensorboard_writers
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.told import Told

Drawing = Callable[[list[PrefixedWriter]], None]
_NEEDED = {"matplotlib": "matplotlib", "PIL": "pillow"}
"""Packages that a figure in TensorBoard takes, by the name that they are imported under."""


class _Sketchbook:
    """Takes pictures in the place of a writer: what can't be drawn is told from what can't be written."""

    def __init__(self) -> None:
        self.pictures: list[tuple[str, Any, int | None, str]] = []

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, *, dataformats: str = "CHW") -> None:
        self.pictures.append((tag, img_tensor, global_step, dataformats))

    def write(self, writers: list[PrefixedWriter]) -> None:
        for writer, prefix in writers:
            for tag, pixels, step, dataformats in self.pictures:
                writer.add_image(prefix + tag, pixels, step, dataformats=dataformats)


class Figures:
    """Draw figures; one that can't be drawn is left out from then on, with one warning for all."""

    def __init__(self, told: Told | None = None) -> None:
        self._guard = Guard("Drawing", told=told)
        self._failed: set[str] = set()

    def draw(self, trainer: Any, step: int, drawings: Mapping[str, Drawing]) -> None:
        """Draw each, by what it is called, for the loggers that show pictures."""
        if not _shows_pictures(trainer):
            return
        if absent := [package for module, package in _NEEDED.items() if find_spec(module) is None]:
            missing = " and ".join(absent)
            verb = "is" if len(absent) == 1 else "are"
            self._guard.warn_once(f"no figures are drawn: they take {missing}, which {verb} not installed here")
            return
        sketchbook = _Sketchbook()
        for name, draw in drawings.items():
            if name not in self._failed:
                guard = Guard(f"The {name}", told=self._guard.told)
                with guard.protect("drawing it"):
                    draw([PrefixedWriter(cast(SummaryWriterLike, sketchbook))])
                if guard.disabled:
                    self._failed.add(name)
        if sketchbook.pictures:
            logger_output(trainer).write(trainer, step, sketchbook.write)


def _shows_pictures(trainer: Any) -> bool:
    # a logger that fails when it is asked fails again when it is written to, and is told of there
    try:
        return bool(tensorboard_writers(trainer.loggers))
    except Exception:
        return True
