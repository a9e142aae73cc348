"""First law: what the heat of the weights explains of the loss, and what entropy explains of the neurons' energy.

Table 1. The heat is the work of each move against the slope, summed over a run of gradient descent. What it leaves
unexplained of the change of the loss is the second order of each step: half as large at half the learning rate, over
the same time. With random batches there is more: each step fits the noise of its batch, and the next batch undoes it.
That residual is many times the change of the loss, and does not vanish with the learning rate.

Table 2. The neurons as a canonical ensemble at the temperature of their agitation by the moving weights: between two
states of training the mean bulk loss changes by T (dS + dC), up to the third order of the temperature's relative
change, which is large at the start.

    python examples/13_first_law.py [--quick]
"""

import argparse

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale
from torch import Tensor, nn

from thermo_callbacks.functional import (
    bulk_complexity,
    bulk_first_law_residual,
    bulk_loss,
    equipartition_temperature,
    first_law_residual,
    mean_bulk_loss,
)

HIDDEN, BATCH, TIME = 16, 16, 8.0


def network() -> nn.Sequential:
    """The same feed-forward network each time, in double precision."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)).double()


def descend(rate: float, data: tuple[Tensor, Tensor], *, batch: int | None) -> tuple[float, float, float]:
    """Loss on all data before and after, and the heat in between."""
    net, (inputs, targets) = network(), data
    parameters = list(net.parameters())
    generator = torch.Generator().manual_seed(1)

    def energy() -> float:
        return nn.functional.mse_loss(net(inputs), targets).item()

    before, heat = energy(), 0.0
    for _ in range(round(TIME / rate)):
        chosen = slice(None) if batch is None else torch.randint(len(targets), (batch,), generator=generator)
        loss = nn.functional.mse_loss(net(inputs[chosen]), targets[chosen])
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient
                heat -= rate * float(gradient.square().sum())
    return before, energy(), heat


def trajectory(data: tuple[Tensor, Tensor], rates: list[float]) -> None:
    """Table 1: the energy balance of the weights."""
    print(f"{'batch':>6s} {'rate':>7s} {'change of loss':>15s} {'heat':>10s} {'residual':>10s} {'of the change':>14s}")
    for batch in (None, BATCH):
        for rate in rates:
            before, after, heat = descend(rate, data, batch=batch)
            residual = float(first_law_residual(*(torch.tensor(value) for value in (before, after, heat))))
            share = residual / (after - before)
            print(f"{batch or 'all':>6} {rate:7.4f} {after - before:15.4f} {heat:10.4f} {residual:10.4f} {share:14.1%}")


def neurons(data: tuple[Tensor, Tensor], steps: int) -> None:
    """Table 2: the energy balance of the neurons, along training."""
    net, (inputs, targets) = network(), data
    first, _, second = net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    count, mapped = 10 + HIDDEN + 1, HIDDEN + 1
    titles = f"{'temperature':>12s} {'complexity':>11s} {'change of <H>':>14s} {'T (dS + dC)':>12s} {'residual':>10s}"
    print(f"\n{'step':>6s} {titles}")
    states: list[tuple[float, float]] = []
    for step in range(5 * steps + 1):
        hidden = torch.tanh(first(inputs)).detach()
        seen = [hidden, second(hidden).detach()]
        optimizer.zero_grad()
        nn.functional.mse_loss(net(inputs), targets).backward()
        optimizer.step()
        if step % steps:
            continue
        with torch.no_grad():
            moved = [torch.tanh(first(inputs)), second(hidden)]  # the states before, through the map after
            agitation = bulk_loss(seen, moved).mean()
            slopes = [1.0 - hidden.square(), torch.ones_like(seen[1])]
            complexity = bulk_complexity([first.weight, second.weight], slopes).mean()
        temperature = float(equipartition_temperature(agitation, mapped))
        states.append((temperature, float(complexity)))
        if len(states) > 1:
            temperatures, complexities = torch.tensor(states[-2:], dtype=torch.float64).T
            energies = mean_bulk_loss(temperatures, count)
            residual = float(bulk_first_law_residual(energies, temperatures, complexities, count))
            change = float(energies.diff())
            values = f"{temperature:12.2e} {float(complexity):11.3f} {change:14.2e} {change - residual:12.2e}"
            print(f"{step:6d} {values} {residual:10.1e}")


def main(quick: bool = False) -> None:
    """Print both tables."""
    inputs, targets = (torch.tensor(scale(part)) for part in load_diabetes(return_X_y=True))
    data = inputs, targets[:, None]
    trajectory(data, [0.02, 0.01] if quick else [0.04, 0.02, 0.01, 0.005])
    neurons(data, 20 if quick else 100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two learning rates, fewer steps")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
