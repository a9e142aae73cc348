"""One optimizer under watch: what its windows say, and what a checkpoint holds of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.callbacks.windows.missing import OpenedWindow
from thermo_callbacks.callbacks.windows.response_trace import ResponseSums
from thermo_callbacks.callbacks.windows.watched_steps import WatchedSteps
from thermo_callbacks.callbacks.windows.window_state import SharedSums, completed, current_sums, same_sums
from thermo_callbacks.functional.energy import heat_by_step
from thermo_callbacks.functional.window.layer_sums import LayerSums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.probes.parameters.stated import group_rate
from thermo_callbacks.probes.parameters.untrained import seen_untrained

Layers = Mapping[str, Sequence[nn.Parameter]]


class OptimizerWindow(WatchedSteps):
    """Windows of watched steps of one optimizer: ``window`` steps, then a pause that costs nothing.

    All layers lie on one device. Where there are several processes, what each knows has to be brought together
    (:meth:`own_share`, :meth:`accept`) before the window is closed, and where parameters are sharded before it is
    looked into.
    """

    def own_share(self) -> list[Tensor]:
        """What this process alone knows of the open window, float64 on the CPU: losses, samples, sums of its shards."""
        share = [self._own_losses(), torch.tensor([self.pairs.reciprocal_samples], dtype=torch.float64)]
        if self._sharded:
            share += [*self._own_sums(), *self._dynamics.response_sums(), self._own_squares()]
        return share + self.pairs.own_rows  # none where parameters are sharded

    def accept(self, shares: Sequence[Tensor], processes: int) -> None:
        """Go on with the sums over all processes of what each gave as :meth:`own_share`."""
        losses, reciprocal, *parts = shares
        # the gradient is the mean of those of the processes, and so the loss that it descends is the mean of theirs
        self._shared_losses = losses / processes
        self.pairs.share_samples(float(reciprocal) / processes)
        if parts and not self._sharded:
            self.pairs.share_rows(parts[0] / processes)
        elif parts:
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
        return self.stream.layer_sums(contraction)

    def _own_squares(self) -> Tensor:
        steps = self.stream.steps
        return torch.full((steps, 3), math.nan) if self._clipping is None else self._clipping.squares(steps)

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
        state = {**state, "stream": current_sums(state["stream"])}
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
