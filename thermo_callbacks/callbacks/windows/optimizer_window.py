"""One optimizer under watch: which steps are read, what momentum they had, and when a window is complete."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.windows.dynamics import Dynamics
from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance, RateRecord
from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.callbacks.windows.schedule import WindowSchedule
from thermo_callbacks.functional.energy import heat_by_step
from thermo_callbacks.functional.window.layer_sums import LayerSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK, StreamingWindow
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import gradient_sign, group_rate
from thermo_callbacks.probes.sharding import part_of

Layers = Mapping[str, Sequence[nn.Parameter]]


class OptimizerWindow(WindowSchedule):
    """Windows of watched steps of one optimizer: ``window`` steps, then a pause that costs nothing.

    All layers lie on one device; ``sample`` coordinates are watched in each, all if None. Where parameters are
    sharded, the window's sums have to be brought together (:meth:`own_share`, :meth:`accept`) before it is closed or
    looked into.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        layers: Layers,
        *,
        window: int,
        steps_between_windows: int | None,
        sample: int | None,
        seed: int,
        sharded: bool = False,
    ) -> None:
        super().__init__(window, steps_between_windows)
        self.optimizer = optimizer
        self.balance = EnergyBalance()
        self._rates_before, self._rates_after = RateRecord(), RateRecord()
        self._watched_rates: list[float] = []
        self.last: WindowStatistics | None
        self._sharded, self._sample, self._seed = sharded, sample, seed
        self.rebuild(layers)

    def rebuild(self, layers: Layers) -> None:
        """Watch these layers, all on one device, from an empty window on."""
        self.last = None
        self.taken = 0
        self._shared: tuple[LayerSums, ResponseSums, Tensor] | None = (
            None  # what all processes have seen of the open window
        )
        parts = None
        if self._sharded:
            parts = {parameter: part_of(parameter, name) for name, owned in layers.items() for parameter in owned}
        self.probe = CoordinateProbe(layers, sample=self._sample, seed=self._seed, chunk=CHUNK, parts=parts)
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
        groups = {
            parameter: group
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter in watched
        }
        signs = {parameter: gradient_sign(group) for parameter, group in groups.items()}
        same = len(set(signs.values())) == 1
        # some groups may climb while others descend: then the loss is no energy that all of them lower
        self._energy_sign = next(iter(signs.values())) if same else math.nan
        self._gradient_sign: Tensor | float = self.probe.spread(lambda parameter, _: signs[parameter])
        self._dynamics = Dynamics(self.optimizer, self.probe, groups, length=self._window, sharded=self._sharded)

    def read_before(self, scale: Tensor | float) -> None:
        """Read parameters and gradients; ``scale`` makes the gradients those of the mean loss."""
        self._reading = self.probe.before_step(scale * self._gradient_sign)

    def pass_over(self) -> None:
        """Read nothing before a step that other processes read: the step counts all the same."""
        self._reading = self.probe.has_gradient

    def arrive(self) -> bool:
        """The step has happened: whether :meth:`read_after` is to be called."""
        self._shared = None
        read = super().arrive()
        rate = group_rate(self.optimizer.param_groups[0])
        if read:
            self._watched_rates.append(rate)
        else:  # before the window, or in the batch that filled it
            (self._rates_after if self.taken else self._rates_before).add(rate)
        return read

    def read_after(self) -> None:
        """Read the displacement, and take the step into the window."""
        self._reading = False
        if self.stream.steps == 0:
            self._losses.fill_(torch.nan)
        dynamics = self._dynamics
        self.probe.after_step()
        dynamics.take_step(self.stream.steps + 1)
        self.stream.update(self.probe.rows, dynamics.momentum, dynamics.response, dynamics.mobility)

    def record_loss(self, loss: Tensor) -> None:
        """Keep the mean loss of the batch of the step that was read last."""
        self._losses[self.stream.steps - 1] = loss

    def own_share(self, *, able: bool) -> list[Tensor]:
        """Sums of this process's part of the open window and its losses, float64 on the CPU; zeros if not able."""
        if not able:
            nothing = self.stream.no_sums(self.taken), self._dynamics.no_response_sums(self.taken)
            return [*nothing[0], *nothing[1], torch.zeros(self.taken, dtype=torch.float64)]
        sums = self.stream.layer_sums(self._dynamics.momentum_by_layer())
        return [*sums, *self._dynamics.response_sums(), self._own_losses()]

    def accept(self, shares: Sequence[Tensor], processes: int) -> None:
        """Go on with the sums over all processes of what each gave as :meth:`own_share`."""
        series, flags, terms, *response, losses = shares
        # a gradient that was not finite in one process's part was not finite
        flags = (flags > processes - 0.5).to(flags)
        self._shared = (LayerSums(series, flags, terms), ResponseSums(*response), losses / processes)

    def close(self, batch_size: float) -> None:
        """End the window, enter it into the energy balance, and pause; ``batch_size`` is NaN if unknown."""
        statistics = self.peek(batch_size, final=True)
        self.skipped += statistics.skipped
        heat = heat_by_step(statistics)
        self.balance.add(
            self.probe.names,
            heat,
            unwatched=self._bridge,
            energy=self.energy(),
            rates=self._watched_rates,
            unwatched_rates=self._rates_before.rates,
        )
        self._rates_before, self._rates_after, self._watched_rates = self._rates_after, RateRecord(), []
        self.last = statistics
        self.stream.clear()
        self._shared = None
        self.probe.forget_missing()
        self._pause()

    def peek(self, batch_size: float, *, final: bool = False) -> WindowStatistics:
        """Statistics of the window so far, which goes on unless ``final``; ``batch_size`` is NaN if unknown."""
        watched, sizes = self.probe.coordinates(self.stream.steps)
        momentum = self._dynamics.momentum_by_layer()
        if self._shared is None:
            sums, response = self.stream.layer_sums(momentum), self._dynamics.response_sums()
        else:
            sums, response, _ = self._shared
        statistics = sums.statistics(watched, sizes, momentum, batch_size=batch_size)
        return self._dynamics.judge(response, statistics, final=final)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the optimizer's response left values of the last window unknown."""
        name = type(self.optimizer).__name__
        return tuple(f"{name} leaves temperatures unknown: {reason}" for reason in self._dynamics.responses.reasons)

    def watches(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter is one of those that are watched here."""
        return id(parameter) in self.probe.signature

    def mobility_of(self, parameter: nn.Parameter, watch: Callable[[Tensor], Tensor]) -> Tensor | float:
        """Mobility of a parameter now, of the coordinates that ``watch`` picks; NaN where it is not known."""
        return self._dynamics.mobility_of(parameter, watch)

    def losses(self) -> Tensor:
        """Loss of each step of the window so far, ``[steps]`` on the host; NaN where it is not known."""
        # that of this process's samples, or of all processes' where parameters are sharded
        return self._own_losses() if self._shared is None else self._shared[2]

    def _own_losses(self) -> Tensor:
        return self._losses[: self.stream.steps].cpu().double()

    def energy(self) -> float:
        """Mean loss of the window so far, minus it where the optimizer climbs; NaN if no step's loss is known."""
        losses = self.losses()
        finite = losses[torch.isfinite(losses)]  # a step that was left out for its gradient has no finite loss either
        return self._energy_sign * float(finite.mean()) if finite.numel() else math.nan

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs for identical later values: tensors on the CPU, numbers, strings, lists, dicts."""
        mobility = math.nan if self._sharded else self._dynamics.mobility
        return {
            "names": list(self.probe.names),
            "chunk_layers": self.probe.whole_chunk_layers.clone(),
            "steps": self._steps,
            "paused": self._paused,
            "bridge": self._bridge,
            "skipped": self.skipped + self.pending,  # a step that is still pending when its batch has ended
            "mobility": mobility.cpu().clone() if isinstance(mobility, Tensor) else mobility,
            "response": self._dynamics.state_dict(open_window=not self._sharded),
            "losses": self._losses.cpu().clone(),
            "missing": self.probe.missing_counts(),
            # a checkpoint holds what the first process knows: of a sharded window, only how long it was
            "stream": {} if self._sharded else self.stream.state_dict(),
            "interrupted": self.taken if self._sharded else 0,
            "energy_balance": self.balance.state_dict(),
            "rates": [self._rates_before.state_dict(), self._rates_after.state_dict()],
            "watched_rates": [] if self._sharded else list(self._watched_rates),
            "last": None if self.last is None else dict(vars(self.last)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on where :meth:`state_dict` was taken; False if that does not fit, and was left alone."""
        # it may be that of other layers, another sample or another window, or of a version that kept other sums
        own = self.probe.whole_chunk_layers
        same_layers = state["names"] == list(self.probe.names) and torch.equal(state["chunk_layers"], own)
        same_parameters = len(state["missing"]) == len(self.probe.missing_counts())
        if not same_layers or not same_parameters or len(state["losses"]) != self._window or not _same_sums(state):
            return False
        self._steps, self._paused = state["steps"], state["paused"]
        self._bridge, self.skipped = state["bridge"], state["skipped"]
        self._dynamics.restore(state["mobility"], state["response"])
        self._losses.copy_(state["losses"])
        stream = state["stream"]
        self.interrupted = state.get("interrupted", 0)
        if self._sharded and stream:  # of a run in which each process held the whole model
            self.interrupted, stream = stream["steps"], {}
        self._bridge += self.interrupted
        self.probe.restore_missing(state["missing"] if stream else [0] * len(state["missing"]))
        self.stream.load_state_dict(stream)
        self.taken = self.stream.steps
        self.balance.load_state_dict(state["energy_balance"])
        for record, kept in zip((self._rates_before, self._rates_after), state["rates"], strict=True):
            record.load_state_dict(kept)
        self._watched_rates = list(state["watched_rates"])
        self.last = None if state["last"] is None else WindowStatistics(**state["last"])
        return True


def _same_sums(state: dict[str, Any]) -> bool:
    """Whether a window's state holds the sums that this version keeps."""
    stream, last = state["stream"], state["last"]
    return (
        "response" in state
        and (not stream or set(stream) == StreamingWindow.state_keys())
        and (last is None or set(last) == {field.name for field in fields(WindowStatistics)})
    )
