"""Cost of a trace of the Hessian, and its accuracy against its cost beside other packages.

    python tests/benchmarks/curvature.py                      # all of it, some ten minutes on one thread
    python tests/benchmarks/curvature.py --model mlp --rounds 5 --repetitions 4

Other packages are measured if they can be imported; they need an environment of their own:
    pip install "curvlinops-for-pytorch>=3.0" "hessian-eigenthings>=1.0.0a5"

First table: time of one estimate with a single probe over that of a training step (forward, backward, plain SGD) on the
same batch, by double backward and by finite differences, and of a measurement as the monitors make it: with directions
of each sample's own, vectors for its other weights, and traces and gradients of all layers. Steps and estimates
alternate, and ratios are taken between neighbours, so that a machine whose speed drifts moves both. The step attends
with PyTorch's fused kernel, and so do the finite differences; double backward needs the plain one.

Second table: the same trace by each package with the same number of matrix-vector products, again in turns. The
standard error is the scatter of the estimates over the repetitions. Hutchinson's estimates from exact products are
draws of one distribution, whoever makes them, so their scatter is pooled and they differ in time alone. The error times
the root of an estimate's seconds is what one second buys: lower is better, and more products don't change it.

Third table: error of a finite difference against double backward, relative to the norm of the product. The MLP is one
of ReLUs, whose kinks a difference can't pass: its finite differences are fast and wrong, in every package.

All times are processor times, which other processes on the machine disturb least.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from overhead import Decoder, images, mlp, text
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from thermo_callbacks.callbacks.extra_passes.curvature import PROBES
from thermo_callbacks.functional.curvature import (
    accumulated_product,
    hessian_trace,
    hessian_vector_product,
    rademacher,
    single_probe,
)
from thermo_callbacks.probes.curvature import SampleCurvatureProbe
from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay

EXACT = {"Hutchinson", "Hutchinson, autograd"}  # ways that draw from the same distribution
PEERS = {"curvlinops": "curvlinops-for-pytorch", "hessian_eigenthings": "hessian-eigenthings"}


class FlatPredictions(nn.Module):
    """Predictions of all positions in a row: the shape that cross-entropy takes in every package."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs).flatten(0, -2)


@dataclass(frozen=True)
class Task:
    """A network and a batch, with memory that is kept from estimate to estimate, as the monitors keep it."""

    net: nn.Module
    inputs: Tensor
    target: Tensor
    memory: KeptMemory = field(default_factory=KeptMemory)

    @functools.cached_property
    def probe(self) -> SampleCurvatureProbe:
        """What the monitors measure with."""
        replay = Replay(self.net, lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]))
        return SampleCurvatureProbe(replay, layer_parameters(self.net), seed=0, probes=PROBES, memory=self.memory)

    def by_samples(self, _: int, generator: torch.Generator) -> float:
        """One measurement: the number of vectors is the monitors'."""
        step = int(torch.randint(2**31, (), generator=generator))
        return float(self.probe.measure({}, (self.inputs, self.target), step=step).whole[0])

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.net.parameters())

    def loss(self) -> Tensor:
        return nn.functional.cross_entropy(self.net(self.inputs), self.target)

    def add_gradient(self, values: Sequence[Tensor], sums: Sequence[Tensor]) -> None:
        """Gradient at other values of the parameters."""
        leaves = [value.requires_grad_() for value in values]
        for leaf, total in zip(leaves, sums, strict=True):
            leaf.grad = total
        places = dict(zip((name for name, _ in self.net.named_parameters()), leaves, strict=True))
        nn.functional.cross_entropy(functional_call(self.net, places, (self.inputs,)), self.target).backward()

    def by_double_backward(self, probes: int, generator: torch.Generator) -> float:
        with sdpa_kernel(SDPBackend.MATH):
            loss = self.loss()
        return hessian_trace(loss, self.parameters, probes, generator).estimate.item()

    def by_finite_differences(self, probes: int, generator: torch.Generator) -> float:
        vectors, out, scratch = (
            [self.memory.like((kind, index), parameter) for index, parameter in enumerate(self.parameters)]
            for kind in ("vector", "product", "side")
        )
        total = 0.0
        for _ in range(probes):
            rademacher(self.parameters, generator, out=vectors)
            accumulated_product(self.add_gradient, self.parameters, vectors, out=out, scratch=scratch)
            total += single_probe(vectors, out)[0].sum().item()
        return total / probes


