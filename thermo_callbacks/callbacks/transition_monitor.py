"""Transition temperature by the entropy of outputs: between sets of validation data, and along training."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from thermo_callbacks.callbacks.arguments import check_callable
from thermo_callbacks.callbacks.compat import Callback, enter_this_fit, logging_step, plain_state
from thermo_callbacks.callbacks.joint_validation import JointValidation, merged, of_all_processes
from thermo_callbacks.callbacks.output.copies import Copies, LastValues
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.output.offers import expected_values, offer_again, offer_together
from thermo_callbacks.callbacks.validation import check_datasets, kind_of, places_of, read_outputs
from thermo_callbacks.catalog import logged_by
from thermo_callbacks.functional.transition import StateMoments, missing_reason, state_moments, temperature_estimate
from thermo_callbacks.functional.transition_state import (
    StateRecord,
    empty_state,
    with_samples,
)
from thermo_callbacks.probes.guard import Guard

Reference = Literal["first", "previous"]
OutputsFunction = Callable[[Any, Any, Any], tuple[Tensor, Tensor]]


class TransitionTemperatureMonitor(Callback):
    r"""Transition temperature of a model between data sets (type II) and along training, by the entropy of its outputs.

    .. math:: T = \frac{E_0 - E_1}{S_0 - S_1}

    with E the mean loss of a validation set and S the mean Shannon entropy of the predictions or the differential
    entropy of the residuals, as in :class:`~thermo_callbacks.metrics.transition.TransitionTemperature`. Unit: loss
    per nat. With the cross-entropy loss it is 1 between states in which the classifier is calibrated. Where the loss
    rises from set A to set B by more than the entropy does, T is above 1: the model is overconfident about B.

    It reads what ``validation_step`` returns, and adds no pass through the model. Nothing of the run changes; with
    several processes the samples of all count.

    **Logged values** (to all loggers, to ``trainer.callback_metrics``, and in :meth:`latest`), at the end of each
    validation but the sanity check, each with its ``_stderr``:

    - ``thermo/transition_temperature_shift``: same model, set A -> set B; only where there are both
    - ``thermo/transition_temperature_outputs``: set A, reference -> now. The reference is the first validation, or the
      previous one; at the first validation the value is NaN. For the initialised model as the reference, call
      ``trainer.validate`` with it before ``trainer.fit``, both with this callback.

    A value that does not exist is NaN, and a warning says why, once.

    Args:
        outputs_fn: ``(pl_module, batch, step_output) -> (losses, outputs)`` with losses ``[B]`` or their mean, and
            logits ``[B, C]`` or residuals ``[B]``. None: ``validation_step`` returns a dictionary with ``"losses"``
            ``[B]`` or ``"loss"``, and ``"logits"`` (``[B]`` and ``[B, 1]`` for a binary classifier) or ``"residuals"``.
        datasets: Sets A and B: positions among the validation dataloaders, or names where they are a dictionary.
        reference: ``"first"`` or ``"previous"`` validation.
        max_residuals: Residuals kept of each set, at least 100.

    Raises:
        ValueError: If an argument is out of its range.

    Example::

        monitor = TransitionTemperatureMonitor()
        trainer = Trainer(callbacks=[monitor])
        trainer.fit(module, train_loader, val_dataloaders=[loader_a, loader_b])
    """

    def __init__(
        self,
        *,
        outputs_fn: OutputsFunction | None = None,
        datasets: Sequence[int | str] = (0, 1),
        reference: Reference = "first",
        max_residuals: int = 16_384,
    ) -> None:
        super().__init__()
        meaning = "a function of the module, a batch and what the step returned that gives losses and outputs"
        check_callable("outputs_fn", outputs_fn, meaning)
        check_datasets(datasets)
        if reference not in get_args(Reference):
            raise ValueError(f"reference must be one of {', '.join(get_args(Reference))}, got {reference!r}")
        empty_state(max_residuals)  # refuses what it can't do
        self.outputs_fn, self.datasets, self.reference = outputs_fn, tuple(datasets), reference
        self.max_residuals = max_residuals
        arguments = {"datasets": self.datasets, "reference": reference, "max_residuals": max_residuals}
        self._state_key = f"thermo_callbacks.{type(self).__qualname__}{arguments!r}"
        self._model: weakref.ref[Any] | None = None
        self._copies, self._began = Copies(), False
        self._forget()

    def _forget(self) -> None:
        self._guard = Guard(type(self).__name__)
        self._joint = JointValidation()
        self._kept = LastValues()
        self._offered: dict[str, float] = {}  # to callbacks that monitor: NaN where a validation gave nothing
        self._states: list[StateRecord] = []  # sets A and B in the validation under way
        self._dimensions: int | None = None  # of its outputs
        self._places: dict[int, int] = {}  # dataloader to state: 0 for set A, 1 for set B
        self._refused = False  # a batch of this validation told no loss or no outputs
        self._record: StateRecord | None = None  # set A at the reference
        self._record_step = 0

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: one for each choice of arguments."""
        return self._state_key

    def latest(self) -> dict[str, float]:
        """Last value of each quantity; of a copy where a library trains with copies of its callbacks.

        Returns:
            Tag to value, as in the logs; empty before the first validation has ended.
        """
        return dict(self._copies.latest(self._kept, fitted=self._began))

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without what belongs to the model that is validated."""
        return {**plain_state(self), "_states": [], "_model": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run when a new one begins, but not a validation of the same model before it."""
        if stage == "fit":
            enter_this_fit(trainer)
        same = self._model is not None and self._model() is pl_module
        another = self._model is not None and not same
        # a checkpoint's state is loaded after this hook, so nothing of it is lost here
        if stage == "fit" and (another or (trainer.global_step == 0 and not (same and self._record_step == 0))):
            self._forget()
        self._model = weakref.ref(pl_module)
        self._guard.told.join(logger_output(trainer).told)
        self._began = True
        self._copies.begin_fit(self._kept)
        self._guard.quiet = not trainer.is_global_zero

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Learn whether all processes have something to validate, and offer all values."""
        self._joint.begin(trainer)
        self._offered = self._offered or expected_values(logged_by("TransitionTemperatureMonitor"))
        offer_together(trainer, self._offered)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Start with empty sums, in the sanity check too: what is missing shows before training does."""
        self._states, self._dimensions, self._refused = [], None, False
        self._places = places_of(self.datasets, trainer.val_dataloaders)
        if not self._guard.disabled:
            self._states = [empty_state(self.max_residuals, pl_module.device)] * 2

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take in losses and outputs of a batch."""
        if not self._states or self._refused or self._guard.disabled or dataloader_idx not in self._places:
            return
        # trainer.validate runs in inference mode, whose tensors no later step of a fit could use
        with self._guard.protect("taking in a validation batch"), torch.inference_mode(False):
            with self._guard.invisible(pl_module.device):
                found = read_outputs(outputs) if self.outputs_fn is None else self.outputs_fn(pl_module, batch, outputs)
                if found is not None:
                    place = self._places[dataloader_idx]
                    self._states[place] = with_samples(self._states[place], *found, dimensions=self._dimensions)
                    self._dimensions = found[1].ndim
                    return
            self._refused = True
            self._guard.warn_once(
                f"{self._guard.name} finds no losses and outputs: return a dictionary with 'losses' or 'loss' and with "
                f"'logits' or 'residuals' from validation_step, or give outputs_fn. It returned {kind_of(outputs)}.",
                topic="outputs",
            )

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Compute and log, while callbacks that act at the end of validation can still see it."""
        if trainer.sanity_checking:
            return
        if self._joint.ends_now(trainer):
            self._end(trainer, pl_module)
        else:  # Lightning may have emptied its store; not all processes need come by here
            offer_again(trainer, self._offered)

    def _end(self, trainer: Any, pl_module: Any) -> None:
        """End a validation, in all processes together."""
        if self._joint.absent:  # the other processes' samples are all there are
            self._states = [empty_state(self.max_residuals, pl_module.device)] * 2
            with self._guard.protect("looking at the validation data"):
                self._places = places_of(self.datasets, trainer.val_dataloaders)
        self._offered = expected_values(logged_by("TransitionTemperatureMonitor"))
        self._offered |= self._end_validation(trainer, pl_module)
        offer_together(trainer, self._offered)

    def _end_validation(self, trainer: Any, pl_module: Any) -> dict[str, float]:
        states, self._states = self._states, []
        able = bool(states) and not self._refused and not self._guard.disabled
        # a process that gave up alone would leave the others waiting for its sums
        verdict = self._joint.settle(trainer, able=able)
        if verdict == "unreadable" and able:
            self._guard.warn_once(f"{self._guard.name} has no value: another process could not read its samples.")
        record: dict[str, float] = {}
        if verdict != "go on":
            return record
        with torch.inference_mode(False), self._guard.invisible(pl_module.device):
            gathered = [of_all_processes(state, trainer) for state in states]
            with self._guard.protect("ending a validation"):
                self._kept.values = record = self._close([merged(parts) for parts in gathered], trainer.global_step)
                logger_output(trainer).values(trainer, record, logging_step(trainer))
        return record

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Let callbacks that act at the end of the epoch monitor the values."""
        if self._joint.ends_later(trainer):
            self._end(trainer, pl_module)
        else:
            offer_together(trainer, self._offered)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End a validation outside of training, where processes without a batch of it come by as well."""
        if stage == "validate" and self._joint.ends_later(trainer):
            self._end(trainer, pl_module)

    def _close(self, states: Sequence[StateRecord], step: int) -> dict[str, float]:
        """Values of a validation that has ended; and the next reference."""
        now, shifted = states
        record: dict[str, float] = {}
        if 1 in self._places.values():
            record |= self._values("shift", state_moments(now), state_moments(shifted))
        if self._record is None:
            record |= _tagged("outputs", math.nan, math.nan)
        else:
            reference = StateRecord(*(part.to(now.totals.device) for part in self._record))
            record |= self._values("outputs", state_moments(reference), state_moments(now))
        if self._record is None or self.reference == "previous":
            self._record, self._record_step = now, step
        return record

    def _values(self, name: str, first: StateMoments, second: StateMoments) -> dict[str, float]:
        estimate = temperature_estimate(first, second)
        values = _tagged(name, float(estimate.value), float(estimate.stderr))
        if estimate.value.isnan():
            tag = next(iter(values))
            self._guard.warn_once(f"no value (NaN) of {tag}: {missing_reason(first, second)}.", topic=tag)
        return values

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain Python values, so that it loads with ``weights_only``."""
        record = None
        if self._record is not None:
            record = {name: part.detach().cpu().clone() for name, part in self._record._asdict().items()}
        return {"version": 1, "latest": dict(self._kept.values), "record": record, "record_step": self._record_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was written, with the same reference."""
        with self._guard.protect("loading a checkpoint"):
            if state_dict["version"] != 1:
                raise ValueError(f"the checkpoint's state has version {state_dict['version']}, this package reads 1")
            self._kept.values, self._record_step = dict(state_dict["latest"]), int(state_dict["record_step"])
            self._offered = dict(self._kept.values)
            record = state_dict["record"]
            self._record = None if record is None else StateRecord(**record)


def _tagged(name: str, value: float, stderr: float) -> dict[str, float]:
    tag = f"thermo/transition_temperature_{name}"
    return {tag: value, f"{tag}_stderr": stderr}
