"""Truths of a moment of training: per-sample gradients, Hessian products of the whole loss, replicas of a window."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset

PROBES = 64
LANCZOS = 25
REPLICAS = 40


class Moment:
    """The whole training loss of a network at the weights of a moment."""

    def __init__(self, net: nn.Module, data: TensorDataset, parameters: dict[str, Tensor] | None = None) -> None:
        now = dict(net.named_parameters()) if parameters is None else parameters
        self.parameters = {name: p.detach().clone() for name, p in now.items()}
        self._net, self._data = net, data

    def loss(self, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(self._net, parameters, (inputs,)), targets.flatten())

    def signal_and_noise(self, mobility: dict[str, Tensor]) -> tuple[float, float, float]:
        """|G|^2, trace of one sample's covariance, and the sum of its diagonal times the mobility."""
        one = vmap(grad(lambda p, x, y: self.loss(p, x[None], y[None])), (None, 0, 0), randomness="error")
        count = len(self._data)
        sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in self.parameters.items()}
        squares = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in self.parameters.items()}
        for inputs, targets in DataLoader(self._data, batch_size=200):
            for name, found in one(self.parameters, inputs, targets).items():
                sums[name] += found.double().sum(0)
                squares[name] += found.double().square().sum(0)
        signal = noise = hot = 0.0
        for name, total in sums.items():
            mean = total / count
            variance = (squares[name] - count * mean.square()) / (count - 1)
            signal += mean.square().sum().item()
            noise += variance.sum().item()
            hot += (mobility[name] * variance).sum().item()
        return signal, noise, hot

    def gradient(self) -> Tensor:
        """Gradient of the whole loss, flat, in double precision."""
        leaves = {name: p.clone().requires_grad_() for name, p in self.parameters.items()}
        total = torch.zeros(sum(p.numel() for p in leaves.values()), dtype=torch.float64)
        for inputs, targets in DataLoader(self._data, batch_size=1000):
            loss = self.loss(leaves, inputs, targets) * len(inputs) / len(self._data)
            total += torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(leaves.values()))])
        return total

    def products(self, vectors: Sequence[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """Products of the Hessian with vectors."""
        leaves = {name: p.clone().requires_grad_() for name, p in self.parameters.items()}
        totals = [{name: torch.zeros_like(p) for name, p in self.parameters.items()} for _ in vectors]
        for inputs, targets in DataLoader(self._data, batch_size=1000):
            loss = self.loss(leaves, inputs, targets) * len(inputs) / len(self._data)
            gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
            for vector, total in zip(vectors, totals, strict=True):
                along = sum((g * vector[name]).sum() for g, name in zip(gradients, leaves, strict=True))
                found = torch.autograd.grad(along, list(leaves.values()), retain_graph=True)
                for name, part in zip(leaves, found, strict=True):
                    total[name] += part
        yield from totals

    def traces(self, mobility: dict[str, Tensor], seed: int) -> tuple[Tensor, Tensor]:
        """Samples of the traces of H and of the mobility times H."""
        generator = torch.Generator().manual_seed(seed)
        signs = [
            {n: torch.randint(0, 2, p.shape, generator=generator).float() * 2 - 1 for n, p in self.parameters.items()}
            for _ in range(PROBES)
        ]
        plain, moving = [], []
        for vector, product in zip(signs, self.products(signs), strict=True):
            terms = {name: vector[name].double() * product[name].double() for name in vector}
            plain.append(sum(term.sum() for term in terms.values()))
            moving.append(sum((mobility[name] * term).sum() for name, term in terms.items()))
        return torch.stack(plain), torch.stack(moving)  # type: ignore[arg-type]

    def curvatures(self, directions: Tensor) -> Tensor:
        """v.H v for each row v of all parameters, ``[k]``."""
        vectors = [self._parts(row) for row in directions]
        pairs = zip(vectors, self.products(vectors), strict=True)
        return torch.stack([sum((v[n].double() * h[n].double()).sum() for n in v) for v, h in pairs])  # type: ignore[misc]

    def _parts(self, row: Tensor) -> dict[str, Tensor]:
        pieces = row.split([p.numel() for p in self.parameters.values()])
        return {name: piece.view_as(p) for piece, (name, p) in zip(pieces, self.parameters.items(), strict=True)}

    def sharpness(self, seed: int) -> float:
        """Largest eigenvalue of H by Lanczos steps with full orthogonalisation."""
        generator = torch.Generator().manual_seed(seed)
        vector = torch.randn(sum(p.numel() for p in self.parameters.values()), generator=generator)
        basis: list[Tensor] = []
        images: list[Tensor] = []
        for _ in range(LANCZOS):
            for other in basis:
                vector = vector - (vector @ other) * other
            vector = vector / vector.norm()
            basis.append(vector)
            [product] = self.products([self._parts(vector)])
            vector = torch.cat([part.flatten() for part in product.values()])
            images.append(vector)
        projected = torch.stack(basis).double() @ torch.stack(images).double().T
        return torch.linalg.eigvalsh((projected + projected.T) / 2)[-1].item()


class Replicas:
    """Runs that start where a window did, with other batches: what its drift is without the chance of one run."""

    def __init__(self, task: Any, optimizer: torch.optim.Optimizer) -> None:
        self._task = copy.deepcopy(task.net), task.case
        self._state = copy.deepcopy(optimizer.state_dict())

    def growths(self, data: TensorDataset, steps: int, momentum: float, seed: int) -> Tensor:
        """Mean change of the squared norm a step, without momentum's memory of earlier steps, of each replica."""
        return torch.stack([self._growth(data, steps, momentum, 1000 * seed + i) for i in range(REPLICAS)])

    def _growth(self, data: TensorDataset, steps: int, momentum: float, seed: int) -> Tensor:
        start, case = self._task
        net = copy.deepcopy(start)
        made = case.optimizer(net.parameters())
        optimizer = made["optimizer"] if isinstance(made, dict) else made
        optimizer.load_state_dict(self._state)
        generator = torch.Generator().manual_seed(seed)
        loader = DataLoader(data, case.batch_size, shuffle=True, generator=generator)
        norms = [_square_norm(net)]
        for inputs, targets in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), targets.flatten()).backward()
            if case.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), case.clip)
            optimizer.step()
            norms.append(_square_norm(net))
        changes = torch.stack(norms).diff()
        return ((changes[1:] - momentum * changes[:-1]) / (1.0 - momentum)).mean() if momentum else changes.mean()


def _square_norm(net: nn.Module) -> Tensor:
    return torch.stack([p.detach().double().square().sum() for p in net.parameters()]).sum()
