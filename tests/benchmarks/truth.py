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
  differ by less, the share of a batch in the data. The noise's temperature is that of independent batches;
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
import itertools
import logging
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import nct
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, TensorDataset
from truth_cases import CASES, STEPS, Task
from truth_moment import PROBES, Moment, Replicas

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.probes.parameters.optimizers import parameter_mobility

MARKS = (50, 150, 500, 1500)
EVERY = 4  # steps between the points of a window that the truth of its temperature is taken at
OF_PASSES = ("laplacian", "entropy_destruction", "sharpness")
OF_WINDOWS = ("noise_scale", "temperature", "noise_temperature", "heat", "entropy_production", "drift_share")


class Truth(NamedTuple):
    value: float
    stderr: float = 0.0


class Comparison(NamedTuple):
    logged: float
    stderr: float  # NaN where only the ends are logged, or nothing
    lower: float
    upper: float
    truth: Truth


class Witness(pl.Callback):
    """Takes the truths at the marks, and the exact heat of every step; stands after the monitor."""

    def __init__(self, monitor: ThermoMonitor, data: TensorDataset, seed: int) -> None:
        self.monitor, self.data, self.seed = monitor, data, seed
        self.heat = 0.0
        self.found: dict[tuple[str, int], Comparison] = {}
        self._rows: dict[str, float] = {}
        self._replicas: Replicas
        self._weights: list[float] = []  # of the window's steps: what clipping left of them, samples and epochs
        self._samples: list[int] = []
        self._epochs: list[int] = []
        self._points: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []  # parameters and mobilities
        self._directions: Any = None
        self._watched = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._compare(trainer, pl_module, OF_PASSES)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._before = [(p, p.detach().clone(), p.grad.detach().clone()) for p in pl_module.parameters()]
        window = self.monitor._session.windows[0]
        self._watched = window.measuring
        if self._watched and window.taken == 0:
            self._weights, self._samples, self._epochs, self._points = [], [], [], []
            self._replicas, self._directions = Replicas(pl_module, optimizer), window.projections._next

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.heat += sum(float((g.double() * (p.detach() - q)).sum()) for p, q, g in self._before)
        if self._watched:
            norm, limit = math.hypot(*(float(g.norm()) for *_, g in self._before)), pl_module.case.clip
            self._weights.append(1.0 if limit is None else min(1.0, limit / norm))
            self._samples.append(len(batch[0]))
            self._epochs.append(trainer.current_epoch)
            if len(self._weights) % EVERY == 1:
                now = {name: p.detach().clone() for name, p in pl_module.net.named_parameters()}
                self._points.append((now, _mobility(trainer.optimizers[0], pl_module)))
        self._compare(trainer, pl_module, OF_WINDOWS)

    def _compare(self, trainer: Any, module: Any, names: Sequence[str]) -> None:
        step = trainer.global_step
        due = [mark for mark in MARKS if step >= mark and (names[0], mark) not in self.found]
        values = self.monitor.latest()
        fresh = {n: values.get(f"thermo/{n}", math.nan) for n in names}
        if not due or not any(self._rows.get(n) != v and not math.isnan(v) for n, v in fresh.items()):
            self._rows.update(fresh)
            return
        self._rows.update(fresh)
        with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
            truths = self._of_pass(trainer, module) if names is OF_PASSES else self._of_window(trainer, module)
        for name, truth in truths.items():
            row = [values.get(f"thermo/{name}{end}", math.nan) for end in ("", "_stderr", "_lower", "_upper")]
            self.found[name, max(due)] = Comparison(*row, truth)

    def _of_pass(self, trainer: Any, module: Any) -> dict[str, Truth]:
        # the pass is about the step that has just been made, at the parameters before it: at the edge of stability the
        # sharpness of the next ones may be another
        names = [name for name, _ in module.net.named_parameters()]
        moment = Moment(module.net, self.data, dict(zip(names, (before for _, before, _ in self._before), strict=True)))
        plain, moving = moment.traces(_mobility(trainer.optimizers[0], module), self.seed)
        return {
            "laplacian": Truth(plain.mean().item(), plain.std().item() / PROBES**0.5),
            "entropy_destruction": Truth(moving.mean().item(), moving.std().item() / PROBES**0.5),
            "sharpness": Truth(moment.sharpness(self.seed)),
        }

    def _of_window(self, trainer: Any, module: Any) -> dict[str, Truth]:
        optimizer, moment = trainer.optimizers[0], Moment(module.net, self.data)
        signals, noises, hot = zip(
            *(Moment(module.net, self.data, p).signal_and_noise(m) for p, m in self._points), strict=True
        )
        count = 2 * sum(p.numel() for p in module.parameters())
        independent = statistics.mean(w / samples for w, samples in zip(self._weights, self._samples, strict=True))
        drawn = independent - statistics.mean(self._weights) * self._apart(optimizer) / len(self.data)
        return {
            "noise_scale": Truth(sum(noises) / sum(signals)),
            "temperature": Truth(statistics.mean(hot) * drawn / count),
            "noise_temperature": Truth(statistics.mean(hot) * independent / count),
            "heat": Truth(self.heat),
            "entropy_production": self._production(moment, optimizer),
            "drift_share": self._drift_share(optimizer.param_groups[0]),
        }

    def _apart(self, optimizer: torch.optim.Optimizer) -> float:
        """Share of two epochs among the pairs of steps that the temperature compares: all; with momentum neighbours."""
        group = optimizer.param_groups[0]
        pairs = itertools.combinations(self._epochs, 2)
        if "betas" in group or group.get("momentum", 0.0):
            pairs = itertools.pairwise(self._epochs)
        return statistics.mean(one != other for one, other in pairs)

    def _production(self, moment: Moment, optimizer: torch.optim.Optimizer) -> Truth:
        """Destruction along the directions that the window resolved."""
        resolved = self.monitor._session.windows[0].resolved
        if resolved is None or not bool(resolved.balance.resolved.any()):
            return Truth(math.nan)
        seen, chosen = self._directions, resolved.balance.resolved
        mobility = seen.motion.mobility * optimizer.param_groups[0]["lr"] / seen.rate
        return Truth(float((mobility * moment.curvatures(seen.slopes[chosen]) + seen.decays[chosen]).sum()))

    def _drift_share(self, group: dict[str, Any]) -> Truth:
        momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
        steps = len(self._weights)
        growths = self._replicas.growths(self.data, steps, momentum, self.seed)
        fresh = steps - bool(momentum)
        batches = fresh // max(1, round(math.sqrt(fresh) / 2))  # as the drift share has them
        drift = float(growths.mean() / growths.std())
        t = nct.rvs(batches - 1, abs(drift), size=20_000, random_state=0)
        return Truth(float(np.median(t**2 / (t**2 + batches - 1))))


def _mobility(optimizer: torch.optim.Optimizer, module: Any) -> dict[str, Tensor]:
    groups = {p: group for group in optimizer.param_groups for p in group["params"]}
    found = {
        name: torch.as_tensor(parameter_mobility(optimizer, groups[p], p, lambda t: t.flatten()), dtype=torch.float64)
        for name, p in module.net.named_parameters()
    }
    return {name: found[name].expand(p.numel()).view(p.shape).clone() for name, p in module.net.named_parameters()}


def run(name: str, seed: int) -> dict[tuple[str, int], Comparison]:
    """Comparisons of one run, by quantity and mark."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    case = CASES[name]
    torch.manual_seed(seed)
    task, data = Task(case), case.data()
    monitor = ThermoMonitor("full", seed=seed)
    witness = Witness(monitor, data, seed)
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
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    console = Console(width=120)
    with ProcessPoolExecutor(options.jobs) as pool:
        for name in options.cases:
            runs = list(pool.map(run, [name] * options.seeds, range(options.seeds)))
            console.print(table(name, runs))


if __name__ == "__main__":
    main()
