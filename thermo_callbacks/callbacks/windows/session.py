"""What a monitor holds while a fit runs: the optimizers under watch, the hooks on them, and the step under way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import agree, samples_factor, several_processes
from thermo_callbacks.callbacks.compat import gradient_scale, has_gradient_scaler, overrides, skips_alone
from thermo_callbacks.callbacks.windows.joint_windows import JointWindows
from thermo_callbacks.callbacks.windows.leaving import Place
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.optimizers import MonitoredOptimizers
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.callbacks.windows.step_following import StepFollower
from thermo_callbacks.callbacks.windows.sync import SKIPS_ALONE, refusal
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.guard import Guard, no_trace
from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups
from thermo_callbacks.probes.parameters.optimizers import is_known, parameter_mobility
from thermo_callbacks.probes.parameters.projections import WatchedDirections
from thermo_callbacks.probes.sharding import is_sharded
from thermo_callbacks.probes.together import Together

REFRESH = 50
"""Batches between two looks at an optimizer that trains no layer to watch: layers may thaw, and looking takes time."""


class Session(JointWindows):
    """Pairs what happens before and after each optimizer step, and passes it to the windows.

    Created when training starts and dropped when it ends, so that the callback itself holds nothing that can't be
    pickled or that would keep a model alive. Without ``settings`` of windows, steps are only noticed.
    """

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        *,
        guard: Guard,
        settings: WindowSettings | None,
        patterns: Sequence[str] | None,
        groups: LayerGroups = EACH_BY_ITSELF,
        batch_size: int | None = None,
        announce: Callable[[Optimizer], None] | None = None,
        place: Place | None = None,
    ) -> None:
        self._place = place
        self.together: Together | None = None  # of processes that measure what each has a part of
        self.pl_module = pl_module
        self._step = StepBatches(trainer, pl_module, batch_size)
        self._optimizers = MonitoredOptimizers(
            trainer, pl_module, guard=guard, patterns=patterns, groups=groups, settings=settings
        )
        super().__init__(trainer, guard, self._optimizers.all)
        self._follower = StepFollower(
            guard, announce=announce or self._announce, arrive=self._after_step, scaled=has_gradient_scaler(trainer)
        )
        self._batch = 0
        self._read: list[OptimizerWindow] = []  # those that took in a step of this batch
        self._device_type = pl_module.device.type
        # by hand, or in the module's hook behind the backward pass, gradients are clipped before a step is announced
        early = not pl_module.automatic_optimization or overrides(pl_module, "on_after_backward")
        self._clipped_early = early and not has_gradient_scaler(trainer)
        if (reason := refusal(trainer.strategy)) is not None:
            guard.disable(reason)
            return
        self.sharded = is_sharded(pl_module)
        if self.sharded and skips_alone(trainer):  # processes that count different steps would wait for each other
            guard.disable(SKIPS_ALONE)
            return
        self._in_step = self.sharded or several_processes(trainer)
        if self.sharded:
            self.together = Together(trainer.strategy.root_device)
            self._step.processes *= samples_factor(trainer)
        self._optimizers.start(sharded=self.sharded)
        for optimizer in trainer.optimizers:
            self._follower.add(optimizer)
        if settings is not None:
            self._follower.watch_module(pl_module)
        self.attach()  # last, so that a fault before this leaves no hook behind

    def attach(self) -> None:
        """Put hooks on the optimizers."""
        self._follower.attach()

    def detach(self) -> None:
        """Take all hooks off the optimizers."""
        self._follower.detach()

    def defers(self, optimizer: Optimizer) -> bool:
        """Whether an announced step is read later, by the optimizer inside that makes it."""
        return self._follower.defers(optimizer)

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Layers that are trained now, under the names that their values are logged under."""
        return self._optimizers.layers()

    def mobility_of(
        self, optimizer: Optimizer, group: dict[str, Any], parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]
    ) -> Tensor | float:
        """Mobility of a parameter now, as its optimizer tells it or the last window has measured it; NaN if neither."""
        if is_known(optimizer):
            return parameter_mobility(optimizer, group, parameter, watch)
        window = next((each for each in self._optimizers.of(optimizer) if each.watches(parameter)), None)
        return math.nan if window is None else window.mobility_of(optimizer, group, parameter, watch)

    def untrained(self) -> dict[int, str]:
        """Parameters that the last windows did not train, by identity, and why."""
        return {parameter: reason for window in self.windows for parameter, reason in window.untrained.items()}

    @property
    def begins_step(self) -> bool:
        """Whether no batch of the step under way had its backward pass."""
        return self._step.untouched

    @property
    def stepped(self) -> bool:
        """Whether a step was announced in the batch under way."""
        return self._step.announced

    def watch_directions(self, parameters: Sequence[nn.Parameter], directions: WatchedDirections) -> None:
        """Follow the steps of the windows to come along these directions, where one window sees their parameters."""
        signature = tuple(map(id, parameters))
        for window in self.windows:
            if window.probe.signature == signature:
                window.projections.offer(directions)

    def gradient_factor(self, optimizer: Optimizer) -> Any:
        """Factor, perhaps on the device, that makes an optimizer's gradients those of the mean loss before it steps."""
        return self._step.mean_scale * gradient_scale(self.trainer, optimizer)

    @property
    def batch_size(self) -> float:
        """Samples in a step as the loader tells them; NaN where it does not."""
        return self._step.batch_size

    def micro_batch(self) -> None:
        """A backward pass has ended: that of the first half of a step leaves a gradient of its own."""
        half = self._step.add_backward()
        if self._clipped_early and not self.guard.disabled:
            with self.guard.protect("reading gradients"), no_trace(self._device_type):
                for window in self.windows:
                    window.read_backward()
        if not half or self.guard.disabled:
            return
        with self.guard.protect("reading half a step's gradients"), no_trace(self._device_type):
            for window in self.windows:
                if window.measuring:
                    window.read_half(self._step.half_scale)
                    self._step.note_half()

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step, its gradients are complete and not yet clipped."""
        if optimizer not in self._follower:
            self._exchange()
        if not self._follower.announced(optimizer):
            return
        windows = self._optimizers.of(optimizer)
        if not windows and self._batch % REFRESH == 0:
            self._look_for_layers(optimizer)
        due = [window for window in windows if window.announce(self._batch)]
        if self._in_step:  # first, since what follows may fail, and a step counts in all processes or in none
            for window in due:
                window.pass_over()
        if not due or self.guard.disabled:
            return
        with self.guard.protect("reading gradients"):
            for window in due:
                try:
                    self._read_before(window, optimizer)
                except Exception as fault:
                    self._optimizers.leave_out(window, "reading gradients", fault)

    def _read_before(self, window: OptimizerWindow, optimizer: Optimizer) -> None:
        with no_trace(self._device_type):
            self._optimizers.prepare(optimizer, window)
            window.read_before(self.gradient_factor(optimizer), self._step.half)

    def _look_for_layers(self, optimizer: Optimizer) -> None:
        """Look at an optimizer that trains no layer to watch: all processes find the same, or none goes on."""
        with self.guard.protect("looking at the layers"), no_trace(self._device_type):
            self._optimizers.refresh(optimizer)
        if self._in_step and self._optimizers.watches_windows:
            agree(self.guard, self.trainer.strategy.root_device, len(self.windows))
            self.stop_if_disabled()

    def note_step(self) -> None:
        """All have read what they need before the step: the batch under way ends in one, read or not."""
        self._step.note_step()

    def _announce(self, optimizer: Optimizer) -> None:
        """An optimizer steps that Lightning does not announce."""
        if self.active:
            self.before_step(optimizer)
        self.note_step()

    def _after_step(self, optimizer: Optimizer) -> None:
        if (self._place is not None and not self._place.kept()) or not self.active:
            return
        for window in tuple(self._optimizers.of(optimizer)):
            if not window.pending:
                self.guard.warn_once(
                    f"{self.guard.name} can't watch steps of {type(optimizer).__name__} that Lightning does not know "
                    "of: call step() of an optimizer from self.optimizers(), or step() of the raw one without a closure"
                )
            elif window.arrive() and not self.guard.disabled:
                with self.guard.protect("reading displacements"), no_trace(self._device_type):
                    try:
                        window.read_after()
                        self._read.append(window)
                    except Exception as fault:
                        self._optimizers.leave_out(window, "reading displacements", fault)

    def close(self, windows: Sequence[OptimizerWindow]) -> list[OptimizerWindow]:
        """End windows; those that could be."""
        return self._optimizers.close(windows)

    def _exchange(self) -> None:
        """Go on with the optimizers that the run has now."""
        changed = self._follower.exchange(self.trainer.optimizers)
        if changed is not None:
            self._optimizers.exchange(*changed)

    def end_batch(self, outputs: Any, batch: Any) -> None:
        """A batch has ended, with these outputs of the training step: keep its loss and its size."""
        self._follower.settle()
        self._exchange()
        self._batch += 1
        stepped, step = self._step.ends_step(), self._step
        if self.guard.disabled:
            return
        if not stepped:  # a batch that is accumulated into the step of a later one
            if self.measuring:
                step.keep(outputs, batch)
            return
        if self._read:
            step.keep(outputs, batch)
            samples, loss = step.samples, step.loss
            for window in self._read:
                window.pairs.record_samples(samples)
                if loss is not None:
                    window.record_loss(loss)
            self._read.clear()
        step.clear()
