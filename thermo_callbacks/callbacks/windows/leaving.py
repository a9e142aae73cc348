"""A monitor that another callback takes out of the Trainer in mid-run, which no hook of Lightning tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook


class Place:
    """The place of a callback among those of the Trainer; one that another callback calls has none to lose."""

    def __init__(self, callback: object, trainer: Any, end: Callable[[], None]) -> None:
        self._callback, self._trainer, self._end = callback, trainer, end
        self._had = self._has
        self._leaving = False

    @property
    def _has(self) -> bool:
        return any(each is self._callback for each in self._trainer.callbacks)

    def kept(self) -> bool:
        """Whether the callback is still there, asked while an optimizer calls its hooks; if not, all of it ends."""
        if self._leaving or (self._had and not self._has):
            self._leave()
        return not self._leaving

    def _leave(self) -> None:
        """End as soon as the optimizer has called all hooks of its own: none may be taken away while it goes on."""
        if self._leaving:
            return
        self._leaving = True

        def last(*_: Any) -> None:
            self._end()
            handle.remove()

        # the hooks of all optimizers come after those of the one that steps, and the newest of them last
        handle = register_optimizer_step_post_hook(last)
