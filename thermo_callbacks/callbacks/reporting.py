"""What monitors make public: values of windows and extra passes, and what the rules find in them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from thermo_callbacks.callbacks.agreement import of_first_process
from thermo_callbacks.callbacks.arguments import MINIMUM_STEPS
from thermo_callbacks.callbacks.compat import logging_step, shuffled_samples
from thermo_callbacks.callbacks.derived import total_laplacian_record
from thermo_callbacks.callbacks.output.hparams import conclude_final_values
from thermo_callbacks.callbacks.resumable import ResumableCallback
from thermo_callbacks.callbacks.windows.close import close_windows, open_windows
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.findings import Finding


class ReportingCallback(ResumableCallback):
    """Callback that logs what it measures, offers it to other callbacks, and says what it finds."""

    def findings(self) -> list[Finding]:
        """What was found in the run that is wrong with it, the gravest first.

        Rules look at the values now and then, and when training ends; see ``docs/findings.md`` for each cause.

        Returns:
            Findings; none where nothing was found, before the first window has ended, and of narrow monitors.
        """
        return list(self._findings.found)

    def _facts(self) -> dict[str, Any]:
        """What is known of the run that is no value of a step."""
        return self._configuration.written | {"inspection": self._inspection.facts}

    def _publish(self, trainer: Any, record: Scalars, step: int, *, window: bool = True, last: bool = False) -> None:
        """Log values, and what the rules say to all of them."""
        if self._plan.findings:
            self._findings.add(record, step)
            if window:
                record = record | self._findings.look(trainer, self._facts(), last=last)
        self._publisher.publish(trainer, record, step, window=window)

    def _jointly(self) -> contextlib.AbstractContextManager[Any]:
        """A block that ends in all processes where it fails in one: they bring sharded weights together in it."""
        together = None if self._session is None else self._session.together
        return contextlib.nullcontext() if together is None or not self._plan.transition else together

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
        if self._plan.findings:
            record |= self._inspection.close(session)
            self._configuration.add(session.trainer, "inspection", self._inspection.facts)
        if self._plan.noise:
            noise = self._noise.take(session.windows, complete, shuffled_samples(session.trainer))
            record |= self._plan.keep(noise)
        return record

    def _publish_extra_pass(self, trainer: Any, record: Scalars, step: int) -> None:
        """Log what an extra pass gave, together with what follows from it and the last window."""
        # what the first process saw, for all: a monitored value must not differ from process to process
        record = of_first_process(trainer, record)
        if not record:
            return
        self._publisher.offer_together(trainer, record, windows=not self._guard.disabled)
        with self._guard.protect("logging"):
            record |= total_laplacian_record(record, self._publisher.latest)
            self._publish(trainer, self._plan.keep(record), step, window=False)
            self._configuration.add_activations(trainer, self._publisher.engines, self._publisher.activation_groups)

    def _offer(self, trainer: Any, pl_module: Any) -> None:
        """Let other callbacks monitor what is known now, or NaN: a monitored value that is missing ends the run."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        session, peek = self._session, {}
        if session is not None and session.active:
            with self._guard.protect("looking into an open window"), self._guard.invisible(pl_module.device):
                peek = open_windows(self._plan, session, known=bool(self._publisher.latest))
        self._publisher.offer_together(trainer, peek, windows=not self._guard.disabled)

    def _close_last(self, trainer: Any, pl_module: Any) -> None:
        session = self._session
        if session is None or not session.active:
            return
        # closing a window early must not change what a resumed run goes on with
        states, inspected = self._current_states(), self._inspection.state_dict()
        step = max(0, logging_step(trainer) - 1)
        with self._guard.protect("ending the run"), self._guard.invisible(pl_module.device):
            known = self._publisher.windows > 0
            last = self._plans_windows or session.first_window_open(known)
            if last and (windows := session.with_steps(MINIMUM_STEPS, ending=True)):
                with self._jointly():
                    record = self._close(session, windows)
                self._publish(trainer, record, step, last=True)
            elif self._plan.findings and known:
                found = self._findings.look(trainer, self._facts(), last=True)
                if not found.items() <= self._publisher.latest.items():  # no row of its own for what is known
                    self._publisher.publish(trainer, found, logging_step(trainer), window=False)
            if not self._guard.disabled:
                self._publisher.draw(trainer, step)
                conclude_final_values(trainer, pl_module, self._publisher.latest.keys())
        self._inspection.load_state_dict(inspected)
        self._end_session(states)
