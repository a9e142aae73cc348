"""How often a rate is lowered at any look of a run: false acceptance on runs that move, power on those at rest.

    python tests/benchmarks/equilibrium_looks.py                        # a table, two minutes
    python tests/benchmarks/equilibrium_looks.py --replicas 20 --networks 3 --steps 4000

A row is a process whose nature is known, with a constant learning rate. *Accepted* is the share of its replicas in
which EquilibriumScheduler would have lowered the rate at any of its looks, with the standard error; *median* the step
at which it did. *Origin* is share and median where positions are counted from the origin and not from where the
tested steps began. A network learns at first and comes to rest later: its row says what share of all that the training
loss falls from the first hundred steps to the last thousand was left when the rate was lowered.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from stationarity import perceptron, show
from stationary_processes import Series, TinyGPT, Training, digits, network, quadratic, record, text
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria, RepeatedStationarityTest


class Process(NamedTuple):
    """How to train, and what is known of it."""

    name: str
    training: Callable[[int], Training]  # from the number of replicas
    moves: bool | None  # for good; None for a network, which comes to rest
    momentum: float = 0.0


def processes() -> list[Process]:
    """From the simple to the real."""
    letters, verses = text(8, 16)
    logistic = network(lambda: nn.Sequential(nn.Linear(64, 10)), digits(32), lambda p: SGD(p, 0.2, weight_decay=0.01))
    deep = network(perceptron, digits(32), lambda p: SGD(p, 0.05, momentum=0.9, weight_decay=0.01))
    gpt = network(lambda: TinyGPT(letters, 16), verses, lambda p: AdamW(p, 0.01, weight_decay=0.3))
    return [
        Process("equilibrium (OU)", quadratic(1.0), False),
        Process("equilibrium, momentum 0.9", quadratic(1.0, momentum=0.9), False, 0.9),
        Process("random walk", quadratic(0.0), True),
        Process("random walk, momentum 0.9", quadratic(0.0, momentum=0.9), True, 0.9),
        Process("slow drift along a slope", quadratic(0.0, slope=-0.02), True),
        Process("slow relaxation", quadratic(0.0002), True),
        Process("logistic regression", logistic, None),
        Process("perceptron, momentum", deep, None, 0.9),
        Process("tiny GPT, AdamW", gpt, None, 0.9),
    ]


def looks(criteria: EquilibriumCriteria, momentum: float, steps: int) -> list[int]:
    """Steps of a run at which it is tested."""
    first = criteria.first_look(momentum)
    return [first * 2**k for k in range(max(0, int(math.log2(max(1.0, steps / first))) + 1))]


def accepted(
    series: Series, replica: int, process: Process, criteria: EquilibriumCriteria, *, origin: bool
) -> int | None:
    """Step at which a replica is accepted; None if it never is."""
    test = RepeatedStationarityTest(criteria, process.momentum)
    squares, losses = series.displacement_square[:, replica], series.loss[:, replica]
    products = series.position_displacement[:, replica]
    if not origin:  # |q - q0|^2 before each step; the base is renewed where tested steps begin
        change = series.distance_square[:, replica].diff(append=torch.zeros(1, dtype=torch.float64))
        products = (change - squares) / 2.0
    for end in looks(criteria, process.momentum, len(losses)):
        span = slice(end // 2, end - 1)  # of the last step the distance after it is not known
        test.add(torch.stack([products[span], squares[span], losses[span]]))
        if test.turn(end) and test.look().stationary:
            return end
    return None


def left_over(losses: Tensor, step: int) -> float:
    """Share of the fall of the loss that is left at a step."""
    begin, now, end = losses[:100].mean(), losses[step - 500 : step].mean(), losses[-1000:].mean()
    return float((now - end) / (begin - end))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=100, help="of the simple processes")
    parser.add_argument("--networks", type=int, default=12, help="replicas of the networks")
    parser.add_argument("--steps", type=int, default=8000, help="of each run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    criteria = EquilibriumCriteria()
    show("process", "moves", "looks", "accepted at any", "median", "origin", "fall of the loss left")
    show(*["---"] * 7)
    for process in processes():
        count = options.networks if process.moves is None else options.replicas
        torch.manual_seed(0)
        times = looks(criteria, process.momentum, options.steps)
        series = record(*process.training(count), steps=options.steps, bases={end // 2 for end in times}, seed=1)
        found = [accepted(series, replica, process, criteria, origin=False) for replica in range(count)]
        other = [accepted(series, replica, process, criteria, origin=True) for replica in range(count)]
        when = [step for step in found if step is not None]
        late = [step for step in other if step is not None]
        share, error = len(when) / count, math.sqrt(len(when) * (count - len(when)) / count**3)
        rest = [left_over(series.loss[:, r], s) for r, s in enumerate(found) if s is not None and process.moves is None]
        show(
            process.name,
            {True: "yes", False: "no", None: "at first"}[process.moves],
            str(len(times)),
            f"{100 * share:.0f} ± {100 * error:.0f} %",
            f"{statistics.median(when):,.0f}" if when else "-",
            f"{100 * len(late) / count:.0f} %" + (f", {statistics.median(late):,.0f}" if late else ""),
            f"{100 * statistics.mean(rest):.1f} %" if rest else "-",
        )


if __name__ == "__main__":
    main()
