"""suggest_learning_rate against Lightning's lr_find: the loss at the end of runs at the rate that each proposes.

    python tests/benchmarks/suggested_rates.py --problems diabetes --seeds 5 --steps 1000
    python tests/benchmarks/suggested_rates.py                                  # all problems of schedules.py

Both begin with the same network and data, with their own defaults. A row is a problem with one batch size; a cell is
the median of the proposed rates with their smallest and largest, and the validation loss at the end of runs at a
constant rate, the mean over the seeds with its standard error. *Best* is the best of nine rates a factor of 3.16 apart
about the problem's middle one, on the first seed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import math
import statistics
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.tuner import Tuner
from schedule_problems import Problem, problems
from schedules import Learner, final_loss
from torch.utils.data import DataLoader

from thermo_callbacks import suggest_learning_rate


def proposed(problem: Problem, seed: int) -> dict[str, float]:
    """Rates that are proposed for one start; NaN for none."""
    torch.manual_seed(seed)
    training, _ = problem.data()
    module = Learner(problem, "constant", problem.rate, 0)
    data = DataLoader(training, problem.batch, shuffle=True, drop_last=True)

    def trainer() -> Any:
        return Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, max_epochs=-1, max_steps=1000,
        )  # fmt: skip

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ours = suggest_learning_rate(trainer(), module, data).suggestion
        torch.manual_seed(seed)
        finder = Tuner(trainer()).lr_find(copy.deepcopy(module), data, attr_name="rate", update_attr=False)
        theirs = None if finder is None else finder.suggestion()
    return {"suggest_learning_rate": ours, "lr_find": math.nan if theirs is None else theirs}


def row(name: str, problem: Problem, seeds: int, steps: int) -> list[str]:
    """A row of the table."""
    found = [proposed(problem, seed) for seed in range(seeds)]
    cells = []
    for method in ("suggest_learning_rate", "lr_find"):
        rates = [each[method] for each in found]
        known = [(rate, seed) for seed, rate in enumerate(rates) if math.isfinite(rate)]
        ends = [final_loss(problem, "constant", rate, seed, steps)[1] for rate, seed in known]
        if not ends:
            cells += ["none", "-"]
            continue
        error = statistics.stdev(ends) / math.sqrt(len(ends)) if len(ends) > 1 else math.nan
        few = f" ({len(known)} of {seeds})" if len(known) < seeds else ""
        ordered = sorted(rate for rate, _ in known)
        cells.append(f"{statistics.median(ordered):.2g} [{ordered[0]:.2g}, {ordered[-1]:.2g}]{few}")
        cells.append(f"{statistics.mean(ends):.4g} ± {error:.1g}")
    tried = {
        rate: final_loss(problem, "constant", rate, 0, steps)[1]
        for rate in (problem.rate * 10 ** (power / 2) for power in range(-4, 5))
    }
    best = min(tried, key=lambda rate: tried[rate])
    return [f"{name}, batch {problem.batch}", *cells, f"{tried[best]:.4g} at {best:.2g}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", nargs="*", choices=list(problems()), default=list(problems()))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000, help="of each run")
    parser.add_argument("--batch", type=int, help="in the place of the problem's own")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.pytorch.tuner.lr_finder"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    header = ["problem", "suggest_learning_rate", "loss", "lr_find", "loss", "best"]
    for cells in (header, ["---"] * len(header)):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
    for name in options.problems:
        problem = problems()[name]
        if options.batch:
            problem = problem._replace(batch=options.batch)
        sys.stdout.write(f"| {' | '.join(row(name, problem, options.seeds, options.steps))} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
