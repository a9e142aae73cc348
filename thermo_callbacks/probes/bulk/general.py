"""Bulk of any network, measured by stochastic Lanczos quadrature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.bulk.lanczos import LanczosSums, lanczos_log_sums, rademacher_rows
from thermo_callbacks.functional.bulk.spectrum import Spectrum
from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.probes.bulk.capture import NetworkCall
from thermo_callbacks.probes.bulk.eval_mode import ParameterValues
from thermo_callbacks.probes.bulk.neurons import NeuronMap
from thermo_callbacks.probes.bulk.operator import BulkOperator, Layout, sample_layout
from thermo_callbacks.probes.bulk.result import SampledComplexity

LARGEST_BASIS = 2**25  # numbers in the Lanczos vectors of samples that are treated together
TOLERANCE = 1e-3  # nats a neuron to which the quadrature is taken


class NetworkBulk:
    """The bulk of any network at the S samples of a call; ``reason`` says why it is no chain, as a clause.

    The network is a part of ``model``, or all of it.
    """

    def __init__(
        self,
        network: nn.Module,
        call: NetworkCall,
        *,
        regulator: float,
        steps: int,
        reason: str,
        model: nn.Module | None = None,
    ) -> None:
        self.map = NeuronMap(network, call.rows(torch.tensor([0])), model)
        self.call, self.regulator, self.steps, self.reason = call, regulator, steps, reason
        alone = self.map.states(call.rows(torch.tensor([0])), {})
        self.has_input = call.input is not None
        self.neurons = sum(state.numel() for state in alone)
        self.mapped = self.neurons - (alone[0].numel() if self.has_input else 0)
        self.layout = Layout()
        self.together = 1  # samples that can be treated in one pass
        fitting = max(1, LARGEST_BASIS // (steps * self.neurons))
        if fitting > 1:
            layout = sample_layout(alone, self.map.states(call.rows(torch.tensor([0, call.samples - 1, 0])), {}))
            if layout is not None:
                self.layout, self.together = layout, fitting

    def complexity(self, probes: int, generator: torch.Generator) -> SampledComplexity:
        """Complexity of each sample, the mean over its random vectors, with the spectrum it was found from."""
        parts = [
            self._sums(index, generator)
            for index in torch.split(torch.arange(self.call.samples).repeat_interleave(probes), self.together)
        ]
        halves = torch.cat([part.value for part in parts]).view(-1, probes) / 2
        stderr = (
            halves.var(1).sum().sqrt() / (len(halves) * probes**0.5) if probes > 1 else halves.new_tensor(torch.nan)
        )
        truncation = torch.cat([part.truncation for part in parts]).mean() / 2
        share = self.neurons / halves.numel()
        spectrum = Spectrum(
            torch.cat([part.nodes.flatten() for part in parts]),
            torch.cat([part.weights.flatten() for part in parts]) * share,
        )
        return SampledComplexity(halves.mean(1), stderr, truncation, spectrum)

    def _sums(self, index: Tensor, generator: torch.Generator) -> LanczosSums:
        """Quadratic forms of ln G, one for each of the samples given by number."""
        call = self.call.rows(index)
        states = self.map.states(call, {})
        operator = BulkOperator(self.map, call, states, layout=self.layout, regulator=self.regulator)
        start = rademacher_rows(len(index), self.layout.rows(states)[0], generator)
        return lanczos_log_sums(operator, start, smallest=self.regulator, steps=self.steps, tolerance=TOLERANCE)

    def losses(self, before: ParameterValues, after: ParameterValues) -> Tensor:
        """Measured bulk loss of each sample and layer, as :meth:`ChainBulk.losses` gives it."""
        found = []
        for index in torch.split(torch.arange(self.call.samples), self.together):
            call = self.call.rows(index)
            states = self.map.states(call, before)
            with torch.no_grad():
                images = self.map.images(call, after, states)
            distances = [x - y for x, y in zip(states, images, strict=True)]
            rows = torch.split(self.layout.rows(distances).double(), [x.numel() // len(index) for x in distances], 1)
            found.append(torch.stack([0.5 * row.square().sum(1) for row in rows[self.has_input :]], 1))
        return torch.cat(found)

    def laplacian(self, _probes: int, _generator: torch.Generator) -> tuple[Estimate, str]:
        """NaN, and why as a sentence: random vectors give no complexity that could be differentiated."""
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        return Estimate(nan, nan, torch.zeros_like(nan)), f"The network is no chain of layers: {self.reason}."
