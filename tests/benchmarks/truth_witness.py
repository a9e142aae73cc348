"""The witness of a run: sets what is logged at some moments against slow truths of the same moments."""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from scipy.stats import nct
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import TensorDataset
from truth_cases import STEPS
from truth_moment import PROBES, Moment, Replicas

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.probes.parameters.optimizers import parameter_mobility

MARKS = (50, 150, 500, 1500)
EVERY = 4  # steps between the points of a window that the truth of its temperature is taken at
OF_PASSES = ("laplacian", "entropy_destruction", "sharpness")
DRAWN = "temperature drawn"
OF_WINDOWS = ("noise_scale", "temperature", DRAWN, "noise_temperature", "heat", "entropy_production", "drift_share")
LONGEST = 2 * STEPS // 25  # steps from a mark to the end of the window after it


class Truth(NamedTuple):
    value: float
    stderr: float = 0.0


class Comparison(NamedTuple):
    logged: float
    stderr: float  # NaN where only the ends are logged, or nothing
    lower: float
    upper: float
    truth: Truth


Makers = dict[str, Callable[[], Truth]]
"""What makes each truth, asked for where it is wanted."""


class Witness(pl.Callback):
    """Takes the truths at the marks, and the exact heat of every step; stands after the monitor."""

    def __init__(self, monitor: ThermoMonitor, data: TensorDataset, seed: int, wanted: Sequence[str]) -> None:
        self.monitor, self.data, self.seed, self.wanted = monitor, data, seed, wanted
        self.heat = 0.0
        self.found: dict[tuple[str, int], Comparison] = {}
        self._rows: dict[str, float] = {}
        self._replicas: Replicas
        self._weights: list[float] = []  # of the window's steps: what clipping left of them, samples and epochs
        self._samples: list[int] = []
        self._epochs: list[int] = []
        self._points: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []  # parameters and mobilities
        self._kicks: list[tuple[Tensor, Tensor]] = []  # what the noise of each step moved, and that noise
        self._seen: set[tuple[str, int]] = set()
        self._directions: Any = None
        self._watched = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._compare(trainer, pl_module, OF_PASSES)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._before = [(p, p.detach().clone(), p.grad.detach().clone()) for p in pl_module.parameters()]
        window = self.monitor._session.windows[0]
        self._watched = window.measuring
        if self._watched and window.taken == 0:
            self._weights, self._samples, self._epochs, self._points, self._kicks = [], [], [], [], []
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
            if DRAWN in self.wanted and any(-LONGEST < trainer.global_step - mark < LONGEST for mark in MARKS):
                self._note_noise(trainer.optimizers[0], pl_module)
        self._compare(trainer, pl_module, OF_WINDOWS)

    def _note_noise(self, optimizer: torch.optim.Optimizer, module: Any) -> None:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
            slope = self._moment_before(module).gradient()
        noise = torch.cat([g.double().flatten() for _, _, g in self._before]) - slope
        mobility = torch.cat([each.flatten() for each in _mobility(optimizer, module).values()])
        self._kicks.append((self._weights[-1] * mobility * noise, noise))

    def _compare(self, trainer: Any, module: Any, names: Sequence[str]) -> None:
        step = trainer.global_step
        due = [mark for mark in MARKS if step >= mark and (names[0], mark) not in self._seen]
        values = self.monitor.latest()
        fresh = {n: values.get(f"thermo/{n}", math.nan) for n in names}
        if not due or not any(self._rows.get(n) != v and not math.isnan(v) for n, v in fresh.items()):
            self._rows.update(fresh)
            return
        self._rows.update(fresh)
        with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
            makers = self._of_pass(trainer, module) if names is OF_PASSES else self._of_window(trainer, module)
            truths = {name: make() for name, make in makers.items() if name in self.wanted}
        self._seen.add((names[0], max(due)))
        for name, truth in truths.items():
            tag = f"thermo/{name.partition(' ')[0]}"
            row = [values.get(f"{tag}{end}", math.nan) for end in ("", "_stderr", "_lower", "_upper")]
            self.found[name, max(due)] = Comparison(*row, truth)

    def _moment_before(self, module: Any) -> Moment:
        """The loss at the parameters before the step that has just been made."""
        names = [name for name, _ in module.net.named_parameters()]
        return Moment(module.net, self.data, dict(zip(names, (before for _, before, _ in self._before), strict=True)))

    def _of_pass(self, trainer: Any, module: Any) -> Makers:
        # the pass is about the step that has just been made: at the edge of stability the sharpness of the next may be
        # another
        moment, mobility = self._moment_before(module), _mobility(trainer.optimizers[0], module)
        traces = functools.cache(lambda: moment.traces(mobility, self.seed))

        def trace(which: int) -> Truth:
            samples = traces()[which]
            return Truth(samples.mean().item(), samples.std().item() / PROBES**0.5)

        return {
            "laplacian": lambda: trace(0),
            "entropy_destruction": lambda: trace(1),
            "sharpness": lambda: Truth(moment.sharpness(self.seed)),
        }

    def _of_window(self, trainer: Any, module: Any) -> Makers:
        optimizer, moment = trainer.optimizers[0], Moment(module.net, self.data)
        count = 2 * sum(p.numel() for p in module.parameters())
        independent = statistics.mean(w / samples for w, samples in zip(self._weights, self._samples, strict=True))
        drawn = independent - statistics.mean(self._weights) * self._apart(optimizer) / len(self.data)
        points = functools.cache(
            lambda: [Moment(module.net, self.data, p).signal_and_noise(m) for p, m in self._points]
        )

        def mean(which: int) -> float:
            return statistics.mean(point[which] for point in points())

        return {
            "noise_scale": lambda: Truth(mean(1) / mean(0)),
            "temperature": lambda: Truth(mean(2) * drawn / count),
            DRAWN: lambda: Truth(self._agitation() / count),
            "noise_temperature": lambda: Truth(mean(2) * independent / count),
            "heat": lambda: Truth(self.heat),
            "entropy_production": lambda: self._production(moment, optimizer),
            "drift_share": lambda: self._drift_share(optimizer.param_groups[0]),
        }

    def _agitation(self) -> float:
        """Covariance over the window of the noise and of what it moved, summed over all parameters."""
        moved, noise = (torch.stack(each) for each in zip(*self._kicks, strict=True))
        return float(((moved - moved.mean(0)) * (noise - noise.mean(0))).sum()) / (len(noise) - 1)

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
