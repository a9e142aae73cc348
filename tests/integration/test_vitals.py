"""Vitals of the weights that are logged are those of the same training, written down step by step in plain torch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import INPUTS, RecordingLogger, Regression, fit, loader, quiet_trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import LBFGS, SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from thermo_callbacks import ThermoMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
WINDOW = 16
Make = Callable[[Iterable[nn.Parameter]], Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "SGD": partial(SGD, lr=0.05, weight_decay=0.02),
    "momentum": partial(SGD, lr=0.02, momentum=0.9),
    "AdamW": partial(AdamW, lr=0.01, weight_decay=0.1),
}


def full(**options: Any) -> ThermoMonitor:
    return ThermoMonitor("light", window=WINDOW, steps_between_windows=0, sample=None, **options)


def norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.detach().square().sum()) for tensor in tensors))


def clip(module: Regression, algorithm: str, threshold: float) -> None:
    if algorithm == "norm":
        clip_grad_norm_(module.parameters(), threshold)
    elif algorithm == "value":
        nn.utils.clip_grad_value_(module.parameters(), threshold)


def by_hand(make: Make, algorithm: str, threshold: float, slowing: float = 1.0, skipped: int = 0) -> dict[str, float]:
    """Vitals of one window after some steps that are ``skipped``, from a loop that knows of no window."""
    module = Regression(optimizer=make)
    optimizer: Any = module.configure_optimizers()
    base = [group["lr"] for group in optimizer.param_groups]
    owned = dict(module.named_parameters())
    layers = {
        "": list(owned),
        **{layer: [name for name in owned if name.startswith(layer)] for layer in ("net.0", "net.2")},
    }
    sums: dict[str, dict[str, float]] = {
        layer: dict.fromkeys(("q", "g", "d", "z", "decay", "rest"), 0.0) for layer in layers
    }
    factors = []
    for step, batch in enumerate(loader(skipped + WINDOW)):
        if step == skipped:
            factors.clear()
            sums = {layer: dict.fromkeys(found, 0.0) for layer, found in sums.items()}
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * slowing**step
        optimizer.zero_grad()
        module.loss(batch).backward()
        before = {name: parameter.detach().clone() for name, parameter in owned.items()}
        slopes: dict[str, Any] = {name: parameter.grad.clone() for name, parameter in owned.items()}  # type: ignore[union-attr]
        clip(module, algorithm, threshold)
        factors.append(norm(p.grad for p in owned.values()) / norm(slopes.values()))  # type: ignore[misc]
        optimizer.step()
        group = optimizer.param_groups[0]
        for layer, names in layers.items():
            found = sums[layer]
            moves = {name: owned[name].detach() - before[name] for name in names}
            decays = {name: group["lr"] * group["weight_decay"] * before[name] for name in names}
            found["q"] += norm(before[name] for name in names) ** 2
            found["g"] += norm(slopes[name] for name in names) ** 2
            found["d"] += norm(moves.values()) ** 2
            found["z"] += norm(owned[name].detach() for name in names) ** 2 - norm(before[name] for name in names) ** 2
            found["decay"] += norm(decays.values()) ** 2
            found["rest"] += norm(moves[name] + decays[name] for name in names) ** 2
    values = {
        "thermo/clip_factor": sum(factors) / WINDOW,
        "thermo/clipped_share": sum(factor < 1.0 - 1e-6 for factor in factors) / WINDOW,
    }
    for layer, found in sums.items():
        decay, rest = math.sqrt(found["decay"]), math.sqrt(found["rest"])
        for name, value in {
            "update_ratio": math.sqrt(found["d"] / found["q"]),
            "gradient_norm": math.sqrt(found["g"] / WINDOW),
            "weight_norm": math.sqrt(found["q"] / WINDOW),
            "weight_growth": 500.0 * found["z"] / found["q"],
            "decay_share": decay / (decay + rest),
        }.items():
            values[f"thermo_{name}/{layer}" if layer else f"thermo/{name}"] = value
    return values


@pytest.mark.parametrize(("algorithm", "threshold"), [("norm", 1.0), ("value", 0.3), ("norm", 100.0)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vitals_are_those_of_a_plain_loop(name: str, algorithm: str, threshold: float) -> None:
    expected = by_hand(OPTIMIZERS[name], algorithm, threshold)
    clipping = {"gradient_clip_val": threshold, "gradient_clip_algorithm": algorithm}
    [(_, row)] = fit(Regression(optimizer=OPTIMIZERS[name]), full(), WINDOW, **clipping).thermo_rows
    decays = name != "momentum"
    assert ("thermo/decay_share" in row) == decays
    found = {tag: row[tag] for tag in expected if tag in row}
    assert found == pytest.approx({tag: expected[tag] for tag in found}, rel=1e-9)
    assert found.keys() >= {"thermo/clip_factor", "thermo/update_ratio", "thermo_gradient_norm/net.2"}
    assert 0.0 < row["thermo/weight_growth_stderr"] < 10.0 * abs(row["thermo/weight_growth"]) + 1.0
    assert row["thermo/untrained_share"] == 0.0


@pytest.mark.filterwarnings("ignore:.*NaN")
def test_all_families_in_full_and_under_a_schedule() -> None:
    class Slowing(Regression):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            scheduler = LambdaLR(optimizer, lambda step: 0.9**step)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    expected = by_hand(OPTIMIZERS["AdamW"], "none", 0.0, slowing=0.9)
    monitor = ThermoMonitor("full", window=WINDOW, steps_between_windows=0, sample=None, curvature_every_n_steps=1000)
    rows = fit(Slowing(optimizer=OPTIMIZERS["AdamW"]), monitor, WINDOW).thermo_rows
    row = next(row for _, row in rows if "thermo/temperature" in row)
    assert "thermo/clip_factor" not in row
    exact = {tag: value for tag, value in expected.items() if "clip" not in tag and "decay" not in tag}
    assert {tag: row[tag] for tag in exact} == pytest.approx(exact, rel=1e-9)
    # the rate of the decay is that of the window, its square and the weights' are averaged apart
    shares = {tag: value for tag, value in expected.items() if "decay" in tag}
    assert {tag: row[tag] for tag in shares} == pytest.approx(shares, rel=0.15)


class ClippedEarly(Regression):
    def on_after_backward(self) -> None:
        clip_grad_norm_(self.parameters(), 1.0)


class ClippedLate(Regression):
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        clip_grad_norm_(self.parameters(), 1.0)


class ClippedByHook(Regression):
    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        clip_grad_norm_(self.parameters(), 1.0)


class ClippedByHand(Regression):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        loss = self.loss(batch)
        self.manual_backward(loss)
        self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        optimizer.step()
        return loss


@pytest.mark.parametrize("kind", [ClippedEarly, ClippedLate, ClippedByHook, ClippedByHand])
def test_clipping_that_the_trainer_does_not_know_of_is_seen(kind: type[Regression]) -> None:
    rows = fit(kind(optimizer=partial(SGD, lr=0.05)), full(), 2 * WINDOW).thermo_rows
    expected = by_hand(partial(SGD, lr=0.05), "norm", 1.0)
    second = by_hand(partial(SGD, lr=0.05), "norm", 1.0, skipped=WINDOW)
    assert 0.0 < rows[0][1]["thermo/clip_factor"] < 1.0  # until it is seen, steps 1, 2, 4, 8 and 16 are looked at
    for tag in ("thermo/clip_factor", "thermo/clipped_share"):
        if kind is ClippedByHook:  # expected from the start
            assert rows[0][1][tag] == pytest.approx(expected[tag], rel=1e-9)
        assert rows[1][1][tag] == pytest.approx(second[tag], rel=1e-9)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_accumulated_gradients_are_clipped_as_a_whole(accumulate: int) -> None:
    module = Regression()
    [(_, row)] = fit(
        module, full(), loader(accumulate * WINDOW), accumulate_grad_batches=accumulate, gradient_clip_val=1e9
    ).thermo_rows
    assert row["thermo/clip_factor"] == 1.0
    assert row["thermo/clipped_share"] == 0.0


def test_a_step_that_writes_into_the_gradient_is_no_clipping() -> None:
    """Nesterov's step of several tensors adds its momentum to the gradient in place."""
    make = partial(SGD, lr=0.01, momentum=0.9, nesterov=True, foreach=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        [(_, free)] = fit(Regression(optimizer=make), full(), WINDOW).thermo_rows
        [(_, clipped)] = fit(Regression(optimizer=make), full(), WINDOW, gradient_clip_val=1.0).thermo_rows
    assert "thermo/clip_factor" not in free
    assert "thermo/clip_factor" not in clipped


def test_an_optimizer_that_writes_into_the_gradient_leaves_no_factor() -> None:
    class Doubling(Optimizer):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            with torch.enable_grad():
                loss = closure()
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(parameter.grad.mul_(-0.01))
            return loss

    module = Regression(optimizer=partial(Doubling, defaults={"lr": 0.01}))
    with pytest.warns(UserWarning, match=r"thermo/clip_factor.*: the optimizer writes into the gradient"):
        [(_, row)] = fit(module, full(), WINDOW, gradient_clip_val=1.0).thermo_rows
    assert math.isnan(row["thermo/clip_factor"])
    assert math.isnan(row["thermo/clipped_share"])


def test_other_gradients_that_are_left_behind_are_no_clipping() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        [(_, row)] = fit(Regression(optimizer=partial(LBFGS, lr=0.1)), full(), WINDOW).thermo_rows
    assert "thermo/clip_factor" not in row


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("fused", [False, True])
def test_a_loss_scale_is_no_clipping(fused: bool) -> None:
    make = partial(AdamW, lr=0.01, fused=fused)
    plugin = MixedPrecision("16-mixed", "cpu")
    module = Regression(nn.Linear(INPUTS, 1), make)
    options: dict[str, Any] = {} if fused else {"gradient_clip_val": 0.5}
    rows = fit(module, full(), loader(40, dtype=torch.float32), plugins=[plugin], **options).thermo_rows
    row = rows[0][1]
    assert ("thermo/clip_factor" in row) != fused
    if not fused:
        assert 0.0 < row["thermo/clip_factor"] < 1.0


class Parts(Regression):
    """A frozen body, a layer in no optimizer, a bias with a rate of zero, a spare layer, and one behind zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.forgotten, self.spare, self.silent = (nn.Linear(INPUTS, INPUTS).double() for _ in range(4))
        self.body.requires_grad_(False)

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        hidden = self.forgotten(self.body(inputs))
        return super().loss((hidden + 0.0 * self.silent(inputs), targets))

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": [*self.spare.parameters(), *self.silent.parameters(), *self.net[0].parameters()]},
            {"params": [self.net[2].weight]},
            {"params": [self.net[2].bias], "lr": 0.0},
        ]
        return SGD(groups, lr=0.01)


@pytest.mark.filterwarnings("ignore:no value")
def test_untrained_layers_are_told_with_the_reason_until_they_thaw(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Thawing(Parts):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if batch_idx == 2 * WINDOW:
                self.body.requires_grad_(True)
                self.optimizers().add_param_group({"params": [*self.body.parameters()]})  # type: ignore[union-attr]

    module, rows = Thawing(), RecordingLogger()
    board, table = TensorBoardLogger(tmp_path, name="board"), CSVLogger(tmp_path, name="table")
    with pytest.warns(UserWarning, match="in no optimizer: forgotten") as caught:
        quiet_trainer(callbacks=[full()], logger=[rows, board, table]).fit(module, loader(4 * WINDOW))
    assert sum("in no optimizer" in str(warning.message) for warning in caught) == 1
    total = sum(parameter.numel() for parameter in module.parameters())
    one = INPUTS * (INPUTS + 1)
    shares = rows.series("thermo/untrained_share")
    assert shares == pytest.approx([(4 * one + 1) / total] * 2 + [(3 * one + 1) / total] * 2)
    events = EventAccumulator(str(board.log_dir)).Reload()
    first, last = (
        event.tensor_proto.string_val[0].decode() for event in events.Tensors("thermo/untrained_layers/text_summary")
    )
    for row in (
        f"| `body` | {one} | frozen | 0 |",
        f"| `forgotten` | {one} | in no optimizer | 0 |",
        f"| `spare` | {one} | no gradient | 0 |",
        f"| `silent` | {one} | gradient exactly zero | 0 |",
        "| `net.2 (bias)` | 1 | learning rate zero | 0 |",
    ):
        assert row in first
        assert (row in last) == ("body" not in row)
    configuration = (Path(table.log_dir) / "thermo_run_configuration.json").read_text()
    assert '"spare": "no gradient"' in configuration
    assert '"body"' not in configuration


def test_a_layer_that_loses_its_gradient_is_told_since_when() -> None:
    class Leaving(Parts):
        def loss(self, batch: Any) -> Tensor:
            extra = self.spare(batch[0]).square().mean() if self.global_step < WINDOW else 0.0
            return super().loss(batch) + extra

    monitor = full()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit(Leaving(), monitor, 2 * WINDOW)
    since = monitor.state_dict()["untrained"]
    assert since["spare: no gradient"] == WINDOW
    assert since["body: frozen"] == 0
    other = full()
    other.load_state_dict(monitor.state_dict())
    assert other.state_dict()["untrained"] == since


@pytest.mark.parametrize("sample", [None, 7])
def test_a_gradient_of_a_part_of_a_layer_counts_against_the_whole_layer(sample: int | None) -> None:
    class Half(Regression):
        def loss(self, batch: Any) -> Tensor:
            inputs, targets = batch
            return (inputs @ self.net[0].weight.T).sum(1).sub(targets[:, 0]).square().mean()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        monitor = ThermoMonitor(
            "full", window=WINDOW, steps_between_windows=0, sample=sample, curvature_every_n_steps=999
        )
        [(_, row)] = [
            row
            for row in fit(Half(optimizer=partial(SGD, lr=1e-6)), monitor, WINDOW).thermo_rows
            if "thermo/temperature" in row[1]
        ]
    module = Half()
    first = norm(module.net[0].parameters())
    assert row["thermo_weight_norm/net.0"] == pytest.approx(first, rel=1e-4 if sample is None else 0.5)
    assert math.isnan(row["thermo_gradient_norm/net.2"])
    assert row["thermo_weight_norm/net.2"] == pytest.approx(norm(module.net[2].parameters()), rel=1e-12)
