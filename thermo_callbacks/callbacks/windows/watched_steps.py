"""The steps of one optimizer that are read into a window: what is read before each, and after it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.callbacks.windows.dynamics import Dynamics
from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.callbacks.windows.gradient_pairs import GradientPairs
from thermo_callbacks.callbacks.windows.projections import ProjectionWatch, WindowBalance
from thermo_callbacks.callbacks.windows.rate_history import RateHistory
from thermo_callbacks.callbacks.windows.rates import Rates
from thermo_callbacks.callbacks.windows.schedule import WindowSchedule
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.callbacks.windows.window_state import SharedSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK, StreamingWindow
from thermo_callbacks.probes.parameters.clipping import Clipping, ClippingProbe
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import MobilityOf
from thermo_callbacks.probes.parameters.stated import gradient_sign, group_rate
from thermo_callbacks.probes.sharding import part_of

Layers = Mapping[str, Sequence[nn.Parameter]]


class WatchedSteps(WindowSchedule):
    """Reads the watched steps of one optimizer into the sums of an open window. All layers lie on one device."""

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

    def watches(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter is one of those that are watched here."""
        return id(parameter) in self.probe.signature

    @property
    def mobility_of(self) -> MobilityOf:
        """Mobility of a parameter that is watched here."""
        return self._dynamics.mobility_of
