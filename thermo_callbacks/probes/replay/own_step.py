"""What a training step changes that can be neither copied nor put back, seen at a step that training makes anyway."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from thermo_callbacks.probes.replay.outside import heard_outside
from thermo_callbacks.probes.sharding import is_sharded

Looks = list[tuple[str, Callable[[], Any]]]
_NAME = "training_step"


class OwnStep:
    """Compares before and after one training step of the run, so that nothing has to be repeated to find out.

    Args:
        pl_module: The module.
        find: Finds what to look at: each with what it means if it has changed. Nobody looks at sharded modules so,
            whose state is not copied. There it is heard whether the step writes files or the like: one process may do
            so alone, and one that refused it in a replay would leave the others waiting in the passes of the module.

    Attributes:
        fault: What the step was seen to do that a replay can't undo; empty as long as there is nothing.
    """

    def __init__(self, pl_module: nn.Module, find: Callable[[], Looks]) -> None:
        self._module, self._find = pl_module, find
        self._state = "new"
        self._former: Any = None
        self.fault = ""

    def watch(self) -> None:
        """Have the next training step watched, once."""
        # by an attribute of the object, for as long as the step has not begun: a hook at the start of the batch would
        # be too early, since the module's own comes after it
        if self._state == "new" and hasattr(self._module, _NAME):
            self._state = "waiting"
            step = getattr(self._module, _NAME)
            self._former = vars(self._module).get(_NAME)
            vars(self._module)[_NAME] = functools.wraps(step)(functools.partial(self._run, step))

    def end(self) -> None:
        """Watch no longer, and have the module as it was."""
        if self._state == "waiting":
            self._state = "over"
            del vars(self._module)[_NAME]
            if self._former is not None:
                vars(self._module)[_NAME] = self._former

    def _run(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.end()
        if is_sharded(self._module):
            return self._heard(step, *args, **kwargs)
        before = self._seen()
        outcome = step(*args, **kwargs)
        self._compare(before)
        return outcome

    def _heard(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        heard: list[str] = []
        with heard_outside(heard.append):
            outcome = step(*args, **kwargs)
        self.fault = "; ".join(dict.fromkeys(heard))
        return outcome

    def _seen(self) -> list[tuple[str, Callable[[], Any], Any]]:
        try:
            return [(meaning, look, look()) for meaning, look in self._find()]
        except Exception as fault:  # the run's own step goes on whatever it was
            self.fault = str(fault)
            return []

    def _compare(self, before: list[tuple[str, Callable[[], Any], Any]]) -> None:
        try:
            changed = [meaning for meaning, look, old in before if look() != old]
        except Exception as fault:
            changed = [f"what it has changed can't be told ({type(fault).__name__}: {fault})"]
        self.fault = "; ".join(dict.fromkeys([*filter(None, [self.fault]), *changed]))
