"""Power and false acceptance of tests of stationarity, on processes of which it is known whether they move.

    python tests/benchmarks/stationarity.py                 # two tables, a few minutes
    python tests/benchmarks/stationarity.py --replicas 8 --networks 4   # a minute

A row is a span of steps. *Drift* and *loss* are its true relative drift and change of the loss, as the equivalence
test defines them: means over the replicas. Where one lies beyond its tolerance the span moves, and accepting it as
stationary is an error. The columns say in what share of the replicas each test accepts it:

- equivalence: this package's.
- SASA (Lang et al. 2019): the 80 % interval of the relative drift within 0.02.
- difference: no drift is shown at 5 %, the other way round (SASA+ decides so).
- Pflug (Chee and Toulis 2018): the sum of products of successive gradients is negative.
- distance (Pesme et al. 2020): the squared distance from where the span began grows with less than the power 0.6 of the
  time, over its last third.

The second table is about a single window: how often the p-value of the drift share is below 5 %, in equilibrium (a
false alarm) and a hundred steps after the start of training.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from stationary_processes import Series, TinyGPT, Training, digits, network, quadratic, record, text
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from thermo_callbacks.functional import Stationarity, drift_p_value, stationarity_test

TOLERANCE, LOSS_TOLERANCE = 0.5, 0.2
Span = tuple[int, int]


class Process(NamedTuple):
    """How to train, and which spans of its steps are judged."""

    name: str
    training: Callable[[int], Training]  # from the number of replicas
    spans: Sequence[Span]
    momentum: float = 0.0
    network: bool = False


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def processes() -> list[Process]:
    """From the simple to the real; constant learning rates throughout."""
    letters, verses = text(8, 16)
    after = [(500, 500 + steps) for steps in (500, 1000, 2000, 4000)]
    logistic = network(lambda: nn.Sequential(nn.Linear(64, 10)), digits(32), lambda p: SGD(p, 0.2, weight_decay=0.01))
    deep = network(perceptron, digits(32), lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01))
    gpt = network(lambda: TinyGPT(letters, 16), verses, lambda p: AdamW(p, 0.01, weight_decay=0.3))
    return [
        Process("equilibrium (OU)", quadratic(1.0), after),
        Process("equilibrium, momentum 0.9", quadratic(1.0, momentum=0.9), after, 0.9),
        Process("random walk", quadratic(0.0), after),
        Process("random walk, momentum 0.9", quadratic(0.0, momentum=0.9), after, 0.9),
        Process("slow drift along a slope", quadratic(0.0, slope=-0.02), after),
        Process("slow relaxation", quadratic(0.002), after),
        Process("logistic regression", logistic, [(0, 500), (500, 1500), (2000, 4000), (2000, 6000)], network=True),
        Process("perceptron, momentum", deep, [(0, 500), (500, 1500), (4000, 6000), (4000, 8000)], 0.9, network=True),
        Process("tiny GPT, AdamW", gpt, [(0, 500), (500, 1500), (3000, 5000), (3000, 7000)], 0.9, network=True),
    ]


def judged(series: Series, momentum: float, level: float = 0.05) -> Stationarity:
    """The equivalence test of one replica's span."""
    return stationarity_test(
        *series[:3], momentum=momentum, tolerance=TOLERANCE, loss_tolerance=LOSS_TOLERANCE, level=level
    )


def verdicts(series: Series, momentum: float) -> list[bool]:
    """What each test says of one replica's span, in the order of the columns."""
    found, sasa = judged(series, momentum), judged(series, momentum, level=0.1)
    difference = judged(series, momentum, level=0.025)
    steps = len(series.loss)
    distance = series.distance_square
    power = math.log(distance[-1] / distance[int(steps / 1.5)]) / math.log(1.5)
    return [
        found.stationary,
        sasa.drift_lower > -0.02 and sasa.drift_upper < 0.02,
        difference.drift_lower < 0.0 < difference.drift_upper,
        bool(series.neighbours[1:].sum() < 0.0),
        power < 0.6,
    ]


def shown(series: Series, begin: int, steps: int, momentum: float) -> float:
    """Share of replicas in which the p-value of a window is below 5 %."""
    change = (2.0 * series.position_displacement + series.displacement_square)[begin : begin + steps].T
    found = []
    for row in change:
        # one coordinate whose square changes as the squared norm does
        size = torch.cat([torch.zeros(1), row.cumsum(0)]) + 2.0 * row.abs().sum() + 1.0
        q: Tensor = size.sqrt().view(-1, 1)
        found.append(bool(drift_p_value(q[:-1], q.diff(dim=0), momentum) < 0.05))
    return sum(found) / len(found)


def percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def show(*cells: str) -> None:
    """A row of a Markdown table, as soon as it is known."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=100, help="of the simple processes")
    parser.add_argument("--networks", type=int, default=12, help="replicas of the networks")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = ("equivalence", "SASA", "difference", "Pflug", "distance")
    show("accepted as stationary", "steps", "drift", "loss", "moves", *names)
    show(*["---"] * 10)
    windows: list[tuple[str, ...]] = []
    for process in processes():
        replicas = options.networks if process.network else options.replicas
        torch.manual_seed(0)
        steps, bases = max(stop for _, stop in process.spans), {start for start, _ in process.spans}
        series = record(*process.training(replicas), steps=steps, bases=bases, seed=1)
        for start, stop in process.spans:
            each = [series.span(start, stop, replica) for replica in range(replicas)]
            found = [judged(one, process.momentum) for one in each]
            drift, loss = (sum(getattr(one, of) for one in found) / replicas for of in ("drift", "loss_change"))
            moves = abs(drift) > TOLERANCE or abs(loss) > LOSS_TOLERANCE
            shares = torch.tensor([verdicts(one, process.momentum) for one in each]).double().mean(0).tolist()
            row = (process.name, f"{start:,}-{stop:,}", f"{drift:.2f}", f"{loss:.2f}", "yes" if moves else "no")
            show(*row, *map(percent, shares))
        if process.network or process.name.startswith("equilibrium"):
            begin = process.spans[0][0] + 100
            for window in (8, 16, 50):
                shares = [shown(series, begin, window, momentum) for momentum in (process.momentum, 0.0)]
                windows.append((process.name, f"{begin:,}-{begin + window:,}", *map(percent, shares)))
    sys.stdout.write("\n")
    show("p-value of the drift below 5 %", "window", "momentum told", "momentum not told")
    show(*["---"] * 4)
    for cells in windows:
        show(*cells)


if __name__ == "__main__":
    main()
