"""Arguments of a monitor, as the parts of it need them."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

from thermo_callbacks.callbacks.arguments import Loss, check_arguments
from thermo_callbacks.callbacks.compat import Callback, steps_at_end, steps_done
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings
from thermo_callbacks.callbacks.output.copies import Copies
from thermo_callbacks.callbacks.output.publisher import Publisher
from thermo_callbacks.callbacks.planning import EVERY, WINDOW, Timetable, planned_extra_passes, planned_windows
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.bulk import BulkProbe

_NO_CHOICE = frozenset({"loss_fn", "batch_size"})
"""Arguments that tell of the run, not what to measure: the state in a checkpoint does not depend on them."""


class ConfiguredCallback(Callback):
    """Callback that keeps a monitor's arguments, and has one key in a checkpoint for each choice of them."""

    # what a monitor has no argument for
    window: int | None = None
    steps_between_windows: int | None = None
    sample: int | None = 4096
    layers: list[str] | str | None = None
    curvature_every_n_steps: int | None = None
    loss_fn: Loss | None = None
    within_layers: bool = False
    activations: tuple[Any, ...] = ()
    seed: int = 0
    batch_size: int | None = None
    _bulk_probe = BulkProbe()
    # states of a checkpoint, or of a fit that goes on
    _window_states: list[dict[str, Any]]
    _extra_pass_state: dict[str, Any]
    _publisher: Publisher

    def __init__(self, plan: Plan, **arguments: Any) -> None:
        super().__init__()
        check_arguments(**arguments)
        self._timetable = Timetable()
        self._model: weakref.ref[Any] | None = None
        self._copies, self._fitted = Copies(), False
        self._plan = plan
        self._arguments = tuple(arguments)
        for name, value in arguments.items():
            # any sequence of patterns, to be written down as a list
            patterns = name == "layers" and value is not None and not isinstance(value, str)
            setattr(self, name, list(value) if patterns else value)
        # named as when the first checkpoints were written, or theirs would be passed over
        old = {"steps_between_windows": "rest"}
        settings = {old.get(name, name): getattr(self, name) for name in arguments if name not in _NO_CHOICE}
        # ... and those of runs that had a length and a distance where none was chosen
        fixed = {"window": WINDOW, "curvature_every_n_steps": EVERY}
        former = {name: fixed.get(name) if value is None else value for name, value in settings.items()}
        self._former_state_key = f"thermo_callbacks.{type(self).__qualname__}{former!r}"
        # Lightning asks for the key at every hook, and other packages may have classes of the same name
        self._state_key = f"thermo_callbacks.{type(self).__qualname__}{settings!r}"

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: one for each choice of arguments."""
        return self._state_key

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Find this callback's state under the key that an earlier version gave it."""
        states, key = checkpoint.get("callbacks", {}), self._former_state_key
        others = [callback.state_key for callback in trainer.callbacks if callback is not self]
        if key in states and self._state_key not in states and key not in others:
            states[self._state_key] = states.pop(key)

    def latest(self) -> dict[str, float]:
        """Last value of each quantity.

        Where a library trains with a copy of this object, as some do with all callbacks that they are given, these are
        the values of the copy that began a fit last in this process.

        Returns:
            Tag to value, as in the logs; none but those of the topology before the first window has ended.
        """
        return self._copies.latest(self._publisher, fitted=self._fitted)

    def _begin_fit(self) -> None:
        self._fitted = True
        self._copies.begin_fit(self._publisher)

    def _is_another(self, pl_module: Any) -> bool:
        """Whether another model than this one was fitted last, whose heat it must not inherit."""
        # a Trainer counts on from one model to the next, so that its steps do not tell
        known, self._model = self._model, weakref.ref(pl_module)
        return known is not None and known() is not pl_module

    @property
    def rest(self) -> int | None:
        """Former name of ``steps_between_windows``."""
        _warn_of_former_name()
        return self.steps_between_windows

    @rest.setter
    def rest(self, value: int | None) -> None:
        _warn_of_former_name()
        self.steps_between_windows = value

    @property
    def _patterns(self) -> list[str] | None:
        """Patterns of the layers that are watched; None for all."""
        return None if isinstance(self.layers, str) else self.layers

    @property
    def _plans_windows(self) -> bool:
        return self._plan.windows and self.window is None and self.steps_between_windows is None

    @property
    def _plans_extra_passes(self) -> bool:
        return self._plan.extra_passes and self.curvature_every_n_steps is None

    def _steps_at_end(self, trainer: Any) -> int | None:
        """Steps that the run will have made at its end; None where that is not known, or nothing is planned by it."""
        return steps_at_end(trainer) if self._plans_windows or self._plans_extra_passes else None

    def _set_timetable(self, trainer: Any, end: int | None) -> None:
        """Set when to measure from now to the end of the run, which may not be known.

        What was chosen stands, and so does the plan of a checkpoint.
        """
        start = steps_done(trainer)
        window, windows = WINDOW if self.window is None else self.window, None
        if self._plans_windows:
            window, windows = planned_windows(self._window_states, start=start, end=end)
        if (every := self.curvature_every_n_steps) is not None:
            self._timetable = Timetable(window, self.steps_between_windows, windows, every)
            return
        every, planned = planned_extra_passes(self._extra_pass_state, start=start, end=end, first=window)
        self._timetable = Timetable(window, self.steps_between_windows, windows, every, planned)

    @property
    def _window_settings(self) -> WindowSettings:
        # without the turn of the next gradient, which extra passes measure, products of successive ones tell nothing
        pairs = self._plan.step_balance if self._plan.noise else None
        return WindowSettings(**self._timetable.of_windows, sample=self.sample, seed=self.seed, pairs=pairs)

    def _extra_pass_settings(self, publisher: Publisher, most_activations: int | None) -> ExtraPassSettings:
        return ExtraPassSettings(
            name=type(self).__name__,
            seed=self.seed,
            loss_fn=self.loss_fn,
            within_layers=self.within_layers,
            activations=self.activations,
            engines=publisher.engines,
            activation_groups=publisher.activation_groups,
            most_activations=most_activations,
            bulk_probe=self._bulk_probe,
            told=publisher.told,
        )

    @property
    def _configured(self) -> dict[str, Any]:
        """What the user chose and what was planned where nothing was chosen, to be written down with the run."""
        arguments = {name: getattr(self, name) for name in self._arguments}
        return {"monitor": type(self).__name__, **self._timetable.described(arguments, self._plan.extra_passes)}


def _warn_of_former_name() -> None:
    # three frames up: who reads or sets the property
    warnings.warn("rest is called steps_between_windows now", DeprecationWarning, stacklevel=3)
