"""Arguments of a monitor, as the parts of it need them."""

from __future__ import annotations

import warnings
from typing import Any

from thermo_callbacks.callbacks.arguments import Loss, check_arguments
from thermo_callbacks.callbacks.compat import Callback
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.probes.bulk import BulkProbe


class ConfiguredCallback(Callback):
    """Callback that keeps a monitor's arguments, and has one key in a checkpoint for each choice of them."""

    # what a monitor has no argument for
    window: int = 50
    steps_between_windows: int | None = None
    sample: int | None = 4096
    layers: list[str] | None = None
    curvature_every_n_steps: int = 200
    loss_fn: Loss | None = None
    within_layers: bool = False
    activations: tuple[Any, ...] = ()
    seed: int = 0
    _bulk_probe = BulkProbe()

    def __init__(self, plan: Plan, **arguments: Any) -> None:
        super().__init__()
        check_arguments(**arguments)
        self._plan = plan
        self._arguments = tuple(arguments)
        for name, value in arguments.items():
            setattr(self, name, list(value) if name == "layers" and value is not None else value)
        # named as when the first checkpoints were written, or theirs would be passed over
        old = {"steps_between_windows": "rest"}
        settings = {old.get(name, name): getattr(self, name) for name in arguments if name != "loss_fn"}
        # Lightning asks for the key at every hook, and other packages may have classes of the same name
        self._state_key = f"thermo_callbacks.{type(self).__qualname__}{settings!r}"

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: one for each choice of arguments."""
        return self._state_key

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
    def _window_settings(self) -> dict[str, Any]:
        names = ("window", "steps_between_windows", "sample", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def _extra_pass_steps(self) -> dict[str, int]:
        every = self.curvature_every_n_steps
        return {"first": min(self.window, every), "every": every}

    def _extra_pass_settings(self, engines: dict[str, Any]) -> ExtraPassSettings:
        return ExtraPassSettings(
            name=type(self).__name__,
            seed=self.seed,
            loss_fn=self.loss_fn,
            within_layers=self.within_layers,
            activations=self.activations,
            engines=engines,
            bulk_probe=self._bulk_probe,
        )

    @property
    def _configured(self) -> dict[str, Any]:
        """What the user chose, to be written down with the run."""
        arguments = {name: getattr(self, name) for name in self._arguments}
        steps = self._extra_pass_steps if self._plan.extra_passes else None
        return {"monitor": type(self).__name__, **arguments, "extra_passes": steps}


def _warn_of_former_name() -> None:
    # three frames up: who reads or sets the property
    warnings.warn("rest is called steps_between_windows now", DeprecationWarning, stacklevel=3)
