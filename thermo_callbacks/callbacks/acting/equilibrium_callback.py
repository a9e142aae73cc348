"""What the callbacks that act on equilibrium have in common: they watch every step, and test now and then."""

from __future__ import annotations

import weakref
from typing import Any

from thermo_callbacks.callbacks.acting.checks import check_criteria, check_number
from thermo_callbacks.callbacks.acting.equilibrium_session import EquilibriumSession
from thermo_callbacks.callbacks.agreement import agree, of_first_process, several_processes
from thermo_callbacks.callbacks.compat import Callback, enter_this_fit, logging_step, plain_state
from thermo_callbacks.callbacks.output.loggers import logger_output, renew_output
from thermo_callbacks.callbacks.windows.sync import refusal
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional import Stationarity
from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.interrupts import finish_all
from thermo_callbacks.probes.sharding import is_sharded
from thermo_callbacks.probes.told import note


class EquilibriumCallback(Callback):
    """Watches all optimizers for equilibrium; what follows from a verdict is the subclasses' choice.

    With several processes the first one reads and decides, and all do what it says.
    """

    def __init__(self, *, criteria: EquilibriumCriteria, min_lr: float | None) -> None:
        super().__init__()
        check_criteria(criteria)
        check_number("min_lr", min_lr, "a learning rate above 0, or None for a thousandth of the first one", none=True)
        self.level, self.tolerance, self.loss_tolerance = criteria.level, criteria.tolerance, criteria.loss_tolerance
        self.min_lr, self._criteria = min_lr, criteria
        self._session: EquilibriumSession | None = None
        self._model: weakref.ref[Any] | None = None
        self._forget()

    def _forget(self) -> None:
        self._guard = Guard(type(self).__name__)
        self._latest: Scalars = {}
        self._states: list[dict[str, Any]] = []

    def latest(self) -> dict[str, float]:
        """What the last test found.

        Returns:
            Tag to value, as in the logs; empty before the first test.
        """
        return dict(self._latest)

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without what belongs to the one running fit."""
        return {**plain_state(self), "_session": None, "_model": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run when a new one begins; a fit that goes on keeps what it knows."""
        if stage != "fit":
            return
        enter_this_fit(trainer)
        known, self._model = self._model, weakref.ref(pl_module)
        # a checkpoint's state is loaded after this hook, so nothing of it is lost here
        if trainer.global_step == 0 or (known is not None and known() is not pl_module):
            self._forget()
        self._guard.told.join(logger_output(trainer).told)
        self._guard.quiet = not trainer.is_global_zero

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what can't work, before training.

        Args:
            trainer: The Trainer.
            pl_module: The module.

        Raises:
            ValueError: If parameters are sharded over processes, or an optimizer has no learning rate.
        """
        name = type(self).__name__
        if (reason := refusal(trainer.strategy)) is not None or is_sharded(pl_module):
            raise ValueError(
                f"{name} needs whole parameters in the first process, and {type(trainer.strategy).__name__} spreads "
                f"them over all: use DDPStrategy or one process, or leave {name} out"
                + (f" ({reason})" if reason else "")
            )
        for optimizer in trainer.optimizers:
            if not all("lr" in group for group in optimizer.param_groups):
                raise ValueError(
                    f"{name} works on the learning rate 'lr' of each parameter group, and {type(optimizer).__name__} "
                    f"has a group without one: leave {name} out, or use an optimizer that has it"
                )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching the optimizers: they exist by now, and a checkpoint's state is loaded."""
        self._end_session()
        with self._guard.protect("looking at the optimizers"), self._guard.invisible(pl_module.device):
            session = EquilibriumSession(
                trainer, pl_module, guard=self._guard, criteria=self._criteria, min_lr=self.min_lr
            )
            session.load_state_dict(self._states)
            self._session = session
            self._begin(session)
        # a process that could not begin must not leave the others waiting at the first test
        if several_processes(trainer) and not agree(self._guard, trainer.strategy.root_device):
            self._end_session()
        if self._session is not None:
            self._set_first_rate(self._session)

    def _begin(self, session: EquilibriumSession) -> None:
        """Get ready for the first step; nothing is changed here, since another process may fail to."""

    def _set_first_rate(self, session: EquilibriumSession) -> None:
        """Set the rate of the first step; all processes come here."""

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Count the batches that are accumulated into one step."""
        if self._session is not None:
            self._session.batches.add_backward()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Read the parameters before the step."""
        if self._session is not None and not self._session.defers(optimizer):
            self._session.before_step(optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Test for equilibrium, if it is time to, and act on it."""
        session = self._session
        if session is None or not session.end_batch(outputs, batch):
            return
        self._after_steps(session)
        for place, watch in enumerate(session.watches):
            if not watch.test.turn(watch.steps):
                continue
            found: Stationarity | None = None
            if trainer.is_global_zero and not self._guard.disabled:
                with self._guard.protect("testing for equilibrium"), self._guard.invisible(pl_module.device):
                    found = watch.look()
            found = of_first_process(trainer, found)
            if found is not None:
                self._act(session, place, found)

    def _after_steps(self, session: EquilibriumSession) -> None:
        """Do what is to be done after every step."""

    def _act(self, session: EquilibriumSession, place: int, found: Stationarity) -> None:
        """Act on what was found of an optimizer; all processes come here with the same verdict."""
        raise NotImplementedError

    def _tell(self, session: EquilibriumSession, what: str, values: Scalars) -> None:
        """Explain a decision in one line of the log, and give its values to the loggers."""
        step = logging_step(session.trainer)
        if session.trainer.is_global_zero:
            note(f"{type(self).__name__} at step {step}: {what}")
        self._latest |= values
        if values:
            with self._guard.protect("logging"), self._guard.invisible(session.pl_module.device):
                logger_output(session.trainer).values(session.trainer, values, step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave nothing on the optimizers but their rates."""
        self._end_session()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave nothing on the optimizers but their rates."""
        finish_all()
        self._end_session()
        renew_output(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing behind: after an exception no other hook comes."""
        self.teardown(trainer, pl_module, "fit")

    def _end_session(self) -> None:
        if self._session is not None:
            self._states = self._current_states()
            self._session.detach()
            self._session = None

    def _current_states(self) -> list[dict[str, Any]]:
        states = self._states
        if self._session is not None:
            with self._guard.protect("copying its state"):
                states = self._session.state_dict()
        return states

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        return {"version": 1, "optimizers": self._current_states(), "latest": dict(self._latest)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        self._states, self._latest = state_dict["optimizers"], dict(state_dict["latest"])


def values_of(found: Stationarity) -> Scalars:
    """What a test found, under the tags of the catalogue."""
    names = {"drift": "equilibrium_drift", "loss_change": "equilibrium_loss_change"}
    values = found._asdict()
    return {
        f"thermo/{tag}{end}": float(values[f"{name}{end}"])
        for name, tag in names.items()
        for end in ("", "_lower", "_upper")
    } | {"thermo/equilibrium_accepted": float(found.stationary)}
