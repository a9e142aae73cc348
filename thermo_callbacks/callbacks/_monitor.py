"""The monitors: one callback that a person adds to a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from thermo_callbacks.callbacks._compat import Callback, logging_step
from thermo_callbacks.callbacks._publisher import Publisher
from thermo_callbacks.callbacks._records import (
    EQUILIBRIUM,
    NOISE,
    TEMPERATURES,
    Quantity,
    Recorder,
    energy_record,
)
from thermo_callbacks.callbacks._session import Session
from thermo_callbacks.callbacks._watch import OptimizerWatch
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.layers import layer_parameters

PRESETS: dict[str, tuple[Quantity, ...]] = {"light": (*TEMPERATURES, *EQUILIBRIUM, *NOISE)}
MINIMUM_STEPS = 8
"""Fewest steps with something to say: the shortest window, and the shortest run that is reported at all."""


class _Monitor(Callback):
    """What all monitors do; the quantities are the subclasses' choice."""

    _quantities: tuple[Quantity, ...]
    _energies: ClassVar[bool]

    def __init__(
        self, window: int, *, rest: int | None, sample: int | None, layers: Sequence[str] | None, seed: int
    ) -> None:
        super().__init__()
        _check_whole("window", window, MINIMUM_STEPS)
        _check_whole("rest", rest, 0, optional=True)
        _check_whole("sample", sample, 2, optional=True)
        _check_whole("seed", seed, 0)
        if isinstance(layers, str) or (layers is not None and not layers):
            raise ValueError(f"layers must be a list of glob patterns such as ['encoder.*'], or None, got {layers!r}")
        self.window, self.sample, self.seed = window, sample, seed
        self.rest = rest
        self.layers = None if layers is None else list(layers)
        arguments = {name: getattr(self, name) for name in ("window", "rest", "sample", "layers", "seed")}
        # Lightning asks for the key at every hook, and other packages may have classes of the same name
        self._state_key = f"thermo_callbacks.{type(self).__qualname__}{arguments!r}"
        self._session: Session | None = None
        self._forget()

    def _forget(self) -> None:
        self._guard = Guard(type(self).__name__)
        self._publisher = Publisher()
        self._recorder = Recorder(self._quantities)
        self._watch_states: list[dict[str, Any]] = []

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: one for each choice of arguments."""
        return self._state_key

    def latest(self) -> dict[str, float]:
        """Last value of each quantity.

        Returns:
            Tag to value, as in the logs; empty before the first window has ended.
        """
        return dict(self._publisher.latest)

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without the session, whose hooks belong to the one running fit."""
        # Lightning binds the module's log and log_dict to every callback: they would take model and Trainer along
        own = {name: value for name, value in self.__dict__.items() if name not in {"log", "log_dict"}}
        return {**own, "_session": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run when a new one begins; a fit that goes on keeps its statistics."""
        # a checkpoint's state is loaded after this hook, so nothing of it is lost here
        if stage == "fit" and trainer.global_step == 0:
            self._forget()
        self._guard.quiet = not trainer.is_global_zero

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Check what can't be checked without the model, before the first batch."""
        layer_parameters(pl_module, self.layers)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching the optimizers: they exist by now, and a checkpoint's state is loaded."""
        self._end_session()
        with self._guard.watch("looking at the model"), self._guard.invisible(pl_module.device):
            settings = {"window": self.window, "rest": self.rest, "sample": self.sample, "seed": self.seed}
            self._session = Session(trainer, pl_module, guard=self._guard, settings=settings, patterns=self.layers)
            self._session.restore(self._watch_states)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Count the batches that are accumulated into one step."""
        if self._session is not None:
            self._session.micro_batch()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Read parameters and gradients: complete, unscaled, not yet clipped."""
        if self._session is not None and not self._guard.disabled:
            with self._guard.watch("reading gradients"):
                self._session.before_step(optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the windows that this batch completed, at the place on the axis of the batch's own values."""
        if self._session is None or self._guard.disabled:
            return
        with self._guard.watch("taking in a batch"):
            complete = self._session.end_batch(outputs)
            if complete:
                with self._guard.invisible(pl_module.device):
                    self._publisher.publish(trainer, self._close(self._session, complete), logging_step(trainer))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of the epoch monitor the values."""
        self._offer(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of validation monitor the values: Lightning may have emptied its store."""
        self._offer(trainer, pl_module)

    def _offer(self, trainer: Any, pl_module: Any) -> None:
        session = self._session
        if session is None or self._guard.disabled:
            return
        record = self._publisher.latest
        with self._guard.watch("looking into an open window"), self._guard.invisible(pl_module.device):
            if not record and (watches := session.with_steps(MINIMUM_STEPS)):
                # a monitored metric that does not exist ends the run: say what the open window says
                windows = [(watch.probe.names, watch.peek(session.batch_size)) for watch in watches]
                names = {name for layers, _ in windows for name in layers}
                record = self._recorder.record(windows, names, self._say)
            self._publisher.offer(trainer, record)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report a run that was shorter than one window, and draw the figures of the whole run."""
        session = self._session
        if session is None or self._guard.disabled:
            return
        # closing a window early must not change what a resumed run goes on with
        states = self._current_states()
        step = max(0, logging_step(trainer) - 1)
        with self._guard.watch("ending the run"), self._guard.invisible(pl_module.device):
            if not self._publisher.windows and (watches := session.with_steps(MINIMUM_STEPS)):
                self._publisher.publish(trainer, self._close(session, watches), step)
            self._publisher.draw(trainer, step)
        self._end_session(states)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave nothing on the optimizers."""
        self._end_session()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing on the optimizers: after an exception no other hook comes."""
        self._end_session()

    def _current_states(self) -> list[dict[str, Any]]:
        """States of the watches now, or else the last ones there were."""
        states = self._watch_states
        if self._session is not None:
            with self._guard.watch("copying its state"):
                states = self._session.state()
        return states

    def _end_session(self, states: list[dict[str, Any]] | None = None) -> None:
        """Take everything off the optimizers, and keep the states for a fit that goes on."""
        if self._session is not None:
            self._watch_states = self._current_states() if states is None else states
            self._session.detach()
            self._session = None

    def _say(self, topic: str, message: str) -> None:
        self._guard.say(message, topic=topic)

    def _close(self, session: Session, complete: Sequence[OptimizerWatch]) -> dict[str, float]:
        """End windows and compute what is to be logged."""
        for watch in complete:
            watch.close(session.batch_size)
        windows = [(watch.probe.names, watch.last) for watch in session.watches if watch.last is not None]
        fresh = {name for watch in complete for name in watch.probe.names}
        record = self._recorder.record(windows, fresh, self._say)
        if self._energies:
            record |= energy_record([watch.ledger for watch in session.watches], fresh)
            record["thermo/skipped_steps"] = float(sum(watch.skipped for watch in session.watches))
        return record

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        return {"version": 1, "watches": self._current_states(), "publisher": self._publisher.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written: its windows end in the resumed run."""
        with self._guard.watch("loading a checkpoint"):
            if state_dict["version"] != 1:
                raise ValueError(f"the checkpoint's state has version {state_dict['version']}, this package reads 1")
            self._watch_states = state_dict["watches"]
            self._publisher.load_state_dict(state_dict["publisher"])


class ThermoMonitor(_Monitor):
    r"""A thermometer for a run: temperature, heat, equilibrium and noise of the model and of each layer.

    Reads a fixed sample of each layer's coordinates in bursts: ``window`` consecutive optimizer steps, then a rest that
    costs nothing. Nothing of the run changes, and the device is waited for only when a window ends.

    **Logged values** (to all loggers, to ``trainer.callback_metrics``, and in :meth:`latest`), once a window:

    - ``thermo/temperature`` with ``_stderr``, ``_lower``, ``_upper`` (95 %), ``thermo_temperature/<layer>`` with
      ``thermo_temperature_stderr/<layer>``: kinetic temperature, in units of the loss
    - ``thermo/virial_temperature``, ``thermo/einstein_temperature``, each with ``_stderr``: two other thermometers,
      equal to it in equilibrium and for optimizers that add no noise
    - ``thermo/equilibrium_ratio`` with ``_stderr``, ``thermo_equilibrium_ratio/<layer>``: 1 when the parameters' size
      is stationary
    - ``thermo/noise_scale``, ``thermo_noise_scale/<layer>``: critical batch size, in samples
    - ``thermo/signal_share``, ``thermo_signal_share/<layer>``: part of the gradient's power that is signal
    - ``thermo/heat``, ``thermo_heat/<layer>``: cumulative heat, in units of the loss; heat of steps between windows is
      interpolated
    - ``thermo/internal_energy``, ``thermo/first_law_residual``: mean loss in the window, and what the heat leaves
      unexplained of its change since the first window (with several processes, of the first one's batches)
    - ``thermo/skipped_steps``: steps left out since their gradient was not finite

    A value that does not exist is NaN, and a warning says why, once.

    Args:
        preset: ``"light"``: first-order quantities, no extra passes through the model.
        window: Optimizer steps in a window of statistics, at least 8. Longer ones have smaller errors, and see less of
            what changes.
        rest: Steps between two windows; None: as many as the run has had so far, up to nine windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        seed: Seed of the choice of coordinates.

    Raises:
        ValueError: If an argument is out of its range.

    Example::

        trainer = Trainer(callbacks=[ThermoMonitor()])
    """

    _energies = True

    def __init__(
        self,
        preset: Literal["light"] = "light",
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        layers: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {sorted(PRESETS)}, got {preset!r}")
        self.preset = preset
        self._quantities = PRESETS[preset]
        super().__init__(window, rest=rest, sample=sample, layers=layers, seed=seed)


class TemperatureMonitor(_Monitor):
    """:class:`ThermoMonitor` restricted to temperatures: global with its error, virial, Einstein, and by layer.

    Args:
        window: Optimizer steps in a window of statistics, at least 8.
        rest: Steps between two windows; None: as many as the run has had so far, up to nine windows; 0 to watch every
            step.
        sample: Coordinates watched in each layer, at least 2; None for all.
        layers: Glob patterns of layer names, as in ``named_modules``; None for all.
        seed: Seed of the choice of coordinates.

    Raises:
        ValueError: If an argument is out of its range.
    """

    _quantities = TEMPERATURES
    _energies = False

    def __init__(
        self,
        window: int = 50,
        *,
        rest: int | None = None,
        sample: int | None = 4096,
        layers: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(window, rest=rest, sample=sample, layers=layers, seed=seed)


def _check_whole(name: str, value: Any, minimum: int, *, optional: bool = False) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        alternative = " or None" if optional else ""
        raise ValueError(f"{name} must be a whole number of at least {minimum}{alternative}, got {value!r}")
