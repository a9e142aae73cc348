"""The optimizers of a fit and their windows, one for each device that an optimizer trains layers on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer

from thermo_callbacks.callbacks.compat import expects_clipping, has_gradient_scaler, steps_done
from thermo_callbacks.callbacks.planning import WindowPlan
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.step_following import PATIENCE
from thermo_callbacks.callbacks.windows.trained_layers import TurnsOfTraining, trained_layers
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups
from thermo_callbacks.probes.parameters.selection import unreadable
from thermo_callbacks.probes.parameters.stated import parameters_of

_SHOWN = 5  # names in a message


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
        self._lost = 0  # open windows that were lost by an exchange of optimizers, since one has ended
        self._refused: dict[int, nn.Parameter] = {}  # those that can't be watched
        self._turns = TurnsOfTraining()

    def start(self, *, sharded: bool) -> None:
        """Watch the optimizers of the run, those that can be."""
        self._sharded = sharded
        self._refuse()
        faults: list[tuple[Optimizer, Exception]] = []
        for optimizer in self._trainer.optimizers:
            self._by_optimizer[id(optimizer)] = []
            try:
                self.refresh(optimizer)
            except Exception as fault:
                faults.append((optimizer, fault))
        if faults and (not self.all or sharded):
            raise faults[0][1]
        for optimizer, reason in faults:
            layers = self._layers_of(optimizer)
            self._refused |= {id(parameter): parameter for owned in layers.values() for parameter in owned}
            self._say_left_out(optimizer, list(layers), "looking at the model", reason)

    def _refuse(self) -> None:
        """Leave out the layers that can't be read."""
        layers = self.layers()
        self._refused = unreadable(parameter for owned in layers.values() for parameter in owned)
        if self._refused:
            names = [name for name, owned in layers.items() if self._refused.keys() & set(map(id, owned))]
            kinds = sorted({f"{str(each.layout)[6:]} {type(each.data).__name__}" for each in self._refused.values()})
            self._guard.leave_out(_listed(names), f"parameters that can't be read ({', '.join(kinds)})")

    def exchange(self, gone: Sequence[Optimizer], new: Sequence[Optimizer]) -> None:
        """Others have taken the place of some optimizers."""
        # a window goes over to the optimizer that trains most of its parameters, and keeps the heat so far
        free = [window for optimizer in gone for window in self._by_optimizer.pop(id(optimizer), [])]
        self._lost += any(window.taken for window in free)
        for optimizer in new:
            own = set(map(id, parameters_of(optimizer)))
            self._by_optimizer[id(optimizer)] = heirs = []
            for device, layers in self._by_device(optimizer).items():
                here = [window for window in free if window.probe.device == device]
                shared = [len(own.intersection(window.probe.signature)) for window in here]
                if any(shared):
                    window = here[shared.index(max(shared))]
                    window.hand_over(optimizer, layers)
                    free.remove(window)
                    heirs.append(window)
            self.refresh(optimizer)
        for window in free:  # its heat is a part of the run's
            window.retire()
        if self._lost == PATIENCE:
            self._guard.warn_once(
                f"{self._guard.name} sees other optimizers before a window has ended, again and again: a window of "
                "which the optimizer is exchanged begins afresh. Keep an optimizer for longer, or choose a smaller "
                "window",
            )

    def close(self, windows: Sequence[OptimizerWindow]) -> list[OptimizerWindow]:
        """End windows; those that could be."""
        self._lost = 0
        ended = []
        for window in windows:
            try:
                window.close()
                ended.append(window)
            except Exception as fault:
                self.leave_out(window, "ending its window", fault)
        return ended

    def leave_out(self, window: OptimizerWindow, where: str, fault: Exception) -> None:
        """Watch a window's layers no longer, or those of them that can't be read; raise if nothing would be left."""
        # several processes have to watch the same layers
        if isinstance(fault, Warning) or self._trainer.world_size > 1 or self._sharded:
            raise fault
        optimizer = window.optimizer
        parameters = {id(parameter): parameter for parameter in window.probe.parameters}
        bad, names = unreadable(parameters.values()), window.probe.names
        if bad and len(bad) < len(parameters):
            self._refused |= bad
            self.refresh(optimizer)
        elif len(self.all) > 1:
            self._refused |= parameters
            self.all.remove(window)
            self.of(optimizer).remove(window)
        else:
            raise fault
        left = self.layers()
        self._say_left_out(optimizer, [name for name in names if name not in left], where, fault)

    def _say_left_out(self, optimizer: Optimizer, layers: Sequence[str], where: str, fault: Exception) -> None:
        names = f" ({_listed(layers)})" if layers else ""
        reason = f"{type(fault).__name__} while {where}: {fault}"
        self._guard.leave_out(f"{type(optimizer).__name__}{names}", reason, fault)

    @property
    def watches_windows(self) -> bool:
        """Whether there are windows to be watched, and not only steps to be noticed."""
        return self._settings is not None

    def of(self, optimizer: Optimizer) -> list[OptimizerWindow]:
        """Windows of an optimizer that was added; none if it trains no layer that is watched."""
        return self._by_optimizer.get(id(optimizer), [])

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Layers that are trained now, under the names that their values are logged under."""
        layers: dict[str, list[nn.Parameter]] = {}
        for optimizer in self._trainer.optimizers:
            layers |= self._layers_of(optimizer)
        return layers

    def _layers_of(self, optimizer: Optimizer, besides: Collection[int] = ()) -> dict[str, list[nn.Parameter]]:
        every = self._trainer.optimizers
        layers = trained_layers(self._module, every, optimizer, self._patterns, self._groups, besides=besides)
        if not self._refused:
            return layers
        able = {name: [each for each in owned if id(each) not in self._refused] for name, owned in layers.items()}
        return {name: owned for name, owned in able.items() if owned}

    def _clips(self, optimizer: Optimizer) -> bool | None:
        """Whether an optimizer's gradients are expected to be clipped; None where that can't be seen."""
        # LBFGS leaves the gradient of another evaluation behind; fused ones divide by the loss scale while they step
        scaled = has_gradient_scaler(self._trainer) and getattr(optimizer, "_step_supports_amp_scaling", False)
        hidden = scaled or isinstance(optimizer, LBFGS) or any(map(_adds_momentum, optimizer.param_groups))
        return None if hidden else expects_clipping(self._trainer, self._module)

    def prepare(self, optimizer: Optimizer, window: OptimizerWindow) -> None:
        """A step is about to be read: a window begins with the layers that are trained then."""
        if not window.taken:
            self.refresh(optimizer)
        elif window.last is None:  # in the first window, which shows whether layers take turns
            self._turns.look(optimizer)

    def refresh(self, optimizer: Optimizer) -> None:
        """Watch the layers that the optimizer trains now: groups appear and parameters thaw during training."""
        if self._settings is None:
            return
        by_device = self._by_device(optimizer)
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

    def _by_device(self, optimizer: Optimizer) -> dict[torch.device, dict[str, list[nn.Parameter]]]:
        by_device: dict[torch.device, dict[str, list[nn.Parameter]]] = {}
        turning = self._turns.look(optimizer)
        if turning:
            self._guard.note_once(
                "layers freeze and thaw in turn: what they did in windows that began while they were frozen is missing "
                "in the heat; from now on they are watched also while they are frozen",
                topic="turns",
            )
        for label, owned in self._layers_of(optimizer, turning).items():
            for parameter in owned:
                by_device.setdefault(parameter.device, {}).setdefault(label, []).append(parameter)
        return by_device

    def _plan_from_now(self) -> WindowPlan | None:
        """Plan for a window that begins now: layers may thaw when much of the run has gone."""
        plan = None if self._settings is None else self._settings.plan
        return plan and plan.rest(steps_done(self._trainer))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def _adds_momentum(group: dict[str, Any]) -> bool:
    """Whether a step adds its momentum to the gradient in place, as Nesterov's does with several tensors at a time."""
    together = group.get("foreach")
    on_device = any(parameter.is_cuda for parameter in group["params"])
    return bool(group.get("nesterov")) and bool(on_device if together is None else together)
