"""The optimizers of one fit under watch for equilibrium, and the hooks on them."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.acting.equilibrium_watch import EquilibriumWatch
from thermo_callbacks.callbacks.acting.scaled_rates import ScaledRates
from thermo_callbacks.callbacks.compat import has_gradient_scaler
from thermo_callbacks.callbacks.windows.step_batches import StepBatches
from thermo_callbacks.callbacks.windows.step_following import StepFollower
from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria
from thermo_callbacks.probes.guard import Guard, no_trace


class EquilibriumSession:
    """Reads each step of each optimizer from the start of training to its end.

    What decides when the processes of a run meet (steps, and whether somebody else has changed a rate) is counted
    outside of the guard: a fault in one of them leaves none waiting. Only the first process reads.

    Args:
        trainer: The Trainer.
        pl_module: The module.
        guard: Of what is read.
        criteria: What counts as equilibrium.
        min_lr: Lowest rate; None for a thousandth of the first one.
    """

    def __init__(
        self, trainer: Any, pl_module: Any, *, guard: Guard, criteria: EquilibriumCriteria, min_lr: float | None
    ) -> None:
        self.trainer, self.pl_module = trainer, pl_module
        self._guard, self._criteria, self._min_lr = guard, criteria, min_lr
        self._reads = bool(trainer.is_global_zero)
        self.paused = False  # steps are neither read nor counted: those of a warm-up are no equilibrium
        self._device_type = pl_module.device.type
        self.batches = StepBatches(trainer, pl_module, None)
        self._follower = StepFollower(
            guard, announce=self.before_step, arrive=self._after_step, scaled=has_gradient_scaler(trainer)
        )
        for optimizer in trainer.optimizers:
            self._follower.add(optimizer)
        self._make_watches()
        self._follower.attach()  # last, so that a fault before this leaves no hook behind

    def _make_watches(self) -> None:
        self.watches = [EquilibriumWatch(optimizer, self._criteria) for optimizer in self.trainer.optimizers]
        self.rates = [ScaledRates(optimizer, self._min_lr) for optimizer in self.trainer.optimizers]
        self._stepped: set[int] = set()  # places of those that step in the batch under way

    def detach(self) -> None:
        """Take all hooks off the optimizers."""
        self._follower.detach()

    def defers(self, optimizer: Any) -> bool:
        """Whether an announced step is read later, by the optimizer inside that makes it."""
        return self._follower.defers(optimizer)

    def before_step(self, optimizer: Any) -> None:
        """An optimizer is about to step."""
        if self._follower.exchange(self.trainer.optimizers) is not None:
            with self._guard.protect("looking at other optimizers"):
                self._make_watches()  # they have taken the place of those before: nothing that was read is theirs
        place = next((place for place, watch in enumerate(self.watches) if watch.optimizer is optimizer), None)
        if not self._follower.announced(optimizer) or place is None:
            return
        self.batches.note_step()
        watch = self.watches[place]
        if place not in self._stepped:
            self._stepped.add(place)
            with self._guard.protect("looking at the learning rates"):
                if self.rates[place].notice():
                    watch.restart()
        if self._reads and not self.paused and not self._guard.disabled:
            with self._guard.protect("reading parameters"), no_trace(self._device_type):
                watch.read_before()

    def _after_step(self, optimizer: Any) -> None:
        if self._reads and not self._guard.disabled:
            with self._guard.protect("reading displacements"), no_trace(self._device_type):
                next(watch for watch in self.watches if watch.optimizer is optimizer).read_after()

    def end_batch(self, outputs: Any, batch: Any) -> bool:
        """A batch has ended, with these outputs of the training step: whether an optimizer stepped in it."""
        self._follower.settle()
        stepped, self._stepped = self._stepped, set()
        if not self.paused:
            for place in stepped:
                self.watches[place].count()
        ended = self.batches.ends_step()
        if self._reads and not self._guard.disabled:
            with self._guard.protect("taking in a batch"), no_trace(self._device_type):
                self.batches.keep(outputs, batch)
                if ended:
                    loss = self.batches.loss
                    for place in stepped:
                        self.watches[place].end_batch(loss)
                    self.batches.clear()
        return ended

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each optimizer's rates and watch."""
        return [
            {"rates": rates.state_dict(), "watch": watch.state_dict()}
            for rates, watch in zip(self.rates, self.watches, strict=True)
        ]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on where :meth:`state_dict` was taken, if the optimizers are as many."""
        if len(states) == len(self.watches):
            for rates, watch, state in zip(self.rates, self.watches, states, strict=True):
                rates.load_state_dict(state["rates"])
                watch.load_state_dict(state["watch"])
