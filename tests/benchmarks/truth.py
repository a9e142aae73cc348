"""What is logged while a run moves, against the truth of that moment.

    python tests/benchmarks/truth.py                       # all cases, 20 seeds, about half an hour on two cores
    python tests/benchmarks/truth.py --cases mlp --seeds 3

Runs through a real Trainer with the defaults that everybody gets (preset "full"). Where a window ends or an extra pass
is taken for the first time at or after steps 50, 150, 500 and 1500, the logged value is set against a truth of that
moment:

- noise scale: the gradients of all training samples one by one, at every fourth step of the window;
- temperature: the same with the sizes of the batches, and with what clipping left of each step: a clipped step is one
  of a lower rate, and counts once by what is left, as in the gradient's product with the displacement. Two batches of
  an epoch exclude each other, which raises what they differ by to that of independent ones; those of two epochs
  differ by less, the share of a batch in the data. The noise's temperature is that of independent batches. A batch that
  is yet to come has more noise than the data at large, which the run has just learned from: the row "drawn"
  has the gradients of the window's own batches, each without that of all data;
- Laplacian and destruction: the Hessian of the whole training loss and 64 random vectors; sharpness: Lanczos steps on
  it; production: the destruction along the directions that the window resolved, by the same Hessian, which it is equal
  to in balance;
- drift share: 40 replicas of the window with other batches. Their drift over their scatter is what Student's t would be
  without chance; the truth is the median share that a window of such a drift shows;
- heat: gradients and displacements of all weights at all steps.

The table gives the median of logged over true, the median factor between them, mean and spread of z where an error is
logged, and how often the 95 % interval covers the truth (with the truth's own error where it has one).
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from truth_cases import CASES, STEPS, Task
from truth_witness import OF_PASSES, OF_WINDOWS, Comparison, Witness

from thermo_callbacks import ThermoMonitor


def run(name: str, seed: int, wanted: Sequence[str]) -> dict[tuple[str, int], Comparison]:
    """Comparisons of one run, by quantity and mark."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    case = CASES[name]
    torch.manual_seed(seed)
    task, data = Task(case), case.data()
    monitor = ThermoMonitor("full", seed=seed)
    witness = Witness(monitor, data, seed, wanted)
    loader = DataLoader(data, case.batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))
    trainer = pl.Trainer(
        max_steps=STEPS, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[monitor, witness],
        gradient_clip_val=case.clip,
    )  # fmt: skip
    trainer.fit(task, loader)
    return witness.found


def covers(each: Comparison) -> bool | None:
    """Whether the 95 % interval holds the truth; None where there is none."""
    truth, slack = each.truth.value, 2.0 * each.truth.stderr
    if not math.isnan(each.lower):
        upper = math.inf if math.isnan(each.upper) else each.upper
        return each.lower - slack <= truth <= upper + slack
    if math.isnan(each.stderr):
        return None
    return abs(each.logged - truth) <= 2.1 * math.hypot(each.stderr, each.truth.stderr)


def table(name: str, runs: Sequence[dict[tuple[str, int], Comparison]]) -> Table:
    found: dict[tuple[str, int], list[Comparison]] = defaultdict(list)
    for each in runs:
        for key, comparison in each.items():
            found[key].append(comparison)
    shown = Table("quantity", "step", "runs", "NaN", "truth", "logged / true", "factor off", "z", "covered", title=name)
    for (quantity, mark), all_of in sorted(found.items()):
        known = [c for c in all_of if not math.isnan(c.logged) and not math.isnan(c.truth.value)]
        ratios = [c.logged / c.truth.value for c in known if c.truth.value]
        z = [
            (c.logged - c.truth.value) / math.hypot(c.stderr, c.truth.stderr)
            for c in known
            if c.stderr > 0 and math.isfinite(c.stderr)
        ]
        inside = [covered for c in known if (covered := covers(c)) is not None]
        factors = [max(abs(r), 1 / abs(r)) for r in ratios if r]
        shown.add_row(
            quantity, f"{mark}", f"{len(all_of)}", f"{len(all_of) - len(known)}",
            f"{statistics.median(c.truth.value for c in known):.3g}" if known else "-",
            f"{statistics.median(ratios):.3f}" if ratios else "-",
            f"{statistics.median(factors):.2f}" if factors else "-",
            f"{statistics.mean(z):+.2f} ± {statistics.pstdev(z):.2f}" if z else "-",
            f"{sum(inside) / len(inside):.2f}" if inside else "-",
        )  # fmt: skip
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quantities", nargs="+", default=[*OF_PASSES, *OF_WINDOWS], choices=[*OF_PASSES, *OF_WINDOWS])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    console = Console(width=120)
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in options.cases:
            work = [(name, seed, options.quantities) for seed in range(options.seeds)]
            runs = list(pool.map(run, *zip(*work, strict=True)))
            console.print(table(name, runs))


if __name__ == "__main__":
    main()