def make_task(name: str, steps: int) -> Task:
    """A network after some training steps, with the next batch."""
    torch.manual_seed(0)
    net, loader = (mlp(), images()) if name == "mlp" else (Decoder(), text())
    task = Task(FlatPredictions(net), *next(iter(loader)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    while steps > 0:
        for inputs, target in loader:
            task = Task(task.net, inputs, target.flatten())
            train_step(task, optimizer)
            steps -= 1
            if steps <= 0:
                break
    return task


def train_step(task: Task, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    task.loss().backward()
    optimizer.step()


def seconds(action: Callable[[], Any]) -> float:
    """Processor time, which on one thread is that of the clock less what other processes took."""
    start = time.process_time()
    action()
    return time.process_time() - start


def cost(task: Task, rounds: int) -> dict[str, list[float]]:
    """Time of an estimate over that of the steps before and after it, by way of the product."""
    # a rate of zero: the same network in all rounds, at the price of every other rate
    optimizer = torch.optim.SGD(task.parameters, lr=0.0)
    generator = torch.Generator().manual_seed(0)
    ways = {
        "double backward": task.by_double_backward,
        "finite differences": task.by_finite_differences,
        "the monitors": task.by_samples,
    }
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for warm in range(-1, rounds):
        before = seconds(lambda: train_step(task, optimizer))
        for name, way in ways.items():
            spent = seconds(lambda way=way: way(1, generator))
            after = seconds(lambda: train_step(task, optimizer))
            if warm >= 0:
                ratios[name].append(2.0 * spent / (before + after))
            before = after
    return ratios


def curvlinops_ways(peer: Any, task: Task) -> dict[str, Callable[[int], float]]:
    """Estimators of curvlinops, with its Hessian."""
    operator = peer.HessianLinearOperator(
        task.net, nn.CrossEntropyLoss(), task.parameters, [(task.inputs, task.target)],
        check_deterministic=False, num_data=1, batch_size_fn=lambda _: 1,
    )  # fmt: skip
    estimators = {"Hutchinson": peer.hutchinson_trace, "Hutch++": peer.hutchpp_trace}
    return {name: lambda count, of=of: float(of(operator, count)) for name, of in estimators.items()}


def hessian_eigenthings_ways(peer: Any, task: Task) -> dict[str, Callable[[int], float]]:
    """Estimators of hessian-eigenthings, with its Hessian by both ways of the product."""
    loss = peer.supervised_loss(nn.functional.cross_entropy)
    ways: dict[str, Callable[[int], float]] = {}
    for method in ("autograd", "finite_difference"):
        operator = peer.HessianOperator(task.net, [(task.inputs, task.target)], loss, method=method)
        for name in ("hutchinson", "hutch++") if method == "autograd" else ("hutchinson",):
            ways[f"{name.capitalize()}, {method.replace('_', ' ')}"] = functools.partial(
                _eigenthings, peer, operator, name
            )
    return ways


def _eigenthings(peer: Any, operator: Any, method: str, count: int) -> float:
    return float(peer.trace(operator, num_matvecs=count, method=method, seed=torch.seed() % 2**31).estimate)


def contenders(task: Task, peers: Iterable[str]) -> dict[tuple[str, str], Callable[[int], float]]:
    """All ways to the trace, by package and name."""
    generator = torch.Generator().manual_seed(1)
    found: dict[tuple[str, str], Callable[[int], float]] = {
        ("thermo-callbacks", "Hutchinson"): lambda count: task.by_double_backward(count, generator),
        ("thermo-callbacks", "the monitors, once"): lambda count: task.by_samples(count, generator),
        ("thermo-callbacks", "Hutchinson, finite difference"): lambda count: task.by_finite_differences(
            count, generator
        ),
    }
    for name in peers:
        make = {"curvlinops": curvlinops_ways, "hessian_eigenthings": hessian_eigenthings_ways}[name]
        ways = make(importlib.import_module(name), task)
        found |= {(PEERS[name], way): estimator for way, estimator in ways.items()}
    return found


def accuracy(task: Task, peers: Iterable[str], products: int, repetitions: int) -> list[tuple[str, ...]]:
    """Rows: package, way, mean, standard error, seconds of an estimate, standard error times root of seconds."""
    ways = contenders(task, peers)
    values: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    times: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    for repetition in range(-1, repetitions):
        for name, estimator in ways.items():
            found: list[float] = []
            count = products if repetition >= 0 else 3  # the first round warms everything up
            with sdpa_kernel(SDPBackend.MATH):
                spent = seconds(lambda estimator=estimator, count=count, found=found: found.append(estimator(count)))
            if repetition >= 0:
                times[name].append(spent)
                values[name] += found
    variances = {name: statistics.variance(column) for name, column in values.items()}
    pooled = statistics.mean(variances[name] for name in ways if name[1] in EXACT)
    rows = []
    for name in ways:
        spent, mean = statistics.median(times[name]), statistics.mean(values[name])
        error = (pooled if name[1] in EXACT else variances[name]) ** 0.5
        rows.append((*name, f"{mean:.4g}", f"{error:.3g}", f"{spent:.3f}", f"{error * spent**0.5:.3g}"))
    return rows


def difference_errors(task: Task, peers: Iterable[str]) -> list[tuple[str, str]]:
    """Relative errors of finite differences against double backward, on one probe."""
    parameters = task.parameters
    vectors = rademacher(parameters, torch.Generator().manual_seed(2))
    with sdpa_kernel(SDPBackend.MATH):
        gradients = torch.autograd.grad(task.loss(), parameters, create_graph=True)
    exact = torch.cat([x.flatten() for x in hessian_vector_product(gradients, parameters, vectors)])
    found, _ = accumulated_product(task.add_gradient, parameters, vectors)
    products = {"thermo-callbacks": torch.cat([x.flatten() for x in found])}
    if "hessian_eigenthings" in peers:
        peer = importlib.import_module("hessian_eigenthings")
        loss = peer.supervised_loss(nn.functional.cross_entropy)
        operator = peer.HessianOperator(task.net, [(task.inputs, task.target)], loss, method="finite_difference")
        products["hessian-eigenthings"] = operator.matvec(torch.cat([v.flatten() for v in vectors]))
    return [(name, f"{((product - exact).norm() / exact.norm()).item():.2g}") for name, product in products.items()]


def installed_peers(console: Console) -> list[str]:
    """The packages that can be imported; says which can't."""
    found = []
    for module, package in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError as fault:
            console.print(f"{package} is not measured: {fault}. pip install {package}")
        else:
            found.append(module)
    return found


def tables(names: Iterable[str], peers: Sequence[str], options: argparse.Namespace) -> list[Table]:
    costs = Table("model", "product by", "rounds", "median", "quartiles", title="One estimate, in training steps")
    errors = Table("model", "package", "way", "trace", "standard error", "seconds", "error x root of seconds",
                   title=f"Accuracy against cost, {options.products} products an estimate")  # fmt: skip
    differences = Table("model", "package", "relative error", title="Finite differences against double backward")
    for name in names:
        task = make_task(name, options.steps)
        for way, ratios in cost(task, options.rounds).items():
            low, _, high = statistics.quantiles(ratios, n=4)
            costs.add_row(
                name, way, str(options.rounds), f"{statistics.median(ratios):.2f}", f"{low:.2f} to {high:.2f}"
            )
        for row in accuracy(task, peers, options.products, options.repetitions):
            errors.add_row(name, *row)
        for row in difference_errors(task, peers):
            differences.add_row(name, *row)
    return [costs, errors, differences]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["mlp", "decoder", "all"], default="all")
    parser.add_argument("--steps", type=int, default=50, help="training steps before the measurement")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of steps and estimates in the first table")
    parser.add_argument("--products", type=int, default=9, help="products an estimate in the second table, at least 3")
    parser.add_argument("--repetitions", type=int, default=20, help="estimates of each way in the second table")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    console = Console()
    peers = installed_peers(console)
    for table in tables(["mlp", "decoder"] if options.model == "all" else [options.model], peers, options):
        console.print(table)


if __name__ == "__main__":
    main()
