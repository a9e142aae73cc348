"""The knee of steps to a target against batch size, beside the noise scale that a monitored run has.

    python tests/benchmarks/critical_batch.py                                   # five minutes
    python tests/benchmarks/critical_batch.py --problems "MNIST, SGD" --seeds 5

Problems and runs are those of examples/14_critical_batch.py: five batch sizes, the learning rate tuned for each on
seeds of its own, batches drawn with replacement. The first table has the steps, the second the knee by
``fit_critical_batch`` and what ThermoMonitor says in runs of each size that take 100 steps or more: the noise scale of
the mean signal share (``run_noise_scale``: the mean over noise-free steps, which theory asks for), with its 95 %
interval over the seeds, its ratio to the measured knee, the same from *exact* shares (gradients of 400 single samples
at 25 steps of a run, for the smallest size), and the plain mean of thermo/noise_scale and of its two ends over the
windows that have one (an end is left out where a window in five or more has none).
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

EXAMPLE = Path(__file__).parents[2] / "examples" / "14_critical_batch.py"
MOMENTS, SAMPLES = 25, 400
"""Steps of a run at which the exact share is taken, and the samples whose gradients tell the noise."""
LONG_ENOUGH = 100
"""Steps of a run whose signal share is worth a mean: about twelve windows."""


def load_example() -> ModuleType:
    """The example as a module: its name begins with a number."""
    spec = importlib.util.spec_from_file_location("critical_batch_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def number(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "none"


def interval(value: float, lower: float, upper: float) -> str:
    return f"{number(value)} [{number(lower)}, {number(upper)}]"


def plain_mean(logged: Sequence[dict[str, list[float]]]) -> str:
    """Mean over windows of what is logged as noise scale, and of its ends."""
    means = []
    for tag in ("noise_scale", "noise_scale_lower", "noise_scale_upper"):
        values = [value for each in logged for value in each[tag]]
        known = [value for value in values if math.isfinite(value)]
        means.append(statistics.mean(known) if len(known) > 0.8 * len(values) else math.inf)
    return interval(*means)


def exact_shares(example: Any, problem: Any, run: Any, seed: int) -> list[float]:
    """|G|^2 / (|G|^2 + tr(Sigma) / B) at steps spread over a run, with G of all data."""
    torch.manual_seed(seed)
    inputs, targets = problem.data()
    net = problem.network()
    optimizer = problem.optimizer(net.parameters(), lr=run.rate)
    generator = torch.Generator().manual_seed(seed)

    def loss(parameters: Any, rows: Any, labels: Any) -> Any:
        return cross_entropy(functional_call(net, parameters, (rows,)), labels)

    def share() -> float:
        parameters = {name: parameter.detach() for name, parameter in net.named_parameters()}
        rows = torch.randint(len(inputs), (SAMPLES, 1), generator=generator)
        singles = vmap(grad(loss), (None, 0, 0))(parameters, inputs[rows], targets[rows])
        signal = sum(float(part.square().sum()) for part in grad(loss)(parameters, inputs, targets).values())
        noise = sum(float(part.square().sum()) for part in singles.values()) / SAMPLES - signal
        return signal / (signal + noise / run.batch)

    steps = round(example.geometric_mean(run.steps))
    moments = {round((moment + 0.5) * steps / MOMENTS) for moment in range(MOMENTS)}
    shares = []
    for step in range(steps):
        if step in moments:
            shares.append(share())
        chosen = torch.randint(len(inputs), (run.batch,), generator=generator)
        optimizer.zero_grad()
        loss(dict(net.named_parameters()), inputs[chosen], targets[chosen]).backward()
        optimizer.step()
    return shares


def exact(example: Any, problem: Any, run: Any, seeds: Sequence[int]) -> float:
    """Noise scale of the mean exact share."""
    mean = statistics.mean(share for seed in seeds for share in exact_shares(example, problem, run, seed))
    return run.batch * (1.0 - mean) / mean


def tables(example: Any, name: str, seeds: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """A row of the first table, and rows of the second."""
    problem = example.PROBLEMS[name]
    runs = example.measure(problem, example.SIZES, seeds, example.TUNING_SEEDS)
    knee = example.knee_of(runs)
    rows = []
    for run in runs:
        if example.geometric_mean(run.steps) < LONG_ENOUGH:
            continue
        logged = example.monitor(problem, run, seeds)
        scale = [float(part) for part in example.predict(run.batch, logged)]
        measured = interval(knee.value, knee.lower, knee.upper)
        cells = [measured, interval(*scale), f"{scale[0] / knee.value:.2f}", plain_mean(logged)]
        truth = number(exact(example, problem, run, seeds)) if run is runs[0] else "-"
        rows.append([name, str(run.batch), *cells[:-1], truth, cells[-1]])
    steps = [f"{example.geometric_mean(run.steps):.0f} at {run.rate:.2g}" for run in runs]
    return [name, *steps, f"{knee.fewest_steps:.0f}", f"{knee.scatter:.2f}"], rows


def write(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (header, ["---"] * len(header), *rows):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.write("\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    example = load_example()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", nargs="*", choices=list(example.PROBLEMS), default=list(example.PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    example.quieten()
    found = []
    for name in options.problems:
        found.append(tables(example, name, range(options.seeds)))
        sys.stderr.write(f"{found[-1]}\n")
    write(["steps", *(f"batch {size}" for size in example.SIZES), "fewest", "scatter"], [row for row, _ in found])
    header = ["problem", "monitored batch", "knee", "noise scale of the run", "ratio", "exact", "plain mean"]
    write(header, [row for _, rows in found for row in rows])


if __name__ == "__main__":
    main()
