"""Result of one measurement of the bulk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.bulk.spectrum import Spectrum
from thermo_callbacks.functional.bulk.thermodynamics import (
    bulk_entropy,
    bulk_free_energy,
    bulk_log_partition,
    equipartition_temperature,
    mean_bulk_loss,
)
from thermo_callbacks.functional.statistics import Estimate


class SampledComplexity(NamedTuple):
    """Complexity of a few samples."""

    of_samples: Tensor  # of each sample, [S], in nats
    probe_stderr: Tensor  # of their mean, from random vectors alone; 0 without any, NaN with one a sample
    truncation: Tensor  # largest error of their mean by a finite number of steps
    spectrum: Spectrum  # spectrum of G, pooled over the samples


class BulkThermodynamics(NamedTuple):
    """State functions of the bulk at a temperature, scalars; see :mod:`~thermo_callbacks.functional.bulk`.

    Attributes:
        log_partition: ln Z in nats.
        entropy: Thermodynamic entropy S_x in nats.
        free_energy: F_x, in units of the loss.
        mean_loss: Bulk loss n T / 2 of the ensemble.
    """

    log_partition: Tensor
    entropy: Tensor
    free_energy: Tensor
    mean_loss: Tensor


@dataclass(frozen=True)
class BulkReading:
    """One measurement of the bulk. Tensors are in double precision; what wasn't measured is NaN.

    Attributes:
        network: Name of the network.
        reason: Why the network is no chain, as a clause; empty for a chain.
        neurons: All neurons n of a sample, those of the input among them.
        mapped: Neurons that have a map: all but the input's.
        complexity: Mean complexity of the samples in nats. Its error is that of a mean of samples, probes included.
        sampled: Complexity sample by sample, its error from probes and steps alone, and the spectrum of G.
        bulk_loss: Measured bulk loss, mean over the samples, with its error.
        pinned_bulk_loss: The same with the boundary loss in the place of the output layer's.
        boundary_loss: Loss of the training step.
        laplacian: Laplacian of complexity with its error; NaN for other networks than chains.
        laplacian_reason: Why there is no Laplacian, as a sentence; empty if there is.
    """

    network: str
    reason: str
    neurons: int
    mapped: int
    complexity: Estimate
    sampled: SampledComplexity
    bulk_loss: Estimate
    pinned_bulk_loss: Tensor
    boundary_loss: Tensor
    laplacian: Estimate
    laplacian_reason: str

    @property
    def method(self) -> Literal["exact", "stochastic"]:
        """Exact for a chain of layers, stochastic Lanczos quadrature for any other network."""
        return "stochastic" if self.reason else "exact"

    @property
    def spectrum(self) -> Spectrum:
        """Spectrum of G, pooled over the samples."""
        return self.sampled.spectrum

    @property
    def equipartition_temperature(self) -> Tensor:
        """Temperature 2 H / n of the measured bulk loss, n the neurons that have a map: the input's can't show it."""
        return equipartition_temperature(self.bulk_loss.value, self.mapped)

    def thermodynamics(self, temperature: float | Tensor) -> BulkThermodynamics:
        """State functions at a temperature.

        Args:
            temperature: Temperature T in units of the loss.

        Returns:
            The state functions; NaN where the temperature isn't positive, but for the mean loss.
        """
        complexity, n = self.complexity.value, self.neurons
        warm = torch.as_tensor(temperature, dtype=complexity.dtype, device=complexity.device)
        return BulkThermodynamics(
            bulk_log_partition(complexity, warm, n),
            bulk_entropy(complexity, warm, n),
            bulk_free_energy(complexity, warm, n),
            mean_bulk_loss(warm, n),
        )
