"""The bulk of a live network: its septuple is read off, and its canonical ensemble measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.statistics import Estimate, mean_estimate
from thermo_callbacks.probes.bulk.capture import NetworkCall, run_step
from thermo_callbacks.probes.bulk.eval_mode import ParameterValues, evaluation
from thermo_callbacks.probes.bulk.general import NetworkBulk
from thermo_callbacks.probes.bulk.result import BulkReading
from thermo_callbacks.probes.bulk.sequential import ChainBulk
from thermo_callbacks.probes.bulk.sequential_parser import read_chain
from thermo_callbacks.probes.replay import ReplayError


@dataclass(frozen=True, kw_only=True)
class BulkProbe:
    """Measures the bulk of a model's network on a few samples of a training step's batch.

    The septuple (x, P_in, P_out, w, b, f, H) is read off the network. A ``Sequential`` of linear layers, elementwise
    activations, dropout and flattening is a chain, and everything is exact. For any other module the neurons are the
    outputs of the layers that own parameters (behind the activation module that takes such an output directly), w and f
    are known through the map from states to states, and ln det G is found by stochastic Lanczos quadrature. The map is
    that of evaluation mode, in which samples don't touch each other, and of single precision or better. The input is
    taken to have the batch first.

    Attributes:
        network: Name of the network among the model's modules; None finds the innermost module that the step calls and
            that owns all parameters, or else the child that is called and owns most.
        samples: Samples of the batch, its first ones.
        regulator: The regulator m^2, positive.
        probes: Random vectors for each sample where the network is no chain.
        steps: Largest number of Lanczos' steps; the iteration ends when it is sure to 0.001 nats a neuron.
        laplacian_probes: Probes for the Laplacian of complexity, each at a sample of its own; 0 for no Laplacian.

    Raises:
        ValueError: If ``samples``, ``probes`` or ``steps`` is below 1, ``laplacian_probes`` negative, or ``regulator``
            not positive and finite.
    """

    network: str | None = None
    samples: int = 4
    regulator: float = 0.1
    probes: int = 4
    steps: int = 60
    laplacian_probes: int = 2

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("probes", 1), ("steps", 1), ("laplacian_probes", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
                raise ValueError(f"{name} must be a whole number of at least {least} and below 2**63, got {value!r}")
        if self.network is not None and not (isinstance(self.network, str) and self.network):
            raise ValueError(
                "network must be the name of a submodule such as 'net', or None for the one that the step calls, got "
                f"{self.network!r}"
            )
        number = isinstance(self.regulator, int | float) and not isinstance(self.regulator, bool)
        if not number or not 0.0 < self.regulator <= sys.float_info.max:
            raise ValueError(f"regulator must be positive and finite (m^2, for example 0.1), got {self.regulator!r}")

    def measure(
        self,
        model: nn.Module,
        step: Callable[[], Tensor],
        *,
        generator: torch.Generator,
        before: ParameterValues | None = None,
        after: ParameterValues | None = None,
    ) -> BulkReading:
        """Run a training step, and measure the bulk of the network that it calls.

        What the step itself leaves behind is the caller's to prevent. The measurement leaves nothing: random streams,
        training flags, gradients, and all state that can be reached from the model are as before.

        Args:
            model: The model.
            step: Runs the training step on a batch, and gives its loss.
            generator: Source of the random vectors.
            before: Parameter values before an optimizer step, for the measured bulk loss; None: it is NaN.
            after: Parameter values after it. Parameters that are in neither mapping keep their own values.

        Returns:
            The reading, at the parameters' own values.

        Raises:
            ValueError: If the network can't be found, called or differentiated; the text says why.
            ReplayError: If the network writes to something that can't be put back.
        """
        name, network, call, loss = run_step(model, step, network=self.network, samples=self.samples)
        sharded = [key for key, p in network.named_parameters() if hasattr(p, "placements")]
        if sharded:
            raise ValueError(f"network must hold its parameters whole, got {sharded[0]!r} sharded over several devices")
        with evaluation(network, loss.device):
            bulk = self._bulk(model, network, call)
            try:
                return self._reading(name, bulk, loss.double(), generator, (before, after))
            except ReplayError:  # its text says what can't be put back, and what to do
                raise
            except (RuntimeError, NotImplementedError) as error:
                raise ValueError(
                    f"network {name!r} must be a map that autograd can follow twice, got {type(error).__name__}: "
                    f"{error}"
                ) from error

    def _bulk(self, model: nn.Module, network: nn.Module, call: NetworkCall) -> ChainBulk | NetworkBulk:
        chain = read_chain(network, call, model)
        if isinstance(chain, str):
            how: dict[str, Any] = {"regulator": self.regulator, "steps": self.steps, "model": model}
            return NetworkBulk(network, call, reason=chain, **how)
        return ChainBulk(*chain, self.regulator)

    def _reading(
        self,
        name: str,
        bulk: ChainBulk | NetworkBulk,
        boundary: Tensor,
        generator: torch.Generator,
        step: tuple[ParameterValues | None, ParameterValues | None],
    ) -> BulkReading:
        sampled = bulk.complexity(self.probes, generator)
        nan = torch.full_like(boundary, torch.nan)
        loss, pinned = Estimate(nan, nan, torch.zeros_like(nan)), nan
        if step[0] is not None or step[1] is not None:
            losses = bulk.losses(step[0] or {}, step[1] or {})
            loss, pinned = mean_estimate(losses.sum(1)), losses[:, :-1].sum(1).mean() + boundary
        laplacian, why_not = bulk.laplacian(self.laplacian_probes, generator)
        return BulkReading(
            network=name,
            reason=bulk.reason,
            neurons=bulk.neurons,
            mapped=bulk.mapped,
            complexity=mean_estimate(sampled.of_samples),
            sampled=sampled,
            bulk_loss=loss,
            pinned_bulk_loss=pinned,
            boundary_loss=boundary,
            laplacian=laplacian,
            laplacian_reason=why_not,
        )
