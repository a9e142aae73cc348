"""The optimizers of a fit and their windows, one for each device that an optimizer trains layers on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

from thermo_callbacks.callbacks.compat import expects_clipping, has_gradient_scaler, steps_done
from thermo_callbacks.callbacks.planning import WindowPlan
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.trained_layers import trained_layers
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups


class MonitoredOptimizers:
    """Optimizers that can be watched, and their windows; without ``settings`` steps are only noticed."""

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        *,
        guard: Guard,
        patterns: Sequence[str] | None,
        settings: WindowSettings | None,
        groups: LayerGroups = EACH_BY_ITSELF,
    ) -> None:
        self._trainer, self._module, self._guard = trainer, pl_module, guard
        self._patterns, self._groups, self._settings = patterns, groups, settings
        self._sharded = False
        self.all: list[OptimizerWindow] = []
        self._by_optimizer: dict[int, list[OptimizerWindow]] = {}

    def __contains__(self, optimizer: object) -> bool:
        return id(optimizer) in self._by_optimizer

    def add(self, optimizer: Optimizer, *, sharded: bool) -> None:
        """Watch an optimizer, if it has the hook that this takes."""
        if not hasattr(optimizer, "register_step_post_hook"):
            self._guard.warn_once(
                f"{self._guard.name} can't watch {type(optimizer).__name__}: it has no register_step_post_hook, which "
                "all optimizers derived from torch.optim.Optimizer have"
            )
            return
        self._sharded = sharded
        self._by_optimizer[id(optimizer)] = []
        self.refresh(optimizer)

    @property
    def watches_windows(self) -> bool:
        """Whether there are windows to be watched, and not only steps to be noticed."""
        return self._settings is not None

    def of(self, optimizer: Optimizer) -> list[OptimizerWindow]:
        """Windows of an optimizer that was added; none if it trains no layer that is watched."""
        return self._by_optimizer[id(optimizer)]

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Layers that are trained now, under the names that their values are logged under."""
        layers: dict[str, list[nn.Parameter]] = {}
        for optimizer in self._trainer.optimizers:
            layers |= self._layers_of(optimizer)
        return layers

    def _layers_of(self, optimizer: Optimizer) -> dict[str, list[nn.Parameter]]:
        return trained_layers(self._module, self._trainer.optimizers, optimizer, self._patterns, self._groups)

    def _clips(self, optimizer: Optimizer) -> bool | None:
        """Whether an optimizer's gradients are expected to be clipped; None where that can't be seen."""
        # LBFGS leaves the gradient of another evaluation behind; fused ones divide by the loss scale while they step
        scaled = has_gradient_scaler(self._trainer) and getattr(optimizer, "_step_supports_amp_scaling", False)
        hidden = scaled or isinstance(optimizer, LBFGS) or any(map(_adds_momentum, optimizer.param_groups))
        return None if hidden else expects_clipping(self._trainer, self._module)

    def refresh(self, optimizer: Optimizer) -> None:
        """Watch the layers that the optimizer trains now: groups appear and parameters thaw during training."""
        if self._settings is None:
            return
        by_device: dict[torch.device, dict[str, list[nn.Parameter]]] = {}
        for label, owned in self._layers_of(optimizer).items():
            for parameter in owned:
                by_device.setdefault(parameter.device, {}).setdefault(label, []).append(parameter)
        current = self.of(optimizer)
        known = {window.probe.device: window for window in current}
        for device, layers in by_device.items():
            window = known.get(device)
            if window is None:
                each = self._settings.sample
                settings = replace(
                    self._settings,
                    sample=each if callable(each) else self._groups.sample(each),
                    plan=self._plan_from_now(),
                    sharded=self._sharded,
                    clips=self._clips(optimizer),
                )
                window = OptimizerWindow(optimizer, layers, settings)
                current.append(window)
                self.all.append(window)
            elif window.probe.signature != tuple(id(parameter) for owned in layers.values() for parameter in owned):
                window.rebuild(layers)

    def _plan_from_now(self) -> WindowPlan | None:
        """Plan for a window that begins now: layers may thaw when much of the run has gone."""
        plan = None if self._settings is None else self._settings.plan
        return plan and plan.rest(steps_done(self._trainer))


def _adds_momentum(group: dict[str, Any]) -> bool:
    """Whether a step adds its momentum to the gradient in place, as Nesterov's does with several tensors at a time."""
    together = group.get("foreach")
    on_device = any(parameter.is_cuda for parameter in group["params"])
    return bool(group.get("nesterov")) and bool(on_device if together is None else together)
