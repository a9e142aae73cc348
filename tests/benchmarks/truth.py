"""What is logged while a run moves, against the truth of that moment.

    python tests/benchmarks/truth.py                       # all cases, 20 seeds, about an hour on two cores
    python tests/benchmarks/truth.py --cases mlp --seeds 3

Runs through a real Trainer with the defaults that everybody gets (preset "full"). Where a window ends or an extra pass
is taken for the first time at or after steps 50, 150, 500 and 1500, the logged value is set against a truth of that
moment: noise scale and temperature from the gradients of all training samples one by one, the Laplacian and the
destruction from the Hessian of the whole training loss and 64 random vectors, the sharpness from Lanczos steps on it,
the heat from gradients and displacements of all weights at all steps. Truths of a window are taken at its last step.
The temperature's truth knows nothing of clipping: where most steps are clipped (the decoder late), it is too high.

The table gives the median of logged over true, mean and spread of z where an error is logged, and how often the 95 %
interval covers the truth (with the truth's own error where it has one).
"""

from __future__ import annotations

import argparse
import functools
import logging
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.commands.compare.data import load
from thermo_callbacks.probes.parameters.optimizers import parameter_mobility

MARKS = (50, 150, 500, 1500)
STEPS = 1600
PROBES = 64
LANCZOS = 25


class Decoder(nn.Module):
    """Two pre-norm blocks of causal attention over characters."""

    def __init__(self, symbols: int, width: int = 32, length: int = 32) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(symbols, width), nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[-1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.embedding(tokens) + self.position(torch.arange(length))
        return self.head(self.blocks(hidden, mask=mask)).flatten(0, -2)


@functools.cache
def text() -> TensorDataset:
    """The first 600 stretches of 33 characters of the examples' text."""
    play = (Path(__file__).parents[2] / "examples" / "data" / "shakespeare.txt").read_text(encoding="utf-8")[:9_700]
    symbols = sorted(set(play))
    codes = torch.tensor([symbols.index(letter) for letter in play])
    windows = codes.unfold(0, 33, 16)[:600]
    return TensorDataset(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


class Case(NamedTuple):
    net: Callable[[], nn.Module]
    data: Callable[[], TensorDataset]
    batch_size: int
    optimizer: Callable[[Any], Any]
    clip: float | None = None


def cosine(parameters: Any) -> Any:
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS), "interval": "step"},
    }


def warm(parameters: Any) -> Any:
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warm_up, "interval": "step"}}


CASES: dict[str, Case] = {
    "mlp": Case(mlp, lambda: load("digits")[0], 64, lambda p: torch.optim.SGD(p, lr=0.1)),
    "mlp momentum": Case(mlp, lambda: load("digits")[0], 64, lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "mlp batch 512": Case(mlp, lambda: load("digits")[0], 512, lambda p: torch.optim.SGD(p, lr=0.1)),
    "cnn": Case(cnn, lambda: load("mnist")[0], 64, cosine),
    "gpt": Case(lambda: Decoder(int(text().tensors[0].max()) + 1), text, 32, warm, clip=1.0),
}


class Task(pl.LightningModule):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.net, self.case = case.net(), case

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1].flatten())

    def configure_optimizers(self) -> Any:
        return self.case.optimizer(self.parameters())


