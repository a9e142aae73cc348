"""EquilibriumStopping: ends a run that has come to equilibrium at the lowest learning rate."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.acting.equilibrium_callback import EquilibriumCallback, values_of
from thermo_callbacks.callbacks.acting.equilibrium_scheduler import EquilibriumScheduler
from thermo_callbacks.callbacks.acting.equilibrium_session import EquilibriumSession
from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.functional import Stationarity
from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria
from thermo_callbacks.probes.told import note


class EquilibriumStopping(EquilibriumCallback):
    """Ends a run once equilibrium persists at the lowest learning rate.

    **It acts**: it sets ``trainer.should_stop``, which Lightning follows after ``min_epochs`` and ``min_steps``.

    Beside :class:`EquilibriumScheduler` it measures nothing: the scheduler's own tests count, at the scheduler's lowest
    rate. Alone, it tests as the scheduler does, with these criteria, at whatever rate the run has; a rate that changes
    at every step, as that of a cosine, never has an equilibrium. Each test is of steps of its own, so that a run is
    stopped too early with a probability of about the level to the power of ``persistence``.

    Args:
        persistence: How often equilibrium has to be accepted, one time after the other, at least 1.
        min_lr: Alone: the rate at or below which the run may be stopped; None for any.
        level: Alone: probability of accepting, at any look, a run that still moves by more than the tolerances.
        tolerance: Alone: largest relative drift, of either sign, that counts as none; 1 is free diffusion.
        loss_tolerance: Alone: largest change of the loss that counts as none, in units of the noise of one batch's.

    Raises:
        ValueError: If an argument is out of its range; before training, if parameters are sharded over processes.

    Example::

        trainer = Trainer(max_steps=-1, callbacks=[EquilibriumScheduler(), EquilibriumStopping()])
    """

    def __init__(
        self,
        persistence: int = 2,
        min_lr: float | None = None,
        *,
        level: float = 0.05,
        tolerance: float = 0.5,
        loss_tolerance: float = 0.5,
    ) -> None:
        if not isinstance(persistence, int) or isinstance(persistence, bool) or persistence < 1:
            raise ValueError(f"persistence must be a whole number of at least 1, got {persistence!r}")
        self.persistence = persistence
        super().__init__(criteria=EquilibriumCriteria(tolerance, loss_tolerance, level), min_lr=min_lr)

    def _forget(self) -> None:
        super()._forget()
        self._accepted: dict[int, tuple[int, float]] = {}  # by optimizer: how often, and at which rate

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching, where no scheduler of ours does."""
        if self._scheduler(trainer) is None:
            super().on_train_start(trainer, pl_module)

    @staticmethod
    def _scheduler(trainer: Any) -> EquilibriumScheduler | None:
        return next((each for each in trainer.callbacks if isinstance(each, EquilibriumScheduler)), None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop the run, if it is time to."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        scheduler = self._scheduler(trainer)
        if scheduler is not None and scheduler.equilibria_at_lowest_rate >= self.persistence:
            self._stop(trainer)

    def _act(self, session: EquilibriumSession, place: int, found: Stationarity) -> None:
        watch, rate = session.watches[place], session.rates[place].rate
        kept, at = self._accepted.get(place, (0, rate))
        low = self.min_lr is None or rate <= self.min_lr
        count = (kept if at == rate else 0) + (found.stationary and low)
        self._accepted[place] = (count, rate)
        if found.stationary:
            watch.restart()
        what = "is accepted" if found.stationary else "is not accepted"
        above = "" if low else f", which is above min_lr {self.min_lr:g}"
        self._tell(
            session,
            f"equilibrium of {watch.name} {what} at learning rate {rate:.3g}{above} ({count} of {self.persistence}): "
            f"{found.reason}",
            {} if place else values_of(found) | {"thermo/equilibrium_rate": rate},
        )
        counts = [self._accepted.get(each, (0, 0.0))[0] for each in range(len(session.watches))]
        if min(counts) >= self.persistence:
            self._stop(session.trainer)

    def _stop(self, trainer: Any) -> None:
        if not trainer.should_stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                often = f"{self.persistence} times in a row"
                note(f"EquilibriumStopping ends the run at step {logging_step(trainer)}: equilibrium persists, {often}")

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        accepted = {place: [count, rate] for place, (count, rate) in self._accepted.items()}
        return {**super().state_dict(), "accepted": accepted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        super().load_state_dict(state_dict)
        self._accepted = {place: (int(count), float(rate)) for place, (count, rate) in state_dict["accepted"].items()}
