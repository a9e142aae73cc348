"""What one optimizer does in the steps since its learning rate changed, read for the test of equilibrium."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional import Stationarity
from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria, RepeatedStationarityTest
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.optimizers import largest_momentum
from thermo_callbacks.probes.parameters.selection import unreadable
from thermo_callbacks.probes.parameters.stated import parameters_of

SAMPLE = 16_384
"""Coordinates that are watched on a device, drawn evenly from all that the optimizer trains there."""
_ROWS = 512  # steps that are kept on the device before they make up a block


class EquilibriumWatch:
    """Sums over a sample of coordinates what each step does to the size of the weights, without waiting for the device.

    Steps are counted in any case, by :meth:`count`, which depends on nothing else: looks come by this count.
    """

    def __init__(self, optimizer: Any, criteria: EquilibriumCriteria) -> None:
        self.optimizer = optimizer
        self._probes: list[CoordinateProbe] = []
        self._read = False
        self.test = RepeatedStationarityTest(criteria, largest_momentum(optimizer))
        self.steps = 0
        self._blocks: list[Tensor] = []
        self._rows: Tensor | None = None
        self._filled = 0
        self._sums: Tensor | None = None  # of the steps of the batch under way
        self._bases: list[Tensor] = []  # where each probe's coordinates were when the tested span began

    @property
    def name(self) -> str:
        """What to call it."""
        return type(self.optimizer).__name__

    def restart(self) -> None:
        """Begin afresh: the learning rate has changed."""
        self.test.restart()
        self.steps, self._filled = 0, 0
        self._blocks.clear()
        self._sums = None
        self._probes, self._bases = [], []  # layers may have thawed

    def count(self) -> None:
        """A step was made."""
        self.steps += 1

    def read_before(self) -> None:
        """Read the parameters before a step, where it is tested."""
        if not self.test.settled(self.steps):
            return
        if not self._probes:
            self._probes = _probes(parameters_of(self.optimizer))
            self._resume_span()
        for probe in self._probes:
            probe.before_move()
        if not self._bases:
            self._bases = [probe.rows[0].clone() for probe in self._probes]
        self._read = True

    def _resume_span(self) -> None:
        """Go on from where the span of a checkpoint began, if the coordinates are the same."""
        if self._bases and [base.shape for base in self._bases] != [probe.rows[0].shape for probe in self._probes]:
            self.test.restart()
            self.steps, self._bases = 0, []
        self._bases = [base.to(probe.rows[0]) for base, probe in zip(self._bases, self._probes, strict=False)]

    def read_after(self) -> None:
        """Read how far the step has moved them."""
        if not self._read:
            return
        self._read = False
        for probe, base in zip(self._probes, self._bases, strict=True):
            probe.after_step()
            position, _, moved = probe.rows
            exact = torch.float32 if probe.device.type == "mps" else torch.float64
            away = position - base
            products = torch.stack([(away * moved).sum(dtype=exact), moved.square().sum(dtype=exact)])
            self._sums = products if self._sums is None else self._sums + products.to(self._sums)

    def end_batch(self, loss: Tensor | None) -> None:
        """Keep what was read in a batch, and the loss of its step."""
        sums, self._sums = self._sums, None
        if sums is None:
            return
        if self._rows is None:
            self._rows = torch.full((3, _ROWS), math.nan, dtype=sums.dtype, device=sums.device)
        self._rows[:2, self._filled] = sums
        self._rows[2, self._filled] = math.nan if loss is None else loss.to(sums)
        self._filled += 1
        if self._filled == _ROWS:
            self._blocks.append(self._rows)
            self._rows, self._filled = None, 0

    def _hand_over(self) -> None:
        """Give what is on the device to the test; this waits for it."""
        blocks = self._blocks if self._rows is None else [*self._blocks, self._rows[:, : self._filled]]
        for block in blocks:
            self.test.add(block)
        self._blocks, self._filled = [], 0

    def look(self) -> Stationarity:
        """Test for equilibrium."""
        self._hand_over()
        self._bases = []
        return self.test.look()

    def state_dict(self) -> dict[str, Any]:
        """The steps so far: tensors on the CPU and plain values."""
        self._hand_over()
        bases = [base.to("cpu", copy=True) for base in self._bases]
        return {"steps": self.steps, "test": self.test.state_dict(), "bases": bases}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.steps = int(state["steps"])
        self.test.load_state_dict(state["test"])
        self._bases = [base.clone() for base in state["bases"]]


def _probes(parameters: Sequence[nn.Parameter]) -> list[CoordinateProbe]:
    """A probe for each device, of the parameters that are trained and can be read."""
    trained = [parameter for parameter in parameters if parameter.requires_grad and parameter.numel()]
    refused = unreadable(trained)
    by_device: dict[torch.device, list[nn.Parameter]] = {}
    for parameter in trained:
        if id(parameter) not in refused:
            by_device.setdefault(parameter.device, []).append(parameter)
    return [CoordinateProbe({"all": owned}, sample=SAMPLE, seed=0, chunk=1) for owned in by_device.values()]
