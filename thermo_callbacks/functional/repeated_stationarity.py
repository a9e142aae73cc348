"""The equivalence test of stationarity, asked again and again while a run goes on, at one level for all its looks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy.stats import t as student
from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response
from thermo_callbacks.functional.stationarity import Stationarity, stationarity_test

LOOKS = 8
"""Looks that share the level evenly: the last of them comes after 128 times as many steps as the first."""
_DEGREES = 8  # of freedom of the trend of the loss, with the ten batches of a long span
_FEWEST_VALUES = 10  # of the test: five batches of two correlation times each
_MOST_VALUES = 4096  # kept of a span; of a longer one, means over 2, 4, 8, ... steps


class EquilibriumCriteria(NamedTuple):
    """What counts as equilibrium.

    Attributes:
        tolerance: Largest relative drift of the squared norm, of either sign, that counts as none.
        loss_tolerance: Largest change of the loss over the tested steps, in units of the noise of one batch's loss.
        level: Probability of accepting at any look a run that moves by more than the tolerances.
    """

    tolerance: float = 0.5
    loss_tolerance: float = 0.5
    level: float = 0.05

    def first_look(self, momentum: float = 0.0) -> int:
        r"""Steps before which nothing can be accepted.

        The second half of them is tested, and the interval of the change of the loss, :math:`\pm t\sqrt{12/T}` without
        any change, has to fit into the tolerance.

        Returns:
            The number of steps at one learning rate before the first look.

        Example:
            >>> EquilibriumCriteria().first_look(), EquilibriumCriteria(loss_tolerance=0.2).first_look()
            (988, 6168)
        """
        quantile = float(student.ppf(1.0 - self.level / LOOKS, _DEGREES))
        narrow = 12.0 * (quantile / self.loss_tolerance) ** 2
        decay = momentum_response(momentum).momentum
        return 2 * math.ceil(max(narrow, _FEWEST_VALUES * (1.0 + decay) / (1.0 - decay)))


class RepeatedStationarityTest:
    r"""Asks whether a run is stationary, at looks that come after 1, 2, 4, ... times as many steps at a learning rate.

    Each look tests the steps since the look before, and the first one the second half of its own: the first half is
    left for what a change of the rate has stirred up. With :data:`LOOKS` looks that have :math:`\alpha/8` each, a run
    that moves by more than the tolerances all the time is accepted at any of them with probability :math:`\alpha` at
    most (Bonferroni's inequality; beyond them a look adds :math:`\alpha/8`). Asked at the full level at every look, it
    could be accepted eight times as often.

    The positions have to be counted from where the run was when the span began, :math:`(q - q_0)\cdot D`. The relation
    holds about any fixed point: :math:`\langle|q - q_0|^2\rangle` stands still in equilibrium and grows by
    :math:`|D|^2` a step in free diffusion. About the origin, to and fro of large weights hides both: on networks the
    interval of the relative drift is up to ten times as wide.

    Values are kept in double precision on the CPU, at most some thousands of them: those of a long span are means over
    2, 4, 8, ... steps. Values that are not finite are left out, as those of skipped steps.

    Source: Dunn 1961, "Multiple comparisons among means" (Bonferroni's inequality); Yaida 2018, Schuirmann
    1987 and Pesme et al. 2020, "On convergence-diagnostic based step sizes for stochastic gradient descent" (the
    distance from where it was; see :func:`~thermo_callbacks.functional.stationarity_test`).

    Args:
        criteria: What counts as equilibrium.
        momentum: Decay of the optimizer's momentum buffer.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> test = RepeatedStationarityTest(EquilibriumCriteria())
        >>> noise = torch.randn(2, 4000, generator=generator, dtype=torch.float64)
        >>> moves = torch.ones(4000, dtype=torch.float64)
        >>> test.add(torch.stack([noise[0] - 0.5 * moves, moves, 2.0 + noise[1]]))
        >>> test.turn(4000), test.look().stationary, test.turn(7999), test.turn(8000)
        (True, True, False, True)
    """

    def __init__(self, criteria: EquilibriumCriteria, momentum: float = 0.0) -> None:
        self.criteria, self.momentum = criteria, momentum
        self.restart()

    def restart(self) -> None:
        """The learning rate has changed: begin anew."""
        self._next = self.criteria.first_look(self.momentum)
        self._begin_span(self._next // 2)

    def _begin_span(self, steps: int) -> None:
        self._values = torch.zeros(3, 0, dtype=torch.float64)  # means over _steps_per_value steps each
        self._fresh = torch.zeros(3, 0, dtype=torch.float64)  # steps that do not make up a mean yet
        self._steps_per_value = 2 ** max(0, math.ceil(math.log2(steps / _MOST_VALUES)))

    def settled(self, steps: int) -> bool:
        """Whether steps are tested by now: so many have been made since the rate changed."""
        return 2 * steps >= self.criteria.first_look(self.momentum)

    def add(self, values: Tensor) -> None:
        r"""Take in steps of the span.

        Args:
            values: :math:`(q - q_0)\cdot D`, :math:`|D|^2` and loss of consecutive steps, shape ``[3, T]``.
        """
        values = values.detach().cpu().double()
        self._fresh = torch.cat([self._fresh, values[:, values.isfinite().all(0)]], 1)
        whole = self._fresh.shape[1] // self._steps_per_value
        if whole:
            taken = whole * self._steps_per_value
            means = self._fresh[:, :taken].reshape(3, whole, self._steps_per_value).mean(2)
            self._values, self._fresh = torch.cat([self._values, means], 1), self._fresh[:, taken:]

    def turn(self, steps: int) -> bool:
        """Whether it is time for a look, so many steps after the rate changed; asked again, only for the next one.

        It depends on nothing but the count, so that all processes of a run take a look together.

        Returns:
            True once for each look.
        """
        if steps < self._next:
            return False
        self._next = 2 * steps
        return True

    def look(self) -> Stationarity:
        """Test the span, which ends.

        Returns:
            What the test says, at this look's share of the level.
        """
        criteria = self.criteria
        found = stationarity_test(
            *self._values,
            momentum=self.momentum,
            steps_per_value=self._steps_per_value,
            tolerance=criteria.tolerance,
            loss_tolerance=criteria.loss_tolerance,
            level=criteria.level / LOOKS,
        )
        self._begin_span(self._next // 2)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The span so far: tensors on the CPU and plain values."""
        return {
            "values": self._values.clone(),
            "fresh": self._fresh.clone(),
            "steps_per_value": self._steps_per_value,
            "next": self._next,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self._values, self._fresh = state["values"].clone(), state["fresh"].clone()
        self._steps_per_value, self._next = int(state["steps_per_value"]), int(state["next"])
