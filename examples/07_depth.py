"""Depth raises the Laplacian: four networks of one size, one to eight hidden layers, trained alike.

Tanh networks of about 20,000 parameters learn scikit-learn's digits by SGD for ten epochs, by Xavier's initialisation.
All through the last epoch the trace of the Hessian of the loss on all digits is estimated, and the mean taken: the
deepest network is at the edge of stability, and a single step may land on a slope where the trace means nothing. The
table and the figure (depth.png) show the mean over the seeds with the 95 % interval of Student's t, and each seed.

With PyTorch's own initialisation the comparison fails: signals die in eight layers of tanh, and most of these networks
do not begin to learn in ten epochs.

    python examples/07_depth.py            # five seeds
    python examples/07_depth.py --quick    # two seeds
"""

import argparse
import itertools
import math
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

from thermo_callbacks.functional import hessian_trace, mean_estimate

DEPTHS, PARAMETERS, INPUTS, CLASSES, EPOCHS = (1, 2, 4, 8), 20_000, 64, 10, 10


def network(depth: int) -> nn.Sequential:
    """Tanh network with that many hidden layers of one width, as near to the number of parameters as can be."""
    # the number of parameters is inside times the width's square, ends times the width, and the last biases
    inside, ends, room = depth - 1, INPUTS + CLASSES + depth, PARAMETERS - CLASSES
    width = round(room / ends if inside == 0 else (math.sqrt(ends**2 + 4 * inside * room) - ends) / (2 * inside))
    widths = [INPUTS, *[width] * depth]
    hidden = [(nn.Linear(*pair), nn.Tanh()) for pair in itertools.pairwise(widths)]
    net = nn.Sequential(*itertools.chain(*hidden), nn.Linear(width, CLASSES))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def laplacian(depth: int, seed: int, data: tuple[Tensor, Tensor]) -> float:
    """Mean trace of the Hessian on all of the data, over the last epoch of plain SGD on batches of 32."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = network(depth)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    inputs, labels = data
    traces = []
    for epoch in range(EPOCHS):
        for step, batch in enumerate(torch.randperm(len(labels)).split(32)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            if epoch == EPOCHS - 1 and step % 6 == 0:
                loss = nn.functional.cross_entropy(net(inputs), labels)
                traces.append(hessian_trace(loss, list(net.parameters()), 4, generator).estimate)
    return float(torch.stack(traces).mean())


def draw(traces: dict[int, list[float]], path: Path) -> None:
    """Each seed as a dot, the mean with its interval as a bar."""
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="hidden layers", ylabel="Laplacian of the loss after training")
    for place, values in enumerate(traces.values()):
        mean = mean_estimate(torch.tensor(values, dtype=torch.float64))
        low, high = mean.interval()
        axes.plot([place] * len(values), values, "o", color="0.6", markersize=5)
        bar = [[mean.value - low], [high - mean.value]]
        axes.errorbar(place + 0.12, mean.value, bar, fmt="s", color="#0072B2", capsize=4)
    axes.set_xticks(range(len(traces)), [str(depth) for depth in traces])
    axes.set_title(f"About {PARAMETERS:,} parameters each: dots are seeds, bars 95 % intervals of the mean", fontsize=9)
    figure.savefig(path, dpi=120)


def main(quick: bool = False) -> None:
    """Train all networks, print the table, draw the figure."""
    digits = load_digits()
    data = torch.tensor(digits.data, dtype=torch.float32) / 16.0, torch.tensor(digits.target)
    seeds = 2 if quick else 5
    traces: dict[int, list[float]] = {}
    print(f"{'hidden layers':>13s} {'parameters':>10s} {'Laplacian':>10s}  {'95 % interval':<18s} seeds")
    for depth in DEPTHS:
        traces[depth] = [laplacian(depth, seed, data) for seed in range(seeds)]
        mean = mean_estimate(torch.tensor(traces[depth], dtype=torch.float64))
        low, high = mean.interval()
        size = sum(parameter.numel() for parameter in network(depth).parameters())
        interval = f"{low:.1f} to {high:.1f}"
        seen = ", ".join(f"{value:.1f}" for value in traces[depth])
        print(f"{depth:13d} {size:10d} {mean.value:10.1f}  {interval:<18s} {seen}")
    ordered = all(max(traces[one]) < min(traces[other]) for one, other in itertools.pairwise(DEPTHS))
    print("every seed of a network lies below every seed of the next deeper one" if ordered else "seeds overlap")
    path = Path("depth.png")
    draw(traces, path)
    print(f"figure: {path.resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
