"""Bulk of a chain of layers, measured exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.bulk.complexity import bulk_complexity, chain_complexity
from thermo_callbacks.functional.bulk.spectrum import bulk_spectrum
from thermo_callbacks.functional.bulk.thermodynamics import bulk_loss
from thermo_callbacks.functional.curvature import hessian_trace
from thermo_callbacks.functional.statistics import Estimate, mean_estimate
from thermo_callbacks.probes.bulk.capture import at_least_single
from thermo_callbacks.probes.bulk.eval_mode import ParameterValues
from thermo_callbacks.probes.bulk.result import SampledComplexity
from thermo_callbacks.probes.bulk.sequential_parser import Chain

DENSE_LIMIT = 512  # neurons up to which the spectrum is all eigenvalues


@dataclass(frozen=True)
class ChainBulk:
    """The bulk of a chain at a few samples."""

    chain: Chain
    inputs: Tensor  # the samples, [S, n_0]
    regulator: float

    reason = ""

    @property
    def neurons(self) -> int:
        """All neurons of a sample."""
        return self.chain.neurons

    @property
    def mapped(self) -> int:
        """Neurons that have a map: all but the input's."""
        return self.chain.neurons - self.inputs.shape[1]

    def complexity(self, probes: int, generator: torch.Generator) -> SampledComplexity:
        """Complexity of each sample, exactly, and the spectrum of G, by random vectors if the chain is large."""
        with torch.no_grad():
            _, slopes = self.chain.states(self.inputs, {})
            weights = self.chain.weights({})
            complexity = bulk_complexity(weights, slopes, self.regulator).double()
            spectrum = bulk_spectrum(
                weights, slopes, self.regulator, dense_limit=DENSE_LIMIT, probes=probes, generator=generator
            )
        zero = complexity.new_zeros(())
        return SampledComplexity(complexity, zero, zero, spectrum)

    def losses(self, before: ParameterValues, after: ParameterValues) -> Tensor:
        """Measured bulk loss, ``[S, L]``, of the states before under the map after; the input has no map."""
        states, _ = self.chain.states(self.inputs, before)
        images = self.chain.images(states, after)
        pairs = list(zip(states, images, strict=True))[1:]
        return torch.stack([bulk_loss([state], [image]) for state, image in pairs], -1).double()

    def laplacian(self, probes: int, generator: torch.Generator) -> tuple[Estimate, str]:
        """Laplacian of complexity by the trainable parameters, and why there is none as a sentence."""
        # each probe is at a sample of its own: so the error holds both what the probes and what the samples scatter by
        # (NaN for a single probe), at the price of one sample a probe
        own = list(dict.fromkeys(p for layer in self.chain.layers for p in layer.parameters() if p.requires_grad))
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        if not probes or not own:
            missing = "No probe was asked for." if own else "No parameter is trainable."
            return Estimate(nan, nan, torch.zeros_like(nan)), missing
        try:
            found = torch.stack([self._trace(probe % len(self.inputs), own, generator) for probe in range(probes)])
        except (RuntimeError, NotImplementedError) as error:
            return Estimate(nan, nan, torch.zeros_like(nan)), f"An activation has no third derivative: {error}"
        return mean_estimate(found), ""

    def _trace(self, sample: int, own: list[nn.Parameter], generator: torch.Generator) -> Tensor:
        """Estimate of one probe at one sample."""
        leaves = {p: at_least_single(p.detach().clone()).requires_grad_() for p in own}
        complexity = chain_complexity(
            self.inputs[sample],
            self.chain.weights(leaves),
            biases=self.chain.biases(leaves),
            activations=self.chain.activations,
            regulator=self.regulator,
        )
        return hessian_trace(complexity, list(leaves.values()), 1, generator).estimate
