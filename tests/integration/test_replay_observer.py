"""With curvature measured at every batch, training is bit for bit what it is without."""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from integration.curvature_models import CASES, make_module
from integration.models import Regression
from integration.observers import differences, observe
from lightning.pytorch import Callback
from torch import Tensor
from torch.optim import SGD, AdamW
from torchmetrics import MeanMetric

from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay

pytestmark = pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode at the start of training")


class Restless(Regression):
    """Draws from all random streams, logs, counts, and remembers, in every step."""

    def __init__(self, name: str) -> None:
        inner = make_module(name, dtype=torch.float32)
        super().__init__(inner.net, partial(SGD, lr=0.05) if "sparse" in name else partial(AdamW, lr=0.01))
        self.train(inner.training)
        self.metric = MeanMetric()
        self.average, self.calls, self.recent = torch.zeros(()), 0, deque([0.0], maxlen=3)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step((batch[0] + 0.01 * torch.randn_like(batch[0]), batch[1]), batch_idx)
        self.calls += 1
        self.average.mul_(0.9).add_(0.1 * loss.detach())
        self.recent.append(loss.item())
        self.metric.update(loss.detach())
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("metric", self.metric)
        self.log_dict({"average": self.average, "calls": float(self.calls), "oldest": self.recent[0]})
        self.log("random", random.random() + float(np.random.rand()))  # noqa: NPY002  the global stream is the point
        for logger in self.loggers:
            logger.log_metrics({"direct": float(self.calls)}, self.calls)
        return loss


class Prober(Callback):
    """Measures at every batch, at the parameters of the step before."""

    def __init__(self, **options: Any) -> None:
        self.samples: list[CurvatureSample] = []
        self.guard = Guard("Prober")
        self._options = options
        self._probe: CurvatureProbe | None = None
        self._values: dict[Any, Tensor] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        with self.guard.protect("measuring curvature"):
            if self._probe is None:
                self._probe = CurvatureProbe(Replay(pl_module), layer_parameters(pl_module), seed=0, **self._options)
            sample = self._probe.measure(self._values, batch, batch_idx, step=trainer.global_step)
            self.samples.append(sample)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._values = {parameter: parameter.detach().clone() for parameter in pl_module.parameters()}


def run(name: str, folder: Any, *callbacks: Any, **options: Any) -> dict[str, Any]:
    """What is left of a run, sparse gradients in a form that can be compared."""
    left = observe(partial(Restless, name), folder, *callbacks, tensorboard=False, **options)
    left["gradients"] = {name: g.to_dense() for name, g in left["gradients"].items() if g is not None}
    return left


# what another case is about as well, on the way through a Trainer
REST = {
    "encoder layer in evaluation mode",
    "no second derivative",
    "silently wrong second derivative",
    "backward of its own",
}
QUICK = {*((name, "32-true") for name in CASES if name not in REST), ("fused attention", "bf16-mixed")}
SETTINGS = [
    pytest.param(name, precision, id=f"{name}, {precision}", marks=[] if quick else [pytest.mark.slow])
    for name in CASES
    for precision in ("32-true", "bf16-mixed")
    for quick in [(name, precision) in QUICK]
]


@pytest.mark.parametrize(("name", "precision"), SETTINGS)
def test_training_does_not_notice(name: str, precision: Any, tmp_path: Any) -> None:
    try:
        bare = run(name, tmp_path, precision=precision)
    except (RuntimeError, NotImplementedError) as fault:
        if precision == "32-true":
            raise
        pytest.skip(f"torch itself can't do this in {precision} on this processor: {fault}")
    prober = Prober()
    watched = run(name, tmp_path, prober, precision=precision)
    assert prober.guard.reason is None
    assert len(prober.samples) == 30
    assert all(sample.traces.isfinite().all() for sample in prober.samples)
    assert len({float(sample.traces.sum()) for sample in prober.samples}) == 30
    assert prober._probe.method == CASES[name].method
    assert differences(bare, watched) == []


@pytest.mark.parametrize(
    "options", [{"within_layers": True}, {"method": "finite_difference"}], ids=["within layers", "finite differences"]
)
def test_other_ways_to_measure_are_not_noticed_either(options: dict[str, Any], tmp_path: Any) -> None:
    bare = run("batch norm and dropout", tmp_path, accumulate_grad_batches=2)
    prober = Prober(**options)
    watched = run("batch norm and dropout", tmp_path, prober, accumulate_grad_batches=2)
    assert prober.guard.reason is None
    assert differences(bare, watched) == []


def test_nothing_is_compiled_anew(tmp_path: Any) -> None:
    def graphs(*callbacks: Any) -> int:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        run("compiled", tmp_path, *callbacks)
        return torch._dynamo.utils.counters["stats"]["unique_graphs"]

    assert graphs() == graphs(Prober()) > 0
