"""What a monitor holds while a fit runs: the optimizers under watch, the hooks on them, and the step under way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import agree, samples_factor, several_processes
from thermo_callbacks.callbacks.compat import (
    gradient_scale,
    has_gradient_scaler,
    loader_batch_size,
    loss_scale,
    overrides,
    samples_in,
)
from thermo_callbacks.callbacks.windows.leaving import Place
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.optimizers import MonitoredOptimizers
from thermo_callbacks.callbacks.windows.step_following import StepFollower
from thermo_callbacks.callbacks.windows.sync import merge, refusal
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.guard import Guard, no_trace
from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups
from thermo_callbacks.probes.parameters.optimizers import is_known, parameter_mobility
from thermo_callbacks.probes.parameters.projections import WatchedDirections
from thermo_callbacks.probes.sharding import is_sharded

REFRESH = 50
"""Batches between two looks at an optimizer that trains no layer to watch: layers may thaw, and looking takes time."""


class Session:
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
        self.trainer, self.pl_module, self.guard = trainer, pl_module, guard
        self._given, self._declared = batch_size, loader_batch_size(trainer)
        self._processes = float(trainer.world_size)
        self._samples: list[int | None] = []  # of the batches of the step under way
        self._optimizers = MonitoredOptimizers(
            trainer, pl_module, guard=guard, patterns=patterns, groups=groups, settings=settings
        )
        self.windows = self._optimizers.all  # in the order in which they were made
        self._follower = StepFollower(
            guard, announce=announce or self._announce, arrive=self._after_step, scaled=has_gradient_scaler(trainer)
        )
        self._batch = 0
        self._announced = False  # a step was about to happen in this batch, read or not, done or skipped
        self._micro_batches = 0
        self._half = 0  # batches that the half gradient of the step under way is made of; 0 if none was read
        self._losses: list[Tensor] = []
        self._read: list[OptimizerWindow] = []  # those that took in a step of this batch
        self._device_type = pl_module.device.type
        # by hand, or in the module's hook behind the backward pass, gradients are clipped before a step is announced
        early = not pl_module.automatic_optimization or overrides(pl_module, "on_after_backward")
        self._clipped_early = early and not has_gradient_scaler(trainer)
        self.closed = 0  # windows that have ended, or were restored as such
        self.sharded = self._in_step = False  # in step: the processes close their windows together
        if (reason := refusal(trainer.strategy)) is not None:
            guard.disable(reason)
            return
        self.sharded = is_sharded(pl_module)
        self._in_step = self.sharded or several_processes(trainer)
        if self.sharded:
            self._processes *= samples_factor(trainer)
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
    def active(self) -> bool:
        """Whether steps are followed: with several processes also after a fault, which the others must learn of."""
        return self._in_step or not self.guard.disabled

    @property
    def stepped(self) -> bool:
        """Whether a step was announced in the batch under way."""
        return self._announced

    def watch_directions(self, parameters: Sequence[nn.Parameter], directions: WatchedDirections) -> None:
        """Follow the steps of the windows to come along these directions, where one window sees their parameters."""
        signature = tuple(map(id, parameters))
        for window in self.windows:
            if window.probe.signature == signature:
                window.projections.offer(directions)

    def gradient_factor(self, optimizer: Optimizer) -> Any:
        """Factor, perhaps on the device, that makes an optimizer's gradients those of the mean loss before it steps."""
        return self._mean_scale() * gradient_scale(self.trainer, optimizer)

    @property
    def batch_size(self) -> float:
        """Samples in a step as the loader tells them; NaN where it does not."""
        return float(
            self._processes * (self._given or self._declared or math.nan) * self.trainer.accumulate_grad_batches
        )

    def _samples_in(self, batch: Any) -> int | None:
        return self._given or samples_in(batch, self._declared)

    def micro_batch(self) -> None:
        """A backward pass has ended: that of the first half of a step leaves a gradient of its own."""
        self._micro_batches += 1
        if self._clipped_early and not self.guard.disabled:
            with self.guard.protect("reading gradients"), no_trace(self._device_type):
                for window in self.windows:
                    window.read_backward()
        planned = self.trainer.accumulate_grad_batches
        # with several processes only the last gradient is averaged: what stands here is another one in each
        if self._micro_batches == planned // 2 and self.pl_module.automatic_optimization and self._processes == 1.0:
            self._read_halves(planned)

    def _read_halves(self, planned: int) -> None:
        for window in self.windows:
            if window.measuring and not self.guard.disabled:
                with self.guard.protect("reading half a step's gradients"), no_trace(self._device_type):
                    # not yet unscaled, whatever the optimizer
                    window.read_half(planned / self._micro_batches / loss_scale(self.trainer))
                    self._half = self._micro_batches

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
        if self.guard.disabled:
            return
        with self.guard.protect("reading gradients"):
            for window in due:
                try:
                    self._read_before(window, optimizer)
                except Exception as fault:
                    self._optimizers.leave_out(window, "reading gradients", fault)

    def _read_before(self, window: OptimizerWindow, optimizer: Optimizer) -> None:
        with no_trace(self._device_type):
            if not window.taken:
                self._optimizers.refresh(optimizer)
            # an epoch may end before the second half
            half = self._half / self._micro_batches if self._half < self._micro_batches else 0.0
            window.read_before(self.gradient_factor(optimizer), half)

    def _look_for_layers(self, optimizer: Optimizer) -> None:
        """Look at an optimizer that trains no layer to watch: all processes find the same, or none goes on."""
        with self.guard.protect("looking at the layers"), no_trace(self._device_type):
            self._optimizers.refresh(optimizer)
        if self._in_step and self._optimizers.watches_windows:
            agree(self.guard, self.trainer.strategy.root_device, len(self.windows))
            self.stop_if_disabled()

    def note_step(self) -> None:
        """All have read what they need before the step: the batch under way ends in one, read or not."""
        self._announced = True
        self._micro_batches = self._half = 0  # here and not after the step, which the gradient scaler may skip

    def _mean_scale(self) -> float:
        """Factor to the gradient of the mean loss: Lightning divides by all batches also where an epoch ends early."""
        planned = self.trainer.accumulate_grad_batches
        if planned == 1 or not self._micro_batches or not self.pl_module.automatic_optimization:
            return 1.0
        return float(planned) / self._micro_batches

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

    def with_steps(self, minimum: int, *, ending: bool = False) -> list[OptimizerWindow]:
        """Windows that hold at least ``minimum`` steps so far, which can be looked into, or closed if ``ending``."""
        found = [window for window in self.windows if window.taken >= minimum]
        # a look into windows of whole parameters needs no other process, and not all of them may be validating
        return self._brought_together(found) if ending or self.sharded else found

    def first_window_open(self, known: bool) -> bool:
        """Whether nothing has been said of any window yet, so that it is time to look into the open one."""
        # whether values are known may differ between processes, which must answer alike
        return not self.closed if self._in_step else not known

    def _brought_together(self, windows: list[OptimizerWindow]) -> list[OptimizerWindow]:
        """The same windows, knowing what all processes have seen."""
        if not (self._in_step and windows):
            return windows
        together = merge(windows, self.guard, self.trainer.strategy.root_device)
        if not together:
            self.leave(windows)
        self.stop_if_disabled()
        return windows if together else []

    @staticmethod
    def leave(windows: Sequence[OptimizerWindow]) -> None:
        """Go on after windows that are full, also those that a fault has kept from being closed."""
        for window in windows:
            window.leave()

    def stop_if_disabled(self) -> None:
        """All processes know of a fault in one of them: none waits for another from now on."""
        self._in_step = self._in_step and not self.guard.disabled

    def state(self) -> list[dict[str, Any]]:
        """State of each window, for a checkpoint."""
        return [window.state_dict() for window in self.windows]

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on where :meth:`state` was taken; no states are a fresh start."""
        if not states:
            return
        self.closed = sum(state["last"] is not None for state in states)
        fitting = [window.load_state_dict(state) for window, state in zip(self.windows, states, strict=False)]
        if len(states) != len(self.windows) or not all(fitting):
            self.guard.warn_once(
                f"{self.guard.name} found statistics of other layers or optimizers in the checkpoint: those that don't "
                "fit start afresh. Give it the model and arguments of the run that wrote the checkpoint to go on."
            )
        if interrupted := max((window.interrupted for window in self.windows), default=0):
            self.guard.warn_once(
                f"{self.guard.name} begins its open window, of {interrupted} steps so far, afresh: a checkpoint holds "
                "what one process knows, and each process has seen a part of the sharded parameters"
            )

    def end_batch(self, outputs: Any, batch: Any) -> None:
        """A batch has ended, with these outputs of the training step: keep its loss and its size."""
        self._follower.settle()
        self._exchange()
        self._batch += 1
        announced, self._announced = self._announced, False
        if self.guard.disabled:
            return
        if not announced:  # a batch that is accumulated into the step of a later one
            if any(window.measuring for window in self.windows):
                self._keep_loss(outputs)
                self._samples.append(self._samples_in(batch))
            return
        if self._read:
            self._keep_loss(outputs)
            self._samples.append(self._samples_in(batch))
            samples = self._processes * sum(count or math.nan for count in self._samples)
            for window in self._read:
                window.pairs.record_samples(samples)
            if self._losses:
                loss = self._losses[0] if len(self._losses) == 1 else torch.stack(self._losses).mean()
                for window in self._read:
                    window.record_loss(loss)
            self._read.clear()
        self._losses.clear()  # those of a step that was skipped are no part of the next one
        self._samples.clear()

    def complete(self) -> list[OptimizerWindow]:
        """Windows that are complete now, knowing what all processes have seen."""
        if not self.active:
            return []
        complete = self._brought_together([window for window in self.windows if window.full])
        self.closed += len(complete)
        return complete

    def _keep_loss(self, outputs: Any) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            # Lightning hands out the loss divided by the number of accumulated batches
            planned = self.trainer.accumulate_grad_batches if self.pl_module.automatic_optimization else 1
            loss = loss.detach().reshape(())
            self._losses.append(loss if planned == 1 else loss * planned)
