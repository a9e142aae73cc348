"""EquilibriumScheduler: lowers the learning rate when a rate has given what it can."""

from __future__ import annotations

from typing import Any

from thermo_callbacks.callbacks.acting.checks import check_no_scheduler, check_plan
from thermo_callbacks.callbacks.acting.cool_down import CoolDown
from thermo_callbacks.callbacks.acting.equilibrium_callback import EquilibriumCallback, values_of
from thermo_callbacks.callbacks.acting.equilibrium_session import EquilibriumSession
from thermo_callbacks.callbacks.acting.rate_growth import START, RateGrowth
from thermo_callbacks.callbacks.agreement import of_first_process
from thermo_callbacks.callbacks.arguments import Loss, check_callable
from thermo_callbacks.callbacks.compat import logging_step, steps_at_end, steps_done
from thermo_callbacks.functional import Stationarity
from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria


class EquilibriumScheduler(EquilibriumCallback):
    r"""Lowers the learning rate by a factor once the run has come to equilibrium at it.

    **It acts**: unlike the monitors, it changes the learning rates of your optimizers. Without it, training is bit for
    bit what it was.

    At one learning rate a run first learns, and then only swings about: its weights grow no more and its loss falls no
    more. Going on brings nothing then, and a lower rate does. Whether that point is reached is tested, optimizer by
    optimizer, by :func:`~thermo_callbacks.functional.stationarity_test`: equilibrium is *accepted* where the relative
    drift of :math:`|q - q_0|^2` (from where it was) and the change of the loss both lie within a tolerance, with their
    whole intervals. There is no patience to choose, and no length of the run to know in advance. Whatever the
    optimizer: what is read is how far steps move the weights (plain SGD, momentum, the Adam family, AdamW with its
    decay).

    Looks come after 1, 2, 4, ... times as many steps at a rate, and test the second half of them. The first one comes
    where an interval can fit into the tolerance at all: after 988 steps with the defaults, after about four times as
    many with half the ``loss_tolerance``: the test is for runs of ten thousand steps and more.

    A run that ends before that ends warm: at the noise of a rate at which it was still learning. So where the Trainer
    knows the length of the run, the rate falls evenly to almost nothing in its last fifth, whatever the tests have said
    (``cooldown``). A run that is resumed for more steps than were planned goes back to the rate that it had before.

    Each decision is one line of ``logging.getLogger("thermo_callbacks")``, level INFO, with the statistics, their
    intervals and the step. To all loggers go ``thermo/equilibrium_drift`` and ``thermo/equilibrium_loss_change`` with
    ``_lower`` and ``_upper``, ``thermo/equilibrium_accepted`` and ``thermo/equilibrium_rate``: of the first optimizer
    where there are several, whose decisions are all in the log. A checkpoint holds all of it: a resumed run decides as
    the unbroken one would have.

    A network with layers whose loss does not depend on their scale (before BatchNorm or LayerNorm) needs weight decay:
    without it they grow for ever, and the rate stays.

    Args:
        factor: What the rate is multiplied with, between 0 and 1.
        min_lr: Lowest rate; None for a thousandth of the first one of each group.
        level: Probability of lowering, at any look, the rate of a run that still moves by more than the tolerances.
        tolerance: Largest relative drift, of either sign, that counts as none; 1 is free diffusion.
        loss_tolerance: Largest change of the loss over the tested steps that counts as none, in units of the noise of
            one batch's loss.
        warmup_steps: Steps in which the rate rises evenly to yours. A warm-up of your own, which sets the rate by hand,
            is waited for as well.
        cooldown: Share of the run, at its end, in which the rate falls to almost nothing; 0 for none. It needs a length
            that the Trainer knows: ``max_steps`` or ``max_epochs``, and no ``max_time``.
        grow: Begin at a tenth of the rate, and double it while step efficiency stays above its upper line, 0.9: a
            warm-up that ends by measurement, below your rate or above it, where steps are half as long as a line
            search's. It replays the training step now and then, like ``ThermoMonitor``.
        loss_fn: Loss of module and batch, for the replays of ``grow`` where the training step can't be run again.

    Raises:
        ValueError: If an argument is out of its range; before training, if an optimizer has a scheduler of yours, or
            parameters are sharded over processes.

    Example::

        trainer = Trainer(max_steps=50_000, callbacks=[EquilibriumScheduler(factor=0.1), EquilibriumStopping()])
    """

    def __init__(
        self,
        factor: float = 0.1,
        min_lr: float | None = None,
        *,
        level: float = 0.05,
        tolerance: float = 0.5,
        loss_tolerance: float = 0.5,
        warmup_steps: int = 0,
        cooldown: float = 0.2,
        grow: bool = False,
        loss_fn: Loss | None = None,
    ) -> None:
        check_plan(factor, warmup_steps, cooldown, grow)
        check_callable("loss_fn", loss_fn, "a function of the module and a batch that returns the loss")
        self.factor, self.warmup_steps, self.cooldown = factor, warmup_steps, cooldown
        self.grow, self.loss_fn = grow, loss_fn
        super().__init__(criteria=EquilibriumCriteria(tolerance, loss_tolerance, level), min_lr=min_lr)

    def _forget(self) -> None:
        super()._forget()
        self._warm = 0  # steps of the warm-up so far
        self._cool_down: CoolDown | None = None
        self._growth: RateGrowth | None = None
        self._growth_state: dict[str, Any] = {}
        self._at_lowest: list[int] = []  # equilibria that were accepted at the lowest rate, by optimizer

    @property
    def equilibria_at_lowest_rate(self) -> int:
        """How often equilibrium was accepted at the lowest rate, each time on other steps: fewest of all optimizers."""
        return min(self._at_lowest, default=0)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what can't work, before training.

        Args:
            trainer: The Trainer.
            pl_module: The module.

        Raises:
            ValueError: If a scheduler of the user's, or another one of these, works on the same optimizer.
        """
        super().on_fit_start(trainer, pl_module)
        if sum(isinstance(each, EquilibriumScheduler) for each in trainer.callbacks) > 1:
            raise ValueError(
                "the Trainer has two EquilibriumScheduler, which would set the same learning rates: give it one"
            )
        check_no_scheduler(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching the optimizers, and plan the end of the run, which is the same in all processes."""
        end = of_first_process(trainer, steps_at_end(trainer))
        self._cool_down = CoolDown.planned(end, self.cooldown)
        super().on_train_start(trainer, pl_module)
        if end is None and self.cooldown and self._session is not None:
            self._tell(self._session, "no cool-down, since the Trainer does not know how long the run will be", {})

    def _begin(self, session: EquilibriumSession) -> None:
        self._at_lowest = self._at_lowest or [0] * len(session.rates)
        if self.grow and not self._growth_state.get("ended", False):
            self._growth = RateGrowth(session.trainer, session.pl_module, self._guard, self.loss_fn)
            self._growth.load_state_dict(self._growth_state)

    def _set_first_rate(self, session: EquilibriumSession) -> None:
        if self._growth is not None and not self._growth_state:
            for rates in session.rates:
                rates.set_scale(START * rates.scale)
        self._warm_up(session)
        self._cool(session, steps_done(session.trainer))
        self._pause(session)

    def _warm_up(self, session: EquilibriumSession) -> None:
        """Set the rate of the step to come, while the warm-up goes on."""
        if self._warm < self.warmup_steps:
            for rates in session.rates:
                rates.set_scale((self._warm + 1) / self.warmup_steps, floor=False)

    def _cool(self, session: EquilibriumSession, step: int) -> None:
        """Set the rate of the step that comes after so many, in the cool-down; and back where that was not the end."""
        factor = 1.0 if self._cool_down is None else self._cool_down.factor(step)
        if not session.rates or factor == (was := session.rates[0].cooling):
            return
        before = session.rates[0].rate
        for rates in session.rates:
            rates.cool(factor)
        if (factor < 1.0) == (was < 1.0):
            return
        for watch in session.watches:
            watch.restart()
        if factor < 1.0 and self._growth is not None:
            self._growth_state, self._growth = self._growth.end(), None
        what = (
            f"learning rate falls from {before:.3g} to the end of the run, the cool-down"
            if factor < 1.0
            else f"learning rate {before:.3g} -> {session.rates[0].rate:.3g}: the run is longer than it was planned"
        )
        self._tell(session, what, {"thermo/equilibrium_rate": session.rates[0].rate})

    def _pause(self, session: EquilibriumSession) -> None:
        """Test no steps of a rate that is not to stay: those of a warm-up and of a cool-down are no equilibrium."""
        cools = any(rates.cooling < 1.0 for rates in session.rates)
        session.paused = self._growth is not None or cools or self._warm < self.warmup_steps

    def _after_steps(self, session: EquilibriumSession) -> None:
        if self._warm < self.warmup_steps:
            self._warm += 1
            if self._warm == self.warmup_steps:
                for rates in session.rates:
                    rates.set_scale(1.0)
            self._warm_up(session)
        self._cool(session, logging_step(session.trainer) + 1)  # Lightning counts this step after its hooks
        self._pause(session)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Measure a step's efficiency, while the rate grows or falls to what suits the start."""
        session, growth = self._session, self._growth
        if session is None or growth is None:
            return
        found = growth.batch_start(batch, batch_idx)
        if found is None:
            return
        before = session.rates[0].rate
        if found.factor != 1.0:
            for rates in session.rates:
                rates.set_scale(found.factor * rates.scale)
        after = session.rates[0].rate
        what = (
            f"learning rate stays at {before:.3g}" if after == before else f"learning rate {before:.3g} -> {after:.3g}"
        )
        if found.last:
            self._growth_state, self._growth = growth.end(), None
            self._pause(session)
            what += ", growth has ended"
        what += f": {found.reason}"
        self._tell(session, what, {"thermo/equilibrium_rate": session.rates[0].rate})

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Read the parameters before the step."""
        if self._growth is not None and self._session is not None:  # first, while the batches of the step are known
            self._growth.before_step(optimizer, self._session.batches)
        super().on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Test for equilibrium, if it is time to, and lower the rate where it is accepted."""
        if self._growth is not None and self._session is not None:
            self._growth.batch_end(stepped=self._session.batches.announced)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _act(self, session: EquilibriumSession, place: int, found: Stationarity) -> None:
        rates, watch = session.rates[place], session.watches[place]
        before = rates.rate
        name = watch.name if len(session.watches) == 1 else f"{watch.name} ({place})"
        if not found.stationary:
            what = f"learning rate of {name} stays at {before:.3g}, equilibrium is not accepted: {found.reason}"
        elif rates.at_lowest:
            self._at_lowest[place] += 1
            what = f"learning rate of {name} stays at {before:.3g}, the lowest, equilibrium is accepted: {found.reason}"
        else:
            rates.set_scale(self.factor * rates.scale)
            what = f"learning rate of {name} {before:.3g} -> {rates.rate:.3g}, equilibrium is accepted: {found.reason}"
        if found.stationary:
            watch.restart()
        self._tell(session, what, {} if place else {**values_of(found), "thermo/equilibrium_rate": rates.rate})

    def _end_session(self) -> None:
        if self._growth is not None:
            self._growth_state, self._growth = self._growth.close(), None
        super()._end_session()

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        growth = self._growth_state if self._growth is None else self._growth.state_dict()
        return {**super().state_dict(), "warm": self._warm, "at_lowest": [*self._at_lowest], "growth": growth}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        super().load_state_dict(state_dict)
        self._warm, self._at_lowest = int(state_dict["warm"]), [*state_dict["at_lowest"]]
        self._growth_state = state_dict["growth"]