class Moment:
    """The whole training loss at the weights of a moment."""

    def __init__(self, task: Task, data: TensorDataset) -> None:
        self.parameters = {name: p.detach().clone() for name, p in task.net.named_parameters()}
        self._net, self._data = task.net, data

    def loss(self, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(self._net, parameters, (inputs,)), targets.flatten())

    def signal_and_noise(self, mobility: dict[str, Tensor]) -> tuple[float, float, float]:
        """|G|^2, trace of one sample's covariance, and the sum of its diagonal times the mobility."""
        one = vmap(grad(lambda p, x, y: self.loss(p, x[None], y[None])), (None, 0, 0), randomness="error")
        count = len(self._data)
        sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in self.parameters.items()}
        squares = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in self.parameters.items()}
        for inputs, targets in DataLoader(self._data, batch_size=200):
            for name, found in one(self.parameters, inputs, targets).items():
                sums[name] += found.double().sum(0)
                squares[name] += found.double().square().sum(0)
        signal = noise = hot = 0.0
        for name, total in sums.items():
            mean = total / count
            variance = (squares[name] - count * mean.square()) / (count - 1)
            signal += mean.square().sum().item()
            noise += variance.sum().item()
            hot += (mobility[name] * variance).sum().item()
        return signal, noise, hot

    def products(self, vectors: Sequence[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """Products of the Hessian with vectors."""
        leaves = {name: p.clone().requires_grad_() for name, p in self.parameters.items()}
        totals = [{name: torch.zeros_like(p) for name, p in self.parameters.items()} for _ in vectors]
        for inputs, targets in DataLoader(self._data, batch_size=1000):
            loss = self.loss(leaves, inputs, targets) * len(inputs) / len(self._data)
            gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
            for vector, total in zip(vectors, totals, strict=True):
                along = sum((g * vector[name]).sum() for g, name in zip(gradients, leaves, strict=True))
                found = torch.autograd.grad(along, list(leaves.values()), retain_graph=True)
                for name, part in zip(leaves, found, strict=True):
                    total[name] += part
        yield from totals

    def traces(self, mobility: dict[str, Tensor], seed: int) -> tuple[Tensor, Tensor]:
        """Samples of the traces of H and of the mobility times H."""
        generator = torch.Generator().manual_seed(seed)
        signs = [
            {n: torch.randint(0, 2, p.shape, generator=generator).float() * 2 - 1 for n, p in self.parameters.items()}
            for _ in range(PROBES)
        ]
        plain, moving = [], []
        for vector, product in zip(signs, self.products(signs), strict=True):
            terms = {name: vector[name].double() * product[name].double() for name in vector}
            plain.append(sum(term.sum() for term in terms.values()))
            moving.append(sum((mobility[name] * term).sum() for name, term in terms.items()))
        return torch.stack(plain), torch.stack(moving)  # type: ignore[arg-type]

    def sharpness(self, seed: int) -> float:
        """Largest eigenvalue of H by Lanczos steps with full orthogonalisation."""
        generator = torch.Generator().manual_seed(seed)
        shapes = {name: p.shape for name, p in self.parameters.items()}
        sizes = [p.numel() for p in self.parameters.values()]
        vector = torch.randn(sum(sizes), generator=generator)
        basis: list[Tensor] = []
        images: list[Tensor] = []
        for _ in range(LANCZOS):
            for other in basis:
                vector = vector - (vector @ other) * other
            vector = vector / vector.norm()
            basis.append(vector)
            parts = dict(zip(shapes, vector.split(sizes), strict=True))
            [product] = self.products([{name: part.view(shapes[name]) for name, part in parts.items()}])
            vector = torch.cat([product[name].flatten() for name in shapes])
            images.append(vector)
        projected = torch.stack(basis).double() @ torch.stack(images).double().T
        return torch.linalg.eigvalsh((projected + projected.T) / 2)[-1].item()


class Comparison(NamedTuple):
    logged: float
    stderr: float  # NaN where only the ends are logged, or nothing
    lower: float
    upper: float
    truth: float
    truth_stderr: float


class Witness(pl.Callback):
    """Takes the truths at the marks, and the exact heat of every step; stands after the monitor."""

    def __init__(self, monitor: ThermoMonitor, data: TensorDataset, seed: int) -> None:
        self.monitor, self.data, self.seed = monitor, data, seed
        self.heat = 0.0
        self.found: dict[tuple[str, int], Comparison] = {}
        self._rows: dict[str, float] = {}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._before = [(p, p.detach().clone(), p.grad.detach().clone()) for p in pl_module.parameters()]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._compare(trainer, pl_module, ("laplacian", "entropy_destruction", "sharpness"))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.heat += sum(float((g.double() * (p.detach() - q)).sum()) for p, q, g in self._before)
        self._compare(trainer, pl_module, ("noise_scale", "temperature", "noise_temperature", "heat"))

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
            truths = self._truths(trainer, module, names)
        for name, (truth, error) in truths.items():
            row = [values.get(f"thermo/{name}{end}", math.nan) for end in ("", "_stderr", "_lower", "_upper")]
            self.found[name, max(due)] = Comparison(*row, truth, error)

    def _truths(self, trainer: Any, module: Any, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        [optimizer] = trainer.optimizers
        groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        mobility = {
            name: torch.as_tensor(
                parameter_mobility(optimizer, groups[p], p, lambda t: t.flatten()), dtype=torch.float64
            )
            .expand(p.numel())
            .view(p.shape)
            for name, p in module.net.named_parameters()
        }
        moment = Moment(module, self.data)
        if "laplacian" in names:
            plain, moving = moment.traces(mobility, self.seed)
            return {
                "laplacian": (plain.mean().item(), plain.std().item() / PROBES**0.5),
                "entropy_destruction": (moving.mean().item(), moving.std().item() / PROBES**0.5),
                "sharpness": (moment.sharpness(self.seed), 0.0),
            }
        signal, noise, hot = moment.signal_and_noise(mobility)
        count = sum(p.numel() for p in module.parameters())
        temperature = hot / module.case.batch_size / (2 * count)
        return {
            "noise_scale": (noise / signal, 0.0),
            "temperature": (temperature, 0.0),
            "noise_temperature": (temperature, 0.0),
            "heat": (self.heat, 0.0),
        }


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
    """Whether the 95 % interval holds the truth; None where none is logged."""
    if not math.isnan(each.lower):
        slack = 2.0 * each.truth_stderr
        upper = math.inf if math.isnan(each.upper) else each.upper
        return each.lower - slack <= each.truth <= upper + slack
    if math.isnan(each.stderr):
        return None
    return abs(each.logged - each.truth) <= 2.1 * math.hypot(each.stderr, each.truth_stderr)


def table(name: str, runs: Sequence[dict[tuple[str, int], Comparison]]) -> Table:
    found: dict[tuple[str, int], list[Comparison]] = defaultdict(list)
    for each in runs:
        for key, comparison in each.items():
            found[key].append(comparison)
    shown = Table("quantity", "step", "runs", "NaN", "truth", "logged / true", "factor off", "z", "covered", title=name)
    for (quantity, mark), all_of in sorted(found.items()):
        known = [c for c in all_of if not math.isnan(c.logged)]
        ratios = [c.logged / c.truth for c in known if c.truth]
        z = [
            (c.logged - c.truth) / math.hypot(c.stderr, c.truth_stderr)
            for c in known
            if c.stderr > 0 and math.isfinite(c.stderr)
        ]
        inside = [covered for c in known if (covered := covers(c)) is not None]
        factors = [max(abs(r), 1 / abs(r)) for r in ratios if r]
        shown.add_row(
            quantity, f"{mark}", f"{len(all_of)}", f"{len(all_of) - len(known)}",
            f"{statistics.median(c.truth for c in all_of):.3g}",
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
