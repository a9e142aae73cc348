"""One optimizer under watch: which steps are read, what momentum they had, and when a window is complete."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.windows.dynamics import Dynamics
from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.callbacks.windows.gradient_pairs import GradientPairs
from thermo_callbacks.callbacks.windows.missing import OpenedWindow
from thermo_callbacks.callbacks.windows.projections import ProjectionWatch, WindowBalance
from thermo_callbacks.callbacks.windows.rate_history import RateHistory
from thermo_callbacks.callbacks.windows.rates import Rates
from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.callbacks.windows.schedule import WindowSchedule
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.callbacks.windows.window_state import SharedSums, completed, same_sums
from thermo_callbacks.functional.energy import heat_by_step
from thermo_callbacks.functional.window.layer_sums import LayerSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK, StreamingWindow
from thermo_callbacks.probes.parameters.clipping import Clipping, ClippingProbe
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import MobilityOf
from thermo_callbacks.probes.parameters.stated import gradient_sign, group_rate
from thermo_callbacks.probes.parameters.untrained import seen_untrained
from thermo_callbacks.probes.sharding import part_of

Layers = Mapping[str, Sequence[nn.Parameter]]


class OptimizerWindow(WindowSchedule):
    """Windows of watched steps of one optimizer: ``window`` steps, then a pause that costs nothing.

    All layers lie on one device. Where there are several processes, what each knows has to be brought together
    (:meth:`own_share`, :meth:`accept`) before the window is closed, and where parameters are sharded before it is
    looked into.
    """

    def __init__(self, optimizer: Optimizer, layers: Layers, settings: WindowSettings) -> None:
        super().__init__(settings.window, settings.steps_between_windows, settings.plan)
        self.optimizer = optimizer
        self.balance = EnergyBalance()
        self._history = RateHistory()
        self.last: WindowStatistics | None
        self._settings, self._sharded = settings, settings.sharded
        self.rebuild(layers)

    def rebuild(self, layers: Layers) -> None:
        """Watch these layers, all on one device, from an empty window on."""
        self.last = None
        self.untrained: dict[int, str] = {}  # parameters that the last window did not train, and why
        self._resting: set[str] = set()  # layers whose learning rate was zero in all of it
        self._layers = layers
        self.taken = 0
        self._shared: SharedSums | None = None  # what all processes saw of the open window, where they hold shards
        self._shared_losses: Tensor | None = None  # mean over the processes
        parts = None
        if self._sharded:
            parts = {parameter: part_of(parameter, name) for name, owned in layers.items() for parameter in owned}
        settings = self._settings
        self.probe = CoordinateProbe(layers, sample=settings.sample, seed=settings.seed, chunk=CHUNK, parts=parts)
        self.stream = StreamingWindow(
            self.probe.chunk_layers,
            len(self.probe.names),
            length=self._window,
            device=self.probe.device,
            dtype=self.probe.dtype,
            sampled=self.probe.sampled,
        )
        self.pairs = GradientPairs(self.probe, self._window, wanted=None if self._sharded else settings.pairs)
        self._losses = torch.full((self._window,), torch.nan, device=self.probe.device, dtype=self.probe.dtype)
        watched = [parameter for owned in layers.values() for parameter in owned]
        self.projections = ProjectionWatch(self.optimizer, watched, self._window)
        self.resolved: WindowBalance | None = None  # of the window that ended last
        groups = {
            parameter: group
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter in set(watched)
        }
        signs = {parameter: gradient_sign(group) for parameter, group in groups.items()}
        same = len(set(signs.values())) == 1
        # some groups may climb while others descend: then the loss is no energy that all of them lower
        self._energy_sign = next(iter(signs.values())) if same else math.nan
        self._gradient_sign: Tensor | float = self.probe.spread(lambda parameter, _: signs[parameter])
        self._dynamics = Dynamics(self.optimizer, self.probe, groups, length=self._window, sharded=self._sharded)
        self.rates = Rates(self.optimizer, self.probe, groups, self._dynamics.mobility_of)
        self.clipping = Clipping()  # in the last window
        clips = settings.clips
        self._clipping = None if clips is None else ClippingProbe(self.probe, self._window, expected=clips)

    def hand_over(self, optimizer: Optimizer, layers: Layers) -> None:
        """Watch another optimizer, which has taken this one's place, from an empty window on."""
        self.optimizer = optimizer
        self._pending = None
        self.rebuild(layers)

    def retire(self) -> None:
        """The optimizer steps no more: what it did stays in the balance."""
        self.last, self.taken, self._pending = None, 0, None

    def read_backward(self) -> None:
        """Read gradients that a backward pass has just left, which may be clipped before the step is announced."""
        if self._clipping is not None and self.measuring:
            self._clipping.read_first(self.stream.steps)

    @property
    def moves_alike(self) -> bool:
        """Whether all coordinates move equally far per unit of gradient."""
        mobility = self._dynamics.mobility
        return isinstance(mobility, float) and math.isfinite(mobility)

    def read_half(self, scale: Tensor | float) -> None:
        """Read the gradients of a step's first batches; ``scale`` makes them those of the mean loss."""
        self.pairs.read_half(scale * self._gradient_sign)

    def read_before(self, scale: Tensor | float, half: float = 0.0) -> None:
        """Read parameters and gradients; ``scale`` makes the gradients those of the mean loss.

        ``half`` is the share of the step that the gradients read before make up, 0 if none were.
        """
        self._scale = scale * self._gradient_sign
        self._reading = self.probe.before_step(self._scale)
        self.pairs.announce(half)
        if self.stream.steps == 0:
            self.projections.start()
        self.projections.before_step(scale)

    def pass_over(self) -> None:
        """Read nothing before a step that other processes read: the step counts all the same."""
        self._reading = self.probe.has_gradient

    def arrive(self) -> bool:
        """The step has happened: whether :meth:`read_after` is to be called."""
        self._shared = self._shared_losses = None
        read = super().arrive()
        self._history.add(group_rate(self.optimizer.param_groups[0]), read=read, opened=self.taken > 0)
        return read

    def read_after(self) -> None:
        """Read the displacement, and take the step into the window."""
        self._reading = False
        if self.stream.steps == 0:
            self._losses.fill_(torch.nan)
        dynamics = self._dynamics
        self.probe.after_step()
        self.projections.after_step()
        dynamics.take_step(self.stream.steps + 1)
        self.pairs.take_step(first=self.stream.steps == 0)
        self.rates.take_step()
        if self._clipping is not None:
            self._clipping.read_last(self.stream.steps, self._scale)
        self.stream.update(self.probe.rows, dynamics.momentum, dynamics.response, dynamics.mobility)

    def record_loss(self, loss: Tensor) -> None:
        """Keep the mean loss of the batch of the step that was read last."""
        self._losses[self.stream.steps - 1] = loss

    def own_share(self) -> list[Tensor]:
        """What this process alone knows of the open window, float64 on the CPU: losses, samples, sums of its shards."""
        share = [self._own_losses(), torch.tensor([self.pairs.reciprocal_samples], dtype=torch.float64)]
        if self._sharded:
            share += [*self._own_sums(), *self._dynamics.response_sums(), self._own_squares()]
        return share

    def accept(self, shares: Sequence[Tensor], processes: int) -> None:
        """Go on with the sums over all processes of what each gave as :meth:`own_share`."""
        losses, reciprocal, *parts = shares
        # the gradient is the mean of those of the processes, and so the loss that it descends is the mean of theirs
        self._shared_losses = losses / processes
        self.pairs.share_samples(float(reciprocal) / processes)
        if parts:
            series, flags, terms, *response, squares = parts
            # a gradient that was not finite in one process's part was not finite
            flags = (flags > processes - 0.5).to(flags)
            self._shared = SharedSums(LayerSums(series, flags, terms), ResponseSums(*response), squares)

    def leave(self) -> None:
        """Pause after a full window, also where a fault has kept it from being closed: other processes go on too."""
        if self.full:
            self._shared = self._shared_losses = None
            self._pause()

    def close(self) -> None:
        """End the window, enter it into the energy balance, and pause."""
        statistics = self.peek(final=True)
        self.pairs.close()
        self.skipped += statistics.skipped
        heat = heat_by_step(statistics)
        self.balance.add(
            self.probe.names,
            heat,
            unwatched=self._bridge,
            energy=self.energy(),
            rates=self._history.watched,
            unwatched_rates=self._history.unwatched,
        )
        self._history.turn()
        self.last = statistics
        self.resolved = self.projections.close()
        resting = self.rates.resting
        idle = self.probe.without_gradient(self.stream.steps)
        self.untrained = seen_untrained(self._layers, statistics, idle=idle, resting=resting)
        self._resting = self._at_rest(resting)
        if self._clipping is not None:
            self.clipping = self._clipping.result(self._own_squares() if self._shared is None else self._shared.squares)
            self._clipping.clear()
        self.rates.clear()
        self.stream.clear()
        self._shared = self._shared_losses = None
        self.probe.forget_missing()
        self._pause()

    def _at_rest(self, resting: set[int]) -> set[str]:
        return {name for name, owned in self._layers.items() if resting.issuperset(map(id, owned))}

    def closed(self) -> OpenedWindow | None:
        """What is known of the last window; None before there is one."""
        if self.last is None:
            return None
        return self._known(self.last, self._resting)

    def opened(self) -> OpenedWindow:
        """What is known of the window so far."""
        return self._known(self.peek(), self._at_rest(self.rates.resting))

    def _known(self, statistics: WindowStatistics, resting: set[str]) -> OpenedWindow:
        name = type(self.optimizer).__name__
        return OpenedWindow(self.probe.names, statistics, name, resting, self._dynamics.reason)

    def peek(self, *, final: bool = False) -> WindowStatistics:
        """Statistics of the window so far, which goes on unless ``final``."""
        watched, sizes = self.probe.coordinates(self.stream.steps)
        momentum = self._dynamics.momentum_by_layer()
        if self._shared is None:
            sums, response = self._own_sums(), self._dynamics.response_sums()
        else:
            sums, response = self._shared.sums, self._shared.response
        whole = torch.tensor([self.probe.layer_watched, self.probe.layer_sizes], dtype=torch.float64)
        statistics = sums.statistics(
            watched, sizes, momentum, batch_size=self.pairs.batch_size, whole=(whole[0], whole[1])
        )
        return self._dynamics.judge(response, statistics, final=final)

    def _own_sums(self) -> LayerSums:
        contraction = self.rates.contraction(self.stream.steps)
        return self.stream.layer_sums(self._dynamics.momentum_by_layer(), contraction)

    def _own_squares(self) -> Tensor:
        steps = self.stream.steps
        return torch.full((steps, 3), math.nan) if self._clipping is None else self._clipping.squares(steps)

    def watches(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter is one of those that are watched here."""
        return id(parameter) in self.probe.signature

    @property
    def mobility_of(self) -> MobilityOf:
        """Mobility of a parameter that is watched here."""
        return self._dynamics.mobility_of

    def losses(self) -> Tensor:
        """Loss of each step of the window so far, ``[steps]`` on the host; NaN where it is not known."""
        # the mean over the processes, once they have been brought together
        return self._own_losses() if self._shared_losses is None else self._shared_losses

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
            **self.schedule_state(),
            "mobility": mobility.cpu().clone() if isinstance(mobility, Tensor) else mobility,
            "response": self._dynamics.state_dict(open_window=not self._sharded),
            "losses": self._losses.cpu().clone(),
            "missing": self.probe.missing_counts(),
            # a checkpoint holds what the first process knows: of a sharded window, only how long it was
            **self.pairs.state_dict(),
            "stream": {} if self._sharded else self.stream.state_dict(),
            "interrupted": self.taken if self._sharded else 0,
            "rates": {} if self._sharded else self.rates.state_dict(),
            "clipping": {} if self._sharded or self._clipping is None else self._clipping.state_dict(),
            "energy_balance": self.balance.state_dict(),
            "projections": self.projections.state_dict(),
            "history": self._history.state_dict(open_window=not self._sharded),
            "last": None if self.last is None else dict(vars(self.last)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on where :meth:`state_dict` was taken; False if that does not fit, and was left alone."""
        # it may be that of other layers, another sample or another window, or of a version that kept other sums
        own = self.probe.whole_chunk_layers
        same_layers = state["names"] == list(self.probe.names) and torch.equal(state["chunk_layers"], own)
        same_parameters = len(state["missing"]) == len(self.probe.missing_counts())
        if not same_layers or not same_parameters or len(state["losses"]) != self._window or not same_sums(state):
            return False
        self.restore_schedule(state)
        response = state.get("response")
        if response and self._sharded:  # a trace of the open window is one of whole parameters
            response = response | {"trace": {}}
        self._dynamics.restore(state["mobility"], response)
        self._losses.copy_(state["losses"])
        stream = state["stream"]
        self.interrupted = state.get("interrupted", 0)
        if self._sharded and stream:  # of a run in which each process held the whole model
            self.interrupted, stream = stream["steps"], {}
        self._bridge += self.interrupted
        self.probe.restore_missing(state["missing"] if stream else [0] * len(state["missing"]))
        self.stream.load_state_dict(stream)
        self.pairs.load_state_dict(state)
        self.taken = self.stream.steps
        if stream:
            self.rates.load_state_dict(state.get("rates", {}))
        if stream and self._clipping is not None:
            self._clipping.load_state_dict(state.get("clipping", {}))
        self.projections.load_state_dict(state.get("projections", {}))
        self.balance.load_state_dict(state["energy_balance"], group_rate(self.optimizer.param_groups[0]))
        self._history.load_state_dict(state.get("history"))
        self.last = None if state["last"] is None else completed(state["last"])
        return True
