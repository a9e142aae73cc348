"""What all monitors do at the hooks of a Trainer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

from thermo_callbacks.callbacks.agreement import of_first_process, several_processes
from thermo_callbacks.callbacks.arguments import MINIMUM_STEPS
from thermo_callbacks.callbacks.compat import logging_step, shuffled_samples
from thermo_callbacks.callbacks.derived import total_laplacian_record
from thermo_callbacks.callbacks.extra_passes.build import build_collectors
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSchedule
from thermo_callbacks.callbacks.output.hparams import announce_final_values, conclude_final_values
from thermo_callbacks.callbacks.output.loggers import logger_output, renew_output
from thermo_callbacks.callbacks.output.offers import expected_values
from thermo_callbacks.callbacks.resumable import ResumableCallback
from thermo_callbacks.callbacks.windows.close import close_windows, open_windows
from thermo_callbacks.callbacks.windows.divergence import has_diverged
from thermo_callbacks.callbacks.windows.leaving import Place
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.callbacks.windows.sync import begin_together, refusal
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.probes.guard import no_trace
from thermo_callbacks.probes.interrupts import finish_all
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.told import DIVERGED


class Monitor(ResumableCallback):
    """What all monitors do; what is measured is the subclasses' choice."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run when a new one begins; a fit that goes on keeps its statistics."""
        # a checkpoint's state is loaded after this hook, so nothing of it is lost here
        if stage == "fit":
            if self._is_another(pl_module) or trainer.global_step == 0:
                self._forget()
            self._told.join(logger_output(trainer).told)
            self._begin_fit()
        self._guard.quiet = not trainer.is_global_zero

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Check what can't be checked without the model, before the first batch."""
        layer_parameters(pl_module, self._patterns)
        plans = [callback._plan for callback in trainer.callbacks if isinstance(callback, Monitor)]
        announce_final_values(trainer, pl_module, plans)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start watching the optimizers: they exist by now, and a checkpoint's state is loaded."""
        self._end_session()
        end: int | None = None
        with self._guard.protect("looking at the length of the run"):
            end = self._steps_at_end(trainer)
        end = of_first_process(trainer, end)  # loaders that differ must not let these measure at different steps
        with self._guard.protect("looking at the model"), self._guard.invisible(pl_module.device):
            self._set_timetable(trainer, end)
            settings = self._window_settings if self._plan.windows else None
            groups = self._grouping.start(pl_module, trainer.optimizers)
            session = Session(
                trainer, pl_module, guard=self._guard, settings=settings, patterns=self._patterns, groups=groups,
                batch_size=self.batch_size, place=Place(self, trainer, self._end_session),
                announce=lambda optimizer: self.on_before_optimizer_step(trainer, pl_module, optimizer),
            )  # fmt: skip
            self._session = session
            self._told.has_diverged = partial(has_diverged, session)
            session.restore(self._window_states)
            if self._transition_state:
                self._transition.load_state_dict(self._transition_state, pl_module.device)
                self._transition_state = {}
            if self._plan.extra_passes and not self._guard.disabled:
                watched = len(session.layers())
                most_activations = self._grouping.most_activations(pl_module, trainer.optimizers, watched)
                how = self._extra_pass_settings(self._publisher, most_activations)
                measured = MeasuredStep(trainer)
                collectors = build_collectors(
                    self._plan, how, trainer, pl_module,
                    layers=session.layers, mobility=session.mobility_of, sharded=session.sharded,
                    measured=measured, add_shift=self._noise.add_pass, offer=session.watch_directions,
                )  # fmt: skip
                self._extra_passes = ExtraPassSchedule(collectors, **self._timetable.of_extra_passes, measured=measured)
                self._extra_passes.load_state_dict(self._extra_pass_state)
        self._begin_together(trainer)
        with self._guard.protect("looking at the weights"), self._guard.invisible(pl_module.device):
            if self._plan.transition and not self._guard.disabled:
                self._transition.start(self._layers())
        if self._plan.topology and not self._guard.disabled:
            self._topology.start(trainer, pl_module)
        with self._guard.protect("looking at its configuration"):
            self._publisher.expected = expected_values(self._plan.tags, self._plan.families, self._layers())
            if self._session is not None and not self._guard.disabled:
                before = itertools.takewhile(lambda callback: callback is not self, trainer.callbacks)
                place = sum(isinstance(callback, Monitor) for callback in before)
                self._configuration.start(trainer, self._session, self._configured | self._grouping.told, place)
        self._offer(trainer, pl_module)

    def _close(self, session: Session, complete: Sequence[OptimizerWindow]) -> Scalars:
        steps = max(window.taken for window in complete)
        record = close_windows(
            self._plan,
            session,
            complete,
            transition=self._transition,
            latest=self._publisher.latest,
            warn_once=self._note_once,
        )
        if self._plan.untrained:
            record |= self._untrained.look(session, self._patterns, self._guard, steps)
            self._configuration.add_untrained(session.trainer, self._untrained.reasons)
        if self._plan.noise:
            noise = self._noise.take(session.windows, complete, shuffled_samples(session.trainer))
            record |= self._plan.keep(noise)
        return record

    def _begin_together(self, trainer: Any) -> None:
        """A process that could not begin must not leave the others waiting."""
        if refusal(trainer.strategy) is not None or not several_processes(trainer):
            return
        begin_together(self._guard, trainer.strategy.root_device, self._layers)
        if self._session is not None:
            self._session.stop_if_disabled()
        if self._guard.disabled:
            self._extra_passes = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Measure at the step that was made, or get ready to look at the one that comes."""
        if self._extra_passes is None:
            return
        if self._extra_passes.due(step := logging_step(trainer)):
            # there is nothing left to measure then; a fault may have kept another process from seeing it
            if of_first_process(trainer, self._guard.knows(DIVERGED)):
                self._end_extra_passes()
                return
            with self._guard.invisible(pl_module.device):
                record = self._extra_passes.batch_start(batch, batch_idx, step)
                self._publish_extra_pass(trainer, record, step)
        with self._guard.protect("keeping a batch"):
            self._extra_passes.another_batch(batch, batch_idx)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Read the topology off the first loss, where it is not known before."""
        if self._topology.waiting:
            self._topology.see_loss(trainer, pl_module, loss)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Count the batches that are accumulated into one step."""
        if self._session is not None:
            self._session.micro_batch()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Read parameters and gradients: complete, unscaled, not yet clipped."""
        session = self._session
        if session is None or session.defers(optimizer):
            return
        if self._extra_passes is not None and self._extra_passes.measuring:
            with no_trace(pl_module.device.type):
                self._extra_passes.before_step(optimizer, lambda: session.gradient_factor(optimizer))
        if session.active:
            session.before_step(optimizer)
        session.note_step()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the windows that this batch completed, at the place on the axis of the batch's own values."""
        session = self._session
        if session is None:
            return
        stepped = session.stepped
        with self._guard.protect("taking in a batch"):
            session.end_batch(outputs, batch)
        if complete := session.complete():
            with self._guard.protect("ending a window"), self._guard.invisible(pl_module.device):
                record = self._close(session, complete)
                self._publisher.publish(trainer, record, logging_step(trainer))
            session.leave(complete)
        if self._extra_passes is not None and self._extra_passes.measuring:
            with self._guard.invisible(pl_module.device):
                self._publish_extra_pass(trainer, self._extra_passes.batch_end(stepped=stepped), logging_step(trainer))

    def _publish_extra_pass(self, trainer: Any, record: Scalars, step: int) -> None:
        """Log what an extra pass gave, together with what follows from it and the last window."""
        # what the first process saw, for all: a monitored value must not differ from process to process
        record = of_first_process(trainer, record)
        if not record:
            return
        self._publisher.offer_together(trainer, record, windows=not self._guard.disabled)
        with self._guard.protect("logging"):
            record |= total_laplacian_record(record, self._publisher.latest)
            self._publisher.publish(trainer, self._plan.keep(record), step, window=False)
            self._configuration.add_activations(trainer, self._publisher.engines, self._publisher.activation_groups)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of the epoch monitor the values."""
        self._offer(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of validation monitor the values: Lightning may have emptied its store."""
        self._offer(trainer, pl_module)

    def _offer(self, trainer: Any, pl_module: Any) -> None:
        """Let other callbacks monitor what is known now, or NaN: a monitored value that is missing ends the run."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        session, peek = self._session, {}
        if session is not None and session.active:
            with self._guard.protect("looking into an open window"), self._guard.invisible(pl_module.device):
                peek = open_windows(self._plan, session, known=bool(self._publisher.latest))
        self._publisher.offer_together(trainer, peek, windows=not self._guard.disabled)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the open window, and draw the figures of the whole run.

        With windows of a chosen length or distance, only that of a run that was shorter than one window.
        """
        self._close_last(trainer, pl_module)
        self._offer(trainer, pl_module)

    def _close_last(self, trainer: Any, pl_module: Any) -> None:
        session = self._session
        if session is None or not session.active:
            return
        # closing a window early must not change what a resumed run goes on with
        states = self._current_states()
        step = max(0, logging_step(trainer) - 1)
        with self._guard.protect("ending the run"), self._guard.invisible(pl_module.device):
            known = self._publisher.windows > 0
            last = self._plans_windows or session.first_window_open(known)
            if last and (windows := session.with_steps(MINIMUM_STEPS, ending=True)):
                self._publisher.publish(trainer, self._close(session, windows), step)
            if not self._guard.disabled:
                self._publisher.draw(trainer, step)
                conclude_final_values(trainer, pl_module, self._publisher.latest.keys())
        self._end_session(states)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave nothing on the optimizers."""
        finish_all()
        self._end_session()
        renew_output(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave nothing behind, neither on the optimizers nor in the model: after an exception no other hook comes."""
        finish_all()
        self._end_session()
        renew_output(trainer)
