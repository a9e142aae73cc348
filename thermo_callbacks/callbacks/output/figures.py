"""Drawing of a run's figures, each by itself: one that fails takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

from thermo_callbacks.probes.guard import Guard


class Figures:
    """Draw figures; one that can't be drawn is left out from then on, with one warning."""

    def __init__(self) -> None:
        self._guard = Guard("Drawing")
        self._guards: dict[str, Guard] = {}

    def draw(self, drawings: Mapping[str, Callable[[], None]]) -> None:
        """Draw each, by what it is called."""
        if find_spec("matplotlib") is None:
            self._guard.warn_once("no figures are drawn: they take matplotlib, which is not installed here")
            return
        for name, draw in drawings.items():
            guard = self._guards.setdefault(name, Guard(f"The {name}"))
            if not guard.disabled:
                with guard.protect("drawing it"):
                    draw()
