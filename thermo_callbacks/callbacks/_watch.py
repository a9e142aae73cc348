"""One optimizer under watch: which steps are read, what momentum they had, and when a window is complete."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.functional import MomentumResponse
from thermo_callbacks.metrics._ledger import EnergyLedger
from thermo_callbacks.metrics._window import CHUNK, StreamingWindow
from thermo_callbacks.metrics._window_statistics import WindowStatistics
from thermo_callbacks.probes.coordinates import CoordinateProbe
from thermo_callbacks.probes.optimizers import gradient_sign, group_momentum, parameter_mobility

MAXIMUM_REST = 19
"""Windows in the longest rest that is taken without being asked for."""

Layers = Mapping[str, Sequence[nn.Parameter]]


class OptimizerWatch:
    """Bursts of watched steps of one optimizer: ``window`` steps, then a rest that costs nothing.

    By default the rest is as long as the run so far, up to 19 windows: a run changes fastest at its start, and the
    cost of a watched step, some percent of a step of a small network, is borne by one step in 20 later.

    Args:
        optimizer: The optimizer.
        layers: Layers that it trains, all on one device.
        window: Steps in a window.
        rest: Steps between two windows; None for the growing rest.
        sample: Coordinates watched in a layer; None for all.
        seed: Seed of the choice of coordinates.
    """

    def __init__(
        self, optimizer: Optimizer, layers: Layers, *, window: int, rest: int | None, sample: int | None, seed: int
    ) -> None:
        self.optimizer = optimizer
        self.ledger = EnergyLedger()
        self.last: WindowStatistics | None
        self.skipped = 0  # steps that never happened, or whose gradient was not finite
        self._window, self._rest, self._sample, self._seed = window, rest, sample, seed
        self._resting = 0  # steps of rest still to come; the first window starts with the first step
        self._steps = 0
        self._excess = 0
        self._bridge = 0  # unwatched steps before the window under way
        self._pending: int | None = None  # batch whose step is about to happen
        self._reading = False
        self.rebuild(layers)

    def rebuild(self, layers: Layers) -> None:
        """Watch other layers, from an empty window on.

        Args:
            layers: Layers that the optimizer trains, all on one device.
        """
        self.last = None
        self.probe = CoordinateProbe(layers, sample=self._sample, seed=self._seed, chunk=CHUNK)
        self.stream = StreamingWindow(
            self.probe.chunk_layers,
            len(self.probe.names),
            length=self._window,
            device=self.probe.device,
            dtype=self.probe.dtype,
            sampled=self.probe.sampled,
        )
        self._losses = torch.full((self._window,), torch.nan, device=self.probe.device, dtype=self.probe.dtype)
        watched = {parameter for owned in layers.values() for parameter in owned}
        self._groups = {
            parameter: group
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter in watched
        }
        signs = {parameter: gradient_sign(group) for parameter, group in self._groups.items()}
        same = len(set(signs.values())) == 1
        # some groups may climb while others descend: then the loss is no energy that all of them lower
        self._energy_sign = next(iter(signs.values())) if same else math.nan
        self._gradient_sign: Tensor | float = self.probe.spread(lambda parameter, _: signs[parameter])
        self._momentum: Tensor | float = 0.0
        self._response: Tensor | float = 1.0
        self._responses: dict[nn.Parameter, MomentumResponse] = {}
        self._momentum_key: tuple[MomentumResponse, ...] = ()
        self._mobility: Tensor | float = math.nan
        self._mobility_key: tuple[Any, ...] = ()
        self._update_momentum()

    @property
    def measuring(self) -> bool:
        """Whether the next step is read."""
        return not self._resting and not self.stream.full

    @property
    def pending(self) -> bool:
        """Whether a step was announced and has not happened yet."""
        return self._pending is not None

    def announce(self, batch: int) -> bool:
        """A step is about to happen.

        Args:
            batch: Number of the batch: LBFGS evaluates its closure several times in one, and the first one counts.

        Returns:
            Whether :meth:`read_before` is to be called.
        """
        if self._pending == batch:
            return False
        if self._pending is not None:  # announced and never done: the gradient scaler skipped it
            self.skipped += 1
        self._pending = batch
        self._reading = False
        return self.measuring

    def read_before(self, scale: Tensor | float) -> None:
        """Read parameters and gradients.

        Args:
            scale: Factor that makes the gradients those of the mean loss.
        """
        self._reading = self.probe.before_step(scale * self._gradient_sign)

    def arrive(self) -> bool:
        """The step has happened.

        Returns:
            Whether :meth:`read_after` is to be called.
        """
        self._pending = None
        self._steps += 1
        if self._resting:
            self._resting -= 1
        elif self.stream.full:  # more steps in the batch that filled the window
            self._excess += 1
        return self._reading

    def read_after(self) -> None:
        """Read the displacement, and take the step into the window."""
        self._reading = False
        if self.stream.steps == 0:
            self._losses.fill_(torch.nan)
        self._update_momentum()
        self.probe.after_step()
        self._update_mobility()
        self.stream.update(self.probe.rows, self._momentum, self._response, self._mobility)

    def record_loss(self, loss: Tensor) -> None:
        """Loss of the step that was read last.

        Args:
            loss: Mean loss of its batch, a scalar.
        """
        self._losses[self.stream.steps - 1] = loss

    def close(self, batch_size: float) -> WindowStatistics:
        """End the window, enter it into the ledger, and rest.

        Args:
            batch_size: Samples behind each gradient, NaN if unknown.

        Returns:
            The window's statistics.
        """
        statistics = self.peek(batch_size)
        self.skipped += statistics.skipped
        self.ledger.add(
            self.probe.names,
            statistics.gradient_displacement * statistics.sample_scale,
            unwatched=self._bridge,
            energy=self.energy(),
        )
        self.last = statistics
        self.stream.clear()
        self.probe.forget_missing()
        self._resting = min(MAXIMUM_REST * self._window, self._steps) if self._rest is None else self._rest
        self._bridge = self._excess + self._resting
        self._excess = 0
        return statistics

    def peek(self, batch_size: float) -> WindowStatistics:
        """Statistics of the window so far.

        Args:
            batch_size: Samples behind each gradient, NaN if unknown.

        Returns:
            The statistics; the window goes on.
        """
        watched, sizes = self.probe.coordinates(self.stream.steps)
        return self.stream.statistics(
            watched,
            sizes,
            self.probe.mean_by_layer(lambda parameter: self._responses[parameter].momentum),
            batch_size=batch_size,
        )

    def losses(self) -> Tensor:
        """Loss of each step of the window so far, on the host; NaN where it is not known."""
        return self._losses[: self.stream.steps].cpu().double()

    def energy(self) -> float:
        """Mean loss of the window so far, minus it where the optimizer climbs; NaN if no step's loss is known."""
        losses = self.losses()
        finite = losses[torch.isfinite(losses)]  # a step that was left out for its gradient has no finite loss either
        return self._energy_sign * float(finite.mean()) if finite.numel() else math.nan

    def _update_momentum(self) -> None:
        """Read the momentum of each group: schedules may change it from step to step."""
        key = tuple(group_momentum(self.optimizer, group) for group in self.optimizer.param_groups)
        if key == self._momentum_key:
            return
        self._momentum_key = key
        responses = {
            parameter: response
            for response, group in zip(key, self.optimizer.param_groups, strict=True)
            for parameter in group["params"]
        }
        self._responses = {parameter: responses[parameter] for parameter in self._groups}
        self._momentum = self.probe.spread(lambda parameter, _: self._responses[parameter].momentum)
        self._response = self.probe.spread(lambda parameter, _: self._responses[parameter].factor)

    def _learning_key(self) -> tuple[Any, ...]:
        return (self._momentum_key, *(group.get("lr") for group in self.optimizer.param_groups))

    def _update_mobility(self) -> None:
        """Read the displacement per unit of gradient, at steps 1, 2, 4, 8 ... of a window and when a number changes.

        A preconditioner is read coordinate by coordinate, which costs as much as reading the parameters; it settles
        slowly, except at the start of a run.
        """
        key, step = self._learning_key(), self.stream.steps + 1
        if step & (step - 1) and (key == self._mobility_key or isinstance(self._mobility, Tensor)):
            return
        self._mobility_key = key
        self._mobility = self.probe.spread(
            lambda parameter, watch: parameter_mobility(self.optimizer, self._groups[parameter], parameter, watch)
        )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs for identical later values: tensors on the CPU, numbers, strings, lists, dicts."""
        return {
            "names": list(self.probe.names),
            "chunk_layers": self.probe.chunk_layers.clone(),
            "steps": self._steps,
            "resting": self._resting,
            "bridge": self._bridge,
            "skipped": self.skipped + self.pending,  # a step that is still pending when its batch has ended
            "mobility": self._mobility.cpu().clone() if isinstance(self._mobility, Tensor) else self._mobility,
            "losses": self._losses.cpu().clone(),
            "missing": self.probe.missing_counts(),
            "stream": self.stream.state_dict(),
            "ledger": self.ledger.state_dict(),
            "last": None if self.last is None else dict(vars(self.last)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on where :meth:`state_dict` was taken.

        Args:
            state: What :meth:`state_dict` returned.

        Returns:
            False if it belongs to other layers, another sample or another window, or was written by a version of this
            package that kept other sums, and was left alone.
        """
        own = self.probe.chunk_layers
        same_layers = state["names"] == list(self.probe.names) and torch.equal(state["chunk_layers"], own)
        same_parameters = len(state["missing"]) == len(self.probe.missing_counts())
        if not same_layers or not same_parameters or len(state["losses"]) != self._window or not _same_sums(state):
            return False
        self._steps, self._resting = state["steps"], state["resting"]
        self._bridge, self.skipped = state["bridge"], state["skipped"]
        mobility = state["mobility"]
        self._mobility = mobility.to(self.probe.device) if isinstance(mobility, Tensor) else mobility
        self._mobility_key = self._learning_key()
        self._losses.copy_(state["losses"])
        self.probe.restore_missing(state["missing"])
        self.stream.load_state_dict(state["stream"])
        self.ledger.load_state_dict(state["ledger"])
        self.last = None if state["last"] is None else WindowStatistics(**state["last"])
        return True


def _same_sums(state: dict[str, Any]) -> bool:
    """Whether a watch's state holds the sums that this version keeps."""
    stream, last = state["stream"], state["last"]
    return (not stream or set(stream) == StreamingWindow.state_keys()) and (
        last is None or set(last) == {field.name for field in fields(WindowStatistics)}
    )
