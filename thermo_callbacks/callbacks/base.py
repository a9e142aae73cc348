"""What all monitors do at the hooks of a Trainer."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from thermo_callbacks.callbacks.agreement import of_first_process, several_processes
from thermo_callbacks.callbacks.compat import enter_this_fit, logging_step
from thermo_callbacks.callbacks.extra_passes.build import build_collectors
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSchedule
from thermo_callbacks.callbacks.output.hparams import announce_final_values
from thermo_callbacks.callbacks.output.loggers import logger_output, renew_output
from thermo_callbacks.callbacks.output.offers import expected_values
from thermo_callbacks.callbacks.reporting import ReportingCallback
from thermo_callbacks.callbacks.windows.divergence import has_diverged
from thermo_callbacks.callbacks.windows.leaving import Place
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.callbacks.windows.sync import begin_together, refusal
from thermo_callbacks.probes.guard import no_trace
from thermo_callbacks.probes.interrupts import finish_all
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.told import DIVERGED


class Monitor(ReportingCallback):
    """What all monitors do; what is measured is the subclasses' choice."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run when a new one begins; a fit that goes on keeps its statistics."""
        # a checkpoint's state is loaded after this hook, so nothing of it is lost here
        if stage == "fit":
            enter_this_fit(trainer)
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
            self._session, self._transition.together = session, session.together
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
        if self._plan.transition and not self._guard.disabled:
            looking = self._guard.protect("looking at the weights")
            with looking, self._jointly(), self._guard.invisible(pl_module.device):
                self._transition.start(self._layers())
        if self._plan.topology and not self._guard.disabled:
            self._topology.start(trainer, pl_module)
        with self._guard.protect("looking at its configuration"):
            self._publisher.expected = expected_values(self._plan.tags, self._plan.families, self._layers())
            if self._session is not None and not self._guard.disabled:
                before = itertools.takewhile(lambda callback: callback is not self, trainer.callbacks)
                place = sum(isinstance(callback, Monitor) for callback in before)
                configured = self._configured | self._grouping.told
                if self._plan.findings:
                    self._inspection.start(self._session)
                    configured |= {"inspection": dict(self._inspection.facts)} if self._inspection.facts else {}
                self._configuration.start(trainer, self._session, configured, place)
        self._offer(trainer, pl_module)

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
        if self._plan.findings and self._session is not None:
            self._inspection.see_batch(self._session, batch)
        if self._extra_passes is None:
            return
        if self._extra_passes.due(step := logging_step(trainer)):
            # there is nothing left to measure then; a fault may have kept another process from seeing it
            if of_first_process(trainer, self._guard.knows(DIVERGED)):
                self._end_extra_passes()
                return
            with self._guard.invisible(pl_module.device):
                if self._extra_passes.gives_way(trainer, self._guard, step):
                    return
                record = self._extra_passes.batch_start(batch, batch_idx, step)
                self._publish_extra_pass(trainer, record, step)
        if self._extra_passes.measuring:
            with self._guard.protect("keeping a batch"):
                self._extra_passes.another_batch(batch, batch_idx)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Read the topology off the first loss, where it is not known before."""
        if self._topology.waiting:
            self._topology.see_loss(trainer, pl_module, loss)
        if self._plan.findings and self._session is not None:
            self._inspection.before_backward(self._session, loss)

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Count the batches that are accumulated into one step."""
        if self._session is not None:
            self._inspection.after_backward(self._session)
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
            ending = self._guard.protect("ending a window")
            with ending, self._jointly(), self._guard.invisible(pl_module.device):
                record = self._close(session, complete)
                self._publish(trainer, record, logging_step(trainer))
            session.leave(complete)
        if self._extra_passes is not None and self._extra_passes.measuring:
            with self._guard.invisible(pl_module.device):
                self._publish_extra_pass(trainer, self._extra_passes.batch_end(stepped=stepped), logging_step(trainer))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of the epoch monitor the values."""
        self._offer(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of validation monitor the values: Lightning may have emptied its store."""
        self._offer(trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Take in the run's own validation loss, which is known by now."""
        if self._plan.findings and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._findings.add_validation(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the open window, and draw the figures of the whole run.

        With windows of a chosen length or distance, only that of a run that was shorter than one window.
        """
        self._close_last(trainer, pl_module)
        self._offer(trainer, pl_module)

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
