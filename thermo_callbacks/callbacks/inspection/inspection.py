"""What a run's batches, loss, modules and optimizers say besides its steps: values of windows, and facts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.callbacks.windows.session import Session
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.batches import batch_likeness, input_shift
from thermo_callbacks.probes.guard import Guard, no_trace
from thermo_callbacks.probes.inspection.batches import BatchMoments, BatchProbe
from thermo_callbacks.probes.inspection.kept_gradients import gradient_norm, kept_share
from thermo_callbacks.probes.inspection.loss_graph import read_loss_graph
from thermo_callbacks.probes.inspection.modules import (
    bounded_activations,
    dropout_rates,
    frozen_between,
    normalises_first,
    uncalibrated_norms,
)
from thermo_callbacks.probes.inspection.optimizers import epsilon_share, layer_rates, learning_rate
from thermo_callbacks.probes.told import Told

LOSSES = 3
"""Backward passes whose loss is looked at: by hand, a step may have several."""


class Inspection:
    """Looks at what the watched steps are given, and at the constants of the run when a window ends.

    Its guard is its own: a fault here is none of the measurements.
    """

    def __init__(self, name: str, told: Told | None = None) -> None:
        self._guard = Guard(f"The inspection of {name}", told=told)
        self.facts: dict[str, Any] = {}  # what is no value of a window, for the configuration of the run
        self._probe = BatchProbe()
        self._reference: Tensor | None = None  # mean of each feature in the first window
        self._reference_samples = 0
        self._losses = 0
        self._kept: list[Tensor | None] = []  # norms of the gradients before a backward pass and after, once a window
        self._waiting = False  # for the end of that backward pass

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without tensors of the running step."""
        return {**self.__dict__, "_kept": [], "_waiting": False}

    def start(self, session: Session) -> None:
        """Training starts: note what modules and optimizers are."""
        if self._guard.disabled:
            return
        with self._guard.protect("reading optimizers and modules"):
            module = session.pl_module
            self._note("layer_rates", layer_rates(session.trainer.optimizers, session.layers()))
            self._note("dropout", dropout_rates(module))
            self._note("frozen_between", frozen_between(module))
            self._note("bounded_activations", bounded_activations(module))
            self._note("normalises_first", normalises_first(module))

    def see_batch(self, session: Session, batch: Any) -> None:
        """Take in a batch of a step that is watched."""
        if self._guard.disabled or not session.measuring:
            return
        with self._guard.protect("reading a batch"), no_trace(session.pl_module.device.type):
            self._probe.add(batch)

    def before_backward(self, session: Session, loss: Any) -> None:
        """Look at a loss, and, once a window, at the gradients that are there before its own."""
        look_at_kept = not self._kept and session.measuring and session.begins_step
        if self._guard.disabled or not (self._losses < LOSSES or look_at_kept):
            return
        automatic = session.pl_module.automatic_optimization
        look_at_kept = look_at_kept and automatic
        with self._guard.protect("reading a loss"), no_trace(session.pl_module.device.type):
            if self._losses < LOSSES and isinstance(loss, Tensor):
                self._losses += 1
                graph = read_loss_graph(loss, divided=automatic)
                self._note("loss_is_summed", graph.summed)
                self._note("probabilities_as_logits", graph.squashed)
            if look_at_kept and not session.sharded:
                self._kept, self._waiting = [gradient_norm(_parameters(session))], True

    def after_backward(self, session: Session) -> None:
        """Look at the gradients that a backward pass has added to."""
        if self._waiting:
            self._waiting = False
            with self._guard.protect("reading gradients"), no_trace(session.pl_module.device.type):
                before = self._kept[0]
                self._kept.append(None if before is None else gradient_norm(_parameters(session)))

    def _note(self, name: str, fact: Any) -> None:
        """Keep a fact that is there, once it was seen."""
        if fact:
            self.facts[name] = fact

    def close(self, session: Session) -> Scalars:
        """A window has ended: its values."""
        record: Scalars = {}
        if self._guard.disabled:
            return record
        with self._guard.protect("reading optimizers and modules"):
            trainer, module = session.trainer, session.pl_module
            record = {"thermo/learning_rate": learning_rate(trainer.optimizers)}
            if not math.isnan(share := epsilon_share(trainer.optimizers) if not session.sharded else math.nan):
                record["thermo/epsilon_share"] = share
            # not at the start: a module may be put into eval mode there, and one that trains has seen a batch by now
            self._note("uncalibrated_norms", uncalibrated_norms(module))
            self.facts.pop("frozen_between", None)  # layers thaw
            self._note("frozen_between", frozen_between(module))
            record |= self._of_gradients()
            if (moments := self._probe.take()) is not None:
                record |= self._of_batches(moments)
        return record

    def _of_gradients(self) -> Scalars:
        kept, self._kept = self._kept, []
        if len(kept) < 2:
            return {}
        before, after = kept
        return {"thermo/kept_gradient": 0.0 if before is None else kept_share(before, after)}

    def _of_batches(self, moments: BatchMoments) -> Scalars:
        means, variances = moments.means, moments.variances
        count = len(means) * moments.samples
        record = {"thermo/batch_likeness": batch_likeness(means, variances, moments.samples)}
        if bool(moments.inputs.any()):
            own = means[:, moments.inputs]
            finite = torch.isfinite(own).all(1)
            record["thermo/broken_batches"] = 1.0 - float(finite.double().mean())
            squares = own[finite].square() + variances[finite][:, moments.inputs].nan_to_num()
            record["thermo/input_size"] = float(squares.mean().sqrt())
        mean = means[torch.isfinite(means).all(1)].mean(0)
        if self._reference is None or len(self._reference) != len(mean):
            self._reference, self._reference_samples = mean, count
        sizes = {"samples": float(count), "reference_samples": float(self._reference_samples)}
        record["thermo/input_shift"] = input_shift(means, variances, self._reference, **sizes)
        return {tag: value for tag, value in record.items() if not math.isnan(value)}

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: CPU tensors and plain values."""
        return {
            "facts": dict(self.facts),
            "probe": self._probe.state_dict(),
            "reference": None if self._reference is None else self._reference.clone(),
            "reference_samples": self._reference_samples,
            "losses": self._losses,
            "kept": [None if each is None else each.cpu().clone() for each in self._kept],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint was written; an empty state is a fresh start."""
        if not state:
            return
        self.facts, self._reference = dict(state["facts"]), state["reference"]
        self._reference_samples, self._losses = int(state["reference_samples"]), int(state["losses"])
        self._kept = list(state["kept"])
        self._probe.load_state_dict(state["probe"])


def _parameters(session: Session) -> list[nn.Parameter]:
    return [parameter for owned in session.layers().values() for parameter in owned]
