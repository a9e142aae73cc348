"""The equivalence test of stationarity, asked again and again while a run goes on, at one level for all its looks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy.stats import t as student
from torch import Tensor

from thermo_callbacks.functional.momentum import momentum_response
from thermo_callbacks.functional.stationarity import Stationarity, stationarity_test

LOOKS = 12
"""Looks that share the level evenly: the last of them comes after 86 times as many steps as the first."""
_GROWTH = 1.5  # steps at one look over those at the look before
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

        Half of them are tested, and the interval of the change of the loss, :math:`\pm t\sqrt{12/T}` without any
        change, has to fit into the tolerance.

        Returns:
            The number of steps at one learning rate before the first look.

        Example:
            >>> EquilibriumCriteria().first_look(), EquilibriumCriteria(loss_tolerance=0.2).first_look()
            (1162, 7262)
        """
        quantile = float(student.ppf(1.0 - self.level / LOOKS, _DEGREES))
        narrow = 12.0 * (quantile / self.loss_tolerance) ** 2
        decay = momentum_response(momentum).momentum
        return 2 * math.ceil(max(narrow, _FEWEST_VALUES * (1.0 + decay) / (1.0 - decay)))


class RepeatedStationarityTest:
    r"""Asks whether a run is stationary, at looks that come after 1, 1.5, 2.25, ... times as many steps.

    Each look tests the last half of the steps since the learning rate changed: the first half is left for what the
    change has stirred up. With :data:`LOOKS` looks that have :math:`\alpha/12` each, a run that moves by more than the
    tolerances all the time is accepted at any of them with probability :math:`\alpha` at most (Bonferroni's inequality,
    since looks share steps; a span that goes on beyond them adds :math:`\alpha/12` a look). Asked at the full level
    each time, it would be accepted in a third to more than half of all cases.

    Values are kept in double precision on the CPU, at most some thousands of them: those of a long span are means over
    2, 4, 8, ... steps. Values that are not finite are left out, as those of skipped steps.

    Source: Dunn 1961, "Multiple comparisons among means" (Bonferroni's inequality); Schuirmann 1987 (see
    :func:`~thermo_callbacks.functional.stationarity_test`).

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
        >>> test.turn(4000), test.look().stationary, test.turn(4000), test.turn(6000)
        (True, True, False, True)
    """

    def __init__(self, criteria: EquilibriumCriteria, momentum: float = 0.0) -> None:
        self.criteria, self.momentum = criteria, momentum
        self.restart()

    def restart(self) -> None:
        """Begin a new span: the learning rate has changed."""
        self._values = torch.zeros(3, 0, dtype=torch.float64)  # means over _steps_per_value steps each
        self._fresh = torch.zeros(3, 0, dtype=torch.float64)  # steps that do not make up a mean yet
        self._steps_per_value = 1
        self._next = self.criteria.first_look(self.momentum)

    def add(self, values: Tensor) -> None:
        r"""Take in steps of the span.

        Args:
            values: :math:`q\cdot D`, :math:`|D|^2` and loss of consecutive steps, shape ``[3, T]``.
        """
        values = values.detach().cpu().double()
        self._fresh = torch.cat([self._fresh, values[:, values.isfinite().all(0)]], 1)
        self._gather()

    def _gather(self) -> None:
        whole = self._fresh.shape[1] // self._steps_per_value
        if whole:
            taken = whole * self._steps_per_value
            means = self._fresh[:, :taken].reshape(3, whole, self._steps_per_value).mean(2)
            self._values, self._fresh = torch.cat([self._values, means], 1), self._fresh[:, taken:]

    def turn(self, steps: int) -> bool:
        """Whether it is time for a look, so many steps after the span began; asked again, only for the next one.

        It depends on nothing but the count, so that all processes of a run take a look together.

        Returns:
            True once for each look.
        """
        if steps < self._next:
            return False
        self._next = max(steps + 1, math.ceil(_GROWTH * steps))
        return True

    def look(self) -> Stationarity:
        """Test the last half of the span.

        Returns:
            What the test says, at this look's share of the level.
        """
        span, criteria = self._values[:, self._values.shape[1] // 2 :], self.criteria
        found = stationarity_test(
            *span,
            momentum=self.momentum,
            steps_per_value=self._steps_per_value,
            tolerance=criteria.tolerance,
            loss_tolerance=criteria.loss_tolerance,
            level=criteria.level / LOOKS,
        )
        while self._values.shape[1] > _MOST_VALUES:  # at looks only, so that a checkpoint in between changes nothing
            kept = self._values[:, self._values.shape[1] % 2 :]
            self._values, self._steps_per_value = kept.reshape(3, -1, 2).mean(2), 2 * self._steps_per_value
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
