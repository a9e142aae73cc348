"""Learning rates and weight decay of an optimizer's groups over a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import MobilityOf, decay_contraction, parameter_mobility
from thermo_callbacks.probes.parameters.stated import stated_decay, stated_rate


class Rates:
    """Sums over a window's steps of the squares of rate and of rate times weight decay, for each group.

    Schedules change a rate from step to step, and when a window is closed the rate of the next step is set already.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        probe: CoordinateProbe,
        groups: Mapping[nn.Parameter, dict[str, Any]],
        mobility: MobilityOf = parameter_mobility,
    ) -> None:
        self._mobility = mobility
        self._optimizer, self._probe, self._groups = optimizer, probe, groups
        self.clear()

    def clear(self) -> None:
        """Start a new window."""
        # a rate may be a tensor on the device, which is not to be waited for
        self._sums: list[list[Tensor | float]] = [[0.0, 0.0] for _ in self._optimizer.param_groups]
        self._steps = 0

    def take_step(self) -> None:
        """Add the step that has just happened."""
        groups = self._optimizer.param_groups
        self._sums += [[0.0, 0.0] for _ in groups[len(self._sums) :]]
        for sums, group in zip(self._sums, groups, strict=True):
            rate = stated_rate(group, missing=1.0)
            sums[0] += rate * rate
            if decay := stated_decay(group):
                sums[1] += (rate * decay) ** 2
        self._steps += 1

    @property
    def resting(self) -> set[int]:
        """Identities of the parameters whose learning rate was zero in all steps so far."""
        groups = zip(self._sums, self._optimizer.param_groups, strict=False)
        resting = [group for sums, group in groups if self._steps and float(sums[0]) == 0.0]
        return {id(parameter) for group in resting for parameter in group["params"]}

    def contraction(self, steps: int) -> Tensor | float:
        """Share by which weight decay shrank each watched coordinate in a step, or one number for all."""
        if not self._steps:
            return 0.0
        # decay is proportional to the rate: the root mean square of their product stands in for the rate
        groups = {
            id(group): {**group, "lr": (float(sums[1]) / self._steps) ** 0.5, "weight_decay": 1.0}
            for sums, group in zip(self._sums, self._optimizer.param_groups, strict=False)
            if float(sums[1])
        }
        if not groups:
            return 0.0
        idle = self._probe.without_gradient(steps)  # optimizers pass over them, and so does their decay

        def shrinks(parameter: nn.Parameter, watch: Any) -> Tensor | float:
            group = groups.get(id(self._groups[parameter]))
            if group is None or id(parameter) in idle:
                return 0.0
            return decay_contraction(self._optimizer, group, parameter, watch, self._mobility)

        return self._probe.spread(shrinks)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"steps": self._steps, "sums": [[float(part) for part in sums] for sums in self._sums]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`; one of an earlier version is empty."""
        if state:
            self._steps = int(state["steps"])
            self._sums = [list(sums) for sums in state["sums"]]
