"""Does the topology of a network say, before training, how well it will do? 30 networks of one size, trained alike.

All have three hidden layers and the same number of connections, to the last one; they differ in how the neurons are
spread over the layers. Drawn at random from all such topologies, 30 are taken that cover the range of disorder evenly.
Each learns scikit-learn's digits three times, with other initial weights, batches and images held back. The table shows
Kendall's rank correlation of what the topology says with the mean validation accuracy, and its 95 % interval by the
bootstrap over topologies, which takes in the scatter of the seeds. The width of the narrowest hidden layer stands
beside them: a measure that is to be of use has to rank the networks better than that.

    python examples/08_topology.py            # half a minute
    python examples/08_topology.py --quick    # 12 topologies, 2 seeds, fewer epochs
"""

import argparse
import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.datasets import load_digits
from torch import Tensor, nn

from thermo_callbacks.functional.topology import Topology, analyse, sample_isoenergetic

INPUTS, CLASSES, DEPTH, CONNECTIONS, DRAWN = 64, 10, 3, 12_000, 3_000
HELD_BACK, BATCH = 597, 40
MEASURES = {
    "disorder": lambda topology: topology.disorder,
    "efficiency": lambda topology: topology.efficiency,
    "stability": lambda topology: topology.stability,
    "narrowest layer": lambda topology: min(topology.hidden),
}


def topologies(count: int) -> list[Topology]:
    """Topologies of one number of connections, spread evenly over the range of disorder."""
    drawn = {analyse(widths) for widths in sample_isoenergetic(INPUTS, CLASSES, DEPTH, CONNECTIONS, DRAWN, seed=0)}
    ranked = sorted((one for one in drawn if not math.isnan(one.stability)), key=lambda one: (one.disorder, one.widths))
    chosen = []
    for disorder in np.linspace(ranked[0].disorder, ranked[-1].disorder, count):
        chosen.append(min(ranked, key=lambda one: abs(one.disorder - disorder)))
        ranked.remove(chosen[-1])
    return chosen


def accuracy(topology: Topology, seed: int, epochs: int, data: tuple[Tensor, Tensor]) -> float:
    """Share of the images held back that a network of this topology gets right after training."""
    torch.manual_seed(seed)
    inputs, labels = data
    shuffled = torch.randperm(len(labels))
    held_back, training = shuffled[:HELD_BACK], shuffled[HELD_BACK:]
    hidden = [(nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise(topology.widths[:-1])]
    net = nn.Sequential(*itertools.chain(*hidden), nn.Linear(*topology.widths[-2:]))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003, fused=True)
    for _ in range(epochs):
        for batch in training[torch.randperm(len(training))].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((net(inputs[held_back]).argmax(1) == labels[held_back]).double().mean())


def rank_correlations(measures: np.ndarray, accuracies: np.ndarray) -> list[float]:
    """Kendall's tau of each measure ``[m, n]`` with the accuracy, mean of the seeds of ``[n, s]``."""
    mean = accuracies.mean(axis=1)
    return [float(kendalltau(measure, mean).statistic) for measure in measures]


def bootstrap(measures: np.ndarray, accuracies: np.ndarray, resamples: int) -> np.ndarray:
    """Rank correlations of as many topologies drawn with replacement, ``[r, m]``."""
    # each comes with the mean of its seeds as they fell: to draw among the seeds too would count their scatter twice
    generator = np.random.default_rng(0)
    draws = generator.integers(len(accuracies), size=(resamples, len(accuracies)))
    return np.array([rank_correlations(measures[:, rows], accuracies[rows]) for rows in draws])


def verdict(names: Sequence[str], taus: Sequence[float], resampled: np.ndarray) -> str:
    """What the intervals show, in a sentence."""
    low, high = np.nanquantile(resampled, (0.025, 0.975), axis=0)
    up = [name for name, bound in zip(names, low, strict=True) if bound > 0]
    down = [name for name, bound in zip(names, high, strict=True) if bound < 0]
    unclear = [name for name in names if name not in up + down]
    found = (("rises", up), ("falls", down), ("shows no relation", unclear))
    parts = [f"{how} with {' and '.join(group)}" for how, group in found if group]
    *theory, width = np.abs(taus)
    best = int(np.argmax(theory))
    gap = np.abs(resampled[:, best]) - np.abs(resampled[:, -1])
    bounds = np.nanquantile(gap, (0.025, 0.975))
    better = "better than" if bounds[0] > 0 else "worse than" if bounds[1] < 0 else "no better and no worse than"
    difference = f"{theory[best] - width:+.2f}, {bounds[0]:+.2f} to {bounds[1]:+.2f}"
    return (
        f"At one number of connections, accuracy {', '.join(parts)}. The best of the topology's measures, "
        f"{names[best]}, ranks the networks {better} the width of their narrowest layer alone "
        f"(difference of |tau| {difference})."
    )


def main(quick: bool = False) -> None:
    """Train all networks, print the correlations and what they show."""
    digits = load_digits()
    data = torch.tensor(digits.data, dtype=torch.float32) / 16.0, torch.tensor(digits.target)
    count, seeds, epochs, resamples = (12, 2, 6, 200) if quick else (30, 3, 20, 2_000)
    chosen = topologies(count)
    accuracies = np.array([[accuracy(one, seed, epochs, data) for seed in range(seeds)] for one in chosen])
    print(f"{'topology':>20s} {'disorder':>9s} {'efficiency':>11s} {'stability':>10s}  validation accuracy")
    for one, values in zip(chosen, accuracies, strict=True):
        seen = ", ".join(f"{value:.3f}" for value in values)
        told = f"{one.disorder:9.3f} {one.efficiency:11.3f} {one.stability:10.1f}"
        print(f"{one!s:>20s} {told}  {values.mean():.3f} ({seen})")
    measures = np.array([[measure(one) for one in chosen] for measure in MEASURES.values()])
    taus, resampled = rank_correlations(measures, accuracies), bootstrap(measures, accuracies, resamples)
    print(f"\n{'':20s} {'tau':>6s}  95 % interval")
    for name, tau, column in zip(MEASURES, taus, resampled.T, strict=True):
        low, high = np.nanquantile(column, (0.025, 0.975))
        print(f"{name:20s} {tau:6.2f}  {low:.2f} to {high:.2f}")
    print(f"\n{verdict(list(MEASURES), taus, resampled)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer topologies, seeds and epochs")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
