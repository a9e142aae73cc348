"""Collector of the most curved directions: sharpness, stability margin, and what the windows watch next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.agreement import agree, several_processes
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep, check_trained
from thermo_callbacks.callbacks.extra_passes.schedule import ExtraPassSettings, ReplayingCollector
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.statistics import widening
from thermo_callbacks.probes.curvature.eigenvectors import Directions, EigenvectorProbe
from thermo_callbacks.probes.parameters.optimizers import MobilityOf
from thermo_callbacks.probes.parameters.preconditioning import Preconditioning, read_preconditioning
from thermo_callbacks.probes.parameters.projections import WatchedDirections
from thermo_callbacks.probes.real_numbers import as_real, real_count
from thermo_callbacks.probes.replay import SKIPPED

Layers = Mapping[str, Sequence[nn.Parameter]]
Watched = tuple[Sequence[nn.Parameter], WatchedDirections]

COUNT = 5
"""Directions that are found and watched."""
_MISSING = "the training step skipped a batch, or its curvature is not finite."
_FORGETTING = 0.7  # weight of the squared deviations of the pass before: they grow while the loss falls
_PER_PASS = 2.0  # independent deviations of a pass: the directions share two batches, and the first counts most
_LARGEST_STATE = 2**25  # bytes of directions that go into a checkpoint


class SharpnessCollector(ReplayingCollector):
    """Finds the most curved directions on the step's own batch, and measures their curvature on the batch after it.

    The mean of both curvatures is free of the bias of either. ``offer`` takes the directions for the windows to come.
    """

    key = "sharpness"

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        settings: ExtraPassSettings,
        *,
        layers: Callable[[], Layers],
        measured: MeasuredStep,
        mobility: MobilityOf,
        offer: Callable[[Sequence[nn.Parameter], WatchedDirections], None],
    ) -> None:
        super().__init__(trainer, pl_module, settings, "measurement of sharpness")
        self._layers, self._step, self._offer = layers, measured, offer
        self._mobility_of = mobility
        measured.keeps_batches = True
        self._seed = settings.seed
        self._probe: EigenvectorProbe
        self._signature: tuple[int, ...] = ()
        self._starts: dict[str, Tensor] = {}  # directions of the last pass, for each Hessian
        self._passes = 0
        self._deviation = self._weight = 0.0  # sums of squared relative deviations between batches, and of weights

    def before_step(self, optimizer: Optimizer, scale: Callable[[], Any]) -> None:
        """Keep parameters until the next batch."""
        self._step.keep(scale)

    def after_step(self, batch: Any, batch_idx: int) -> Scalars:
        """Measure at the parameters that were kept, on both batches."""
        record: Scalars = {}
        watched: Watched | None = None
        state: dict[str, Any] | None = None
        with self.guard.protect("measuring sharpness"):
            if not self.guard.disabled:
                record, watched = self._measure(batch, batch_idx)
                state = None if watched is None else watched[1].state_dict()
        if several_processes(self._trainer):
            if not agree(self.guard, self._trainer.strategy.root_device):
                return {}
            state = self._trainer.strategy.broadcast(state)
        with self.guard.protect("handing over directions"):
            self._hand_over(watched, state)
        return record

    def _measure(self, batch: Any, batch_idx: int) -> tuple[Scalars, Watched | None]:
        """Values of the pass, and directions to watch."""
        parameters = self._prepare()
        seen, reason = self._preconditioning(parameters)
        hessians: dict[str, tuple[Tensor | None, Tensor, int]] = {}  # root, shift and how many directions
        if seen is None or not seen.uniform:
            hessians["plain"] = (None, as_real(parameters[0]).detach().new_zeros(()), 1)
        if seen is not None:
            hessians["preconditioned"] = (seen.root(parameters), seen.coupled_row(parameters), COUNT)
        roots, shifts, counts = zip(*hessians.values(), strict=True)
        own = self._step.batches[0]
        found = self._probe.directions(
            self._step.values,
            (own.batch, own.batch_idx),
            (batch, batch_idx),
            step=self._passes,
            roots=roots,
            shifts=shifts,
            starts=[self._starts.get(name) for name in hessians],
            counts=counts,
        )
        self._passes += 1
        if found is None or not all(map(_finite, found)):
            self.guard.note_once("no value (NaN) for thermo/sharpness at an extra pass: " + _MISSING, topic="skipped")
            return _nothing("sharpness") | _nothing("stability_margin"), None
        self._starts = {name: each.vectors for name, each in zip(hessians, found, strict=True)}
        self._note_deviation(found[-1])
        if seen is None:
            return self._sharpness(found[0], None) | self._margin(None, math.nan, reason), None
        decays = seen.decoupled_along(found[-1].vectors, parameters)
        record = self._sharpness(found[0], seen if seen.uniform else None)
        record |= self._margin(found[-1], seen.threshold(float(decays[0])), reason)
        return record, (parameters, self._watched(found[-1], seen, decays, parameters))

    def _prepare(self) -> list[nn.Parameter]:
        """Parameters that are trained now, and a probe for them."""
        layers = self._layers()
        check_trained(layers)
        parameters = [parameter for owned in layers.values() for parameter in owned]
        signature = tuple(map(id, parameters))
        if signature != self._signature:  # layers thaw and freeze
            self._probe = EigenvectorProbe(self._replay, layers, seed=self._seed, warn_once=self._warn_once)
            self._signature = signature
            size = sum(real_count(parameter) for parameter in parameters)
            device = parameters[0].device
            self._starts = {name: rows.to(device) for name, rows in self._starts.items() if rows.shape[1] == size}
        return parameters

    def _preconditioning(self, parameters: Sequence[nn.Parameter]) -> tuple[Preconditioning | None, str]:
        """How the one optimizer multiplies gradients, if that is known; why there is no edge of stability, if so."""
        if len(self._trainer.optimizers) != 1:
            return None, "several optimizers step, and each has an edge of its own"
        seen = read_preconditioning(self._trainer.optimizers[0], parameters, lambda tensor: tensor, self._mobility_of)
        return seen if seen.known else None, seen.reason

    def _note_deviation(self, found: Directions) -> None:
        """Take in how far the curvatures of both batches lie apart, against the largest."""
        largest = max(float(found.own[0]), float(found.fresh[0]))
        if largest > 0.0:
            squares = (found.own - found.fresh).square()
            # the first direction deviates by chance more or less than the others do: the larger of both errs less often
            deviation = max(float(squares.mean()), float(squares[0])) / largest**2
            self._deviation = _FORGETTING * self._deviation + deviation
            self._weight = _FORGETTING * self._weight + 1.0

    @property
    def _relative(self) -> float:
        """Root of the mean squared deviation between two batches over the largest curvature, widened for being few.

        So that an interval of two errors covers the truth as often as it says: few passes tell the error but roughly.
        """
        if not self._weight:
            return math.nan
        oldest = 1.0 - self._weight * (1.0 - _FORGETTING)  # weight of what was before the first pass
        effective = self._weight**2 * (1.0 - _FORGETTING**2) / (1.0 - oldest**2)
        return widening(_PER_PASS * effective) * math.sqrt(self._deviation / self._weight)

    def _sharpness(self, found: Directions, uniform: Preconditioning | None) -> Scalars:
        """Largest eigenvalue of the plain Hessian; with one preconditioner for all, that of the other rescaled."""
        value, error = _middle(found), self._error(found)
        if uniform is not None:
            factor = float(uniform.preconditioner[0])
            value, error = value / factor - uniform.coupled_decay[0], error / factor
        return {"thermo/sharpness": value, "thermo/sharpness_stderr": error}

    def _margin(self, found: Directions | None, threshold: float, reason: str) -> Scalars:
        """Largest curvature that the optimizer sees, over that at which it becomes unstable."""
        if found is None or math.isnan(threshold):
            reason = reason or "that of Nesterov's look-ahead with decoupled weight decay is not known here"
            self.guard.note_once(f"no value (NaN) for thermo/stability_margin: {reason}.", topic="margin")
            return _nothing("stability_margin")
        margin, error = _middle(found) / threshold, self._error(found) / threshold
        return {"thermo/stability_margin": margin, "thermo/stability_margin_stderr": error}

    def _error(self, found: Directions) -> float:
        """Standard error of the largest eigenvalue: between batches, and of an eigenvector that is not quite one."""
        first = float(found.residuals[0])
        gap = float(found.own[0] - found.own[1]) if len(found.own) > 1 else 0.0
        unfinished = first**2 / max(gap, first) if first else 0.0  # as Temple bounds it
        return math.hypot(0.5 * self._relative * _middle(found), unfinished)

    def _watched(
        self, found: Directions, seen: Preconditioning, decays: Tensor, parameters: Sequence[nn.Parameter]
    ) -> WatchedDirections:
        """Directions for the windows to come, with the mean of both batches' curvatures."""
        root = seen.root(parameters)
        curvatures = 0.5 * (found.own + found.fresh).detach().cpu().double()
        error = 0.5 * self._relative * max(0.0, float(curvatures.max()))
        return WatchedDirections(
            found.vectors / root,
            found.vectors * root,
            curvatures,
            torch.full_like(curvatures, error),
            decays.cpu().double(),
            seen.motion,
            seen.rate,
        )

    def _hand_over(self, watched: Watched | None, state: dict[str, Any] | None) -> None:
        """Offer the first process's directions, in all of them: each has found its own, on batches of its own."""
        if state is None:
            return
        if several_processes(self._trainer):
            parameters = [parameter for owned in self._layers().values() for parameter in owned]
            watched = parameters, WatchedDirections.of_state(state, parameters[0].device)
        if watched is not None:
            self._offer(*watched)

    def _warn_once(self, topic: str, message: str) -> None:
        (self.guard.note_once if topic == SKIPPED else self.guard.warn_once)(message, topic=topic)

    def close(self) -> None:
        """Keep what the next fit begins with on the CPU."""
        self._starts = {}

    def state_dict(self) -> dict[str, Any]:
        """Deviations between batches, and the directions where they are small: else the next pass finds them anew."""
        starts = {name: rows.detach().cpu().clone() for name, rows in self._starts.items()}
        if sum(rows.numel() * rows.element_size() for rows in starts.values()) > _LARGEST_STATE:
            starts = {}
        deviation = [self._deviation, self._weight]
        return {"passes": self._passes, "deviation": deviation, "starts": starts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._passes, (self._deviation, self._weight) = state["passes"], state["deviation"]
        self._starts = dict(state["starts"])


def _middle(found: Directions) -> float:
    """Mean of the largest curvature on the batch that its direction fits too well, and on one that it knows not of."""
    return 0.5 * float(found.own[0] + found.fresh[0])


def _finite(found: Directions) -> bool:
    return bool(torch.isfinite(found.own).all() and torch.isfinite(found.fresh).all())


def _nothing(name: str) -> Scalars:
    return {f"thermo/{name}": math.nan, f"thermo/{name}_stderr": math.nan}
